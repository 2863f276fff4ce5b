"""Sending kept events to MLflow, so that an event that is sent twice leaves the same as one that is sent once.

In: events of one run, in order. Out: few requests. What makes it safe to send again: a run is looked for by its tags
before it is made; a figure goes with the time at which it was kept, and MLflow keeps equal figures once; rows of epochs
that the run has are skipped; tags, parameters and states are simply set again.

Making a run cannot be sent again: a slow server may still make one for a request that was given up long ago. So it is
made for a trial (`MADE_FOR`) without being the trial's, and becomes it by the tags that all readers go by, which only
the one run gets whose id an answer has told.
"""

from collections.abc import Iterable, Sequence

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from vgsr.tracking.journal import Event
from vgsr.tracking.runs import BATCH, ENDED, PARENT, RUNNING, address, row_metrics
from vgsr.tracking.store import Tracker, tagged

MADE_FOR = ("vgsr.made_for.search", "vgsr.made_for.trial")
LISTED = 100  # parameters, and as many tags, that MLflow takes in one call
OPEN, ROW, FIGURES, TAGS, PARAMETERS, CLOSE, FILE = "open", "row", "figures", "tags", "params", "close", "file"
# Not BAD_REQUEST: MLflow's word for a database that is overloaded, too.
HOPELESS = {"INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}


class Hopeless(Exception):
    """MLflow will never take this event; the text is its reason."""


class FileRefused(Exception):
    """MLflow answers, but the place where it keeps files does not take one."""


class Sender:
    """Sends to one MLflow, and remembers the runs' ids and how far they are."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._runs: dict[tuple[str, str], str] = {}
        self._epochs: dict[str, int] = {}
        self._settings: dict[str, set[str]] = {}  # the parameters that a run has

    def send(self, events: Sequence[Event]) -> None:
        """Send events of one run. Hopeless when it will never take one; any other error is worth another try."""
        try:
            self._send(events)
        except MlflowException as error:
            if error.error_code in HOPELESS:
                raise Hopeless(error.message) from error
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise Hopeless(f"{type(error).__name__}: {error}") from error

    def _send(self, events: Sequence[Event]) -> None:
        waiting: list[Event] = []
        for event in events:
            if event["kind"] in (OPEN, CLOSE, FILE):
                self._log(waiting)
                waiting = []
                {OPEN: self._open, CLOSE: self._close, FILE: self._file}[event["kind"]](event)
            else:
                waiting.append(event)
        self._log(waiting)

    def _open(self, event: Event) -> None:
        search, trial, client = event["search"], event["trial"], self.tracker.client
        own = {**address(search, trial), "vgsr.state": RUNNING, **event["tags"]}
        if trial and ((search, "") in self._runs or self._find(search, "")):
            own[PARENT] = self._runs[search, ""]
        found = self._find(search, trial)
        if found is None:
            tags = {**event["origin"], **_made_for(search, trial)}
            found = client.create_run(self.tracker.experiment_id, event["time"], tags, event["name"])
            self._know(search, trial, found)
        elif found.info.status != "RUNNING":
            client.update_run(found.info.run_id, status="RUNNING")
        self._batch(found.info.run_id, tags=own)

    def _find(self, search: str, trial: str) -> Run | None:
        """The run of (search, trial). Others that were made for it are deleted, unless they have figures."""
        used = self._runs.get((search, trial))
        runs = sorted(
            # Runs that an earlier VGSR made were made for nobody.
            list(tagged(self.tracker, _made_for(search, trial))) or tagged(self.tracker, address(search, trial)),
            key=lambda run: (
                run.info.run_id != used,
                not run.data.metrics,
                "vgsr.search" not in run.data.tags,
                run.info.start_time,
                run.info.run_id,
            ),
        )
        for surplus in runs[1:]:
            if not surplus.data.metrics:
                self.tracker.client.delete_run(surplus.info.run_id)
        if not runs:
            return None
        self._know(search, trial, runs[0])
        return runs[0]

    def _know(self, search: str, trial: str, run: Run) -> None:
        self._runs[search, trial] = run.info.run_id
        self._epochs[run.info.run_id] = int(run.data.metrics.get("epoch", 0))
        self._settings[run.info.run_id] = set(run.data.params)

    def _log(self, events: Iterable[Event]) -> None:
        """Rows, figures, tags and parameters, together."""
        metrics: list[Metric] = []
        tags: dict[str, str] = {}
        params: dict[str, str] = {}
        run_id, reached = "", 0
        for event in events:
            run_id = run_id or self._run(event)
            reached = max(reached, self._epochs[run_id])
            if event["kind"] == ROW:
                metrics += row_metrics(event["row"], reached, event["time"])
                reached = max(reached, event["row"]["epoch"])
            elif event["kind"] == FIGURES:
                step, time = event["step"], event["time"]
                metrics += [Metric(key, float(value), time, step) for key, value in event["figures"].items()]
            elif event["kind"] == TAGS:
                tags.update(event["tags"])
            else:
                # A run may go on with another number of workers, but MLflow lets no parameter change.
                had = self._settings.get(run_id, ())
                params.update({key: value for key, value in event["params"].items() if key not in had})
        self._batch(run_id, metrics, tags, params)
        if run_id:
            self._epochs[run_id] = reached

    def _close(self, event: Event) -> None:
        run_id, reason = self._run(event), {"vgsr.reason": event["reason"][:4000]} if event["reason"] else {}
        self._find(event["search"], event["trial"])  # once more: another may have been made late
        if not event["trial"]:
            self._sweep(event["search"])
        self._batch(run_id, tags={"vgsr.state": event["state"], **reason})
        self.tracker.client.set_terminated(run_id, ENDED[event["state"]], event["time"])

    def _sweep(self, search: str) -> None:
        """Delete what was made for the search's trials after their end."""
        for run in tagged(self.tracker, {MADE_FOR[0]: search}):
            if "vgsr.search" not in run.data.tags:
                self.tracker.client.delete_run(run.info.run_id)

    def _file(self, event: Event) -> None:
        run_id = self._run(event)
        self.tracker.client.get_run(run_id)  # whether MLflow itself answers
        try:
            self.tracker.client.log_text(run_id, event["text"], event["path"])
        except Exception as error:  # of whatever store holds MLflow's files
            raise FileRefused(f"{event['path']}: {error}") from error

    def _run(self, event: Event) -> str:
        where = event["search"], event["trial"]
        if where not in self._runs and self._find(*where) is None:
            raise Hopeless(f"there is no run of {event['search']}/{event['trial'] or '-'}")
        return self._runs[where]

    def _batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        tags: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        said = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        settings = [Param(key, value) for key, value in (params or {}).items()]
        # As many calls as needed, one for most. Tags come last: the epoch's checkpoint after its figures.
        log = self.tracker.client.log_batch
        while len(metrics) + len(settings) + len(said) > BATCH or max(len(settings), len(said)) > LISTED:
            if metrics:
                log(run_id, metrics=metrics[:BATCH])
                metrics = metrics[BATCH:]
            elif settings:
                log(run_id, params=settings[:LISTED])
                settings = settings[LISTED:]
            else:
                log(run_id, tags=said[:LISTED])
                said = said[LISTED:]
        if metrics or settings or said:
            log(run_id, metrics, settings, said)


def _made_for(search: str, trial: str) -> dict[str, str]:
    return dict(zip(MADE_FOR, address(search, trial).values(), strict=True))
