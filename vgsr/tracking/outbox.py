"""What a run has to say to MLflow, kept on disk until MLflow has it: a slow or dead server never stops training.

In: events of runs, addressed by (search, trial). Out: the same runs in MLflow, everything once, in order.
"""

import logging
import threading
import time
from collections import Counter, deque
from itertools import islice
from pathlib import Path
from typing import Any

from vgsr.config import Experiment
from vgsr.tracking.journal import REFUSED, Entry, Event, Journal
from vgsr.tracking.runs import origin
from vgsr.tracking.sending import CLOSE, FIGURES, FILE, OPEN, PARAMETERS, ROW, TAGS, FileRefused, Hopeless, Sender
from vgsr.tracking.store import Tracker

log = logging.getLogger(__name__)

PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before another try; doubled each time
TOGETHER = 100  # events of a run that are sent in one go
FILE_TRIES = 5  # a file that MLflow's store does not take is given up: runs go on without it

Lane = tuple[str, str, bool]  # search, trial, and whether it is a file: those wait for nothing but their run


class Outbox:
    """A journal in `folder` and a thread that sends it; what an earlier process left there is sent first.

    Every method returns when the event is on the disk. TrackingError when another process writes into the folder.
    """

    def __init__(self, tracker: Tracker, folder: str | Path) -> None:
        self._tracker = tracker
        self._journal = Journal(folder)
        self._sender = Sender(tracker)
        self._lanes: dict[Lane, deque[Entry]] = {}
        self._trouble, self._since, self._refused = "", "", ""
        self._ending, self._over = False, False
        self._changed = threading.Condition()
        for entry in self._journal.left:
            self._lanes.setdefault(_lane(entry), deque()).append(entry)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def open(self, search: str, trial: str, *, name: str, tags: dict[str, str], experiment: Experiment | None) -> None:
        """The run of (search, trial) is made, or found and set running; `trial` is `""` for the search itself. The tag
        of the parent run (`PARENT`) is added for a trial by the outbox."""
        self._put(OPEN, search, trial, name=name, tags=tags, origin=origin())
        if experiment is not None:
            params = {key: str(value) for key, value in experiment.flat().items()}
            self._put(PARAMETERS, search, trial, params=params)
            self._put(FILE, search, trial, path="experiment.yaml", text=experiment.yaml())

    def row(self, search: str, trial: str, row: dict[str, Any]) -> None:
        """An epoch's figures with the epoch as step, and its steps' with the global batch as step.

        A row that was sent before (a resumed run reports its last one again) leaves nothing; earlier rows that it
        brings along as `history` fill what was lost.
        """
        self._put(ROW, search, trial, row=row)

    def figures(self, search: str, trial: str, figures: dict[str, float], step: int = 0) -> None:
        """Figures of the run as a whole."""
        self._put(FIGURES, search, trial, figures=figures, step=step)

    def tag(self, search: str, trial: str, tags: dict[str, str]) -> None:
        """Tags of a run."""
        self._put(TAGS, search, trial, tags=tags)

    def close_run(self, search: str, trial: str, state: str, reason: str = "") -> None:
        """The run's end."""
        self._put(CLOSE, search, trial, state=state, reason=reason)

    def wait(self, seconds: float | None = None) -> int:
        """Wait until everything is sent, at most so long; how many events are left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lanes or self._over, seconds)
            return sum(map(len, self._lanes.values()))

    def close(self, seconds: float | None = None) -> int:
        """`wait`, then end the thread. What is left stays in the folder for the next process."""
        left = self.wait(seconds)
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(None if not left else 1.0)  # one that hangs in a request ends with the process
        return left

    @property
    def trouble(self) -> str:
        """Why nothing is sent at the moment, for a display; empty while all is well."""
        return self._trouble

    @property
    def refused(self) -> str:
        """What MLflow will never take, and where it was put aside; empty when there is nothing of the kind."""
        return self._refused

    def _put(self, kind: str, search: str, trial: str, **what: Any) -> None:
        with self._changed:
            if self._ending:
                raise RuntimeError("this outbox is closed")
            event = {"kind": kind, "search": search, "trial": trial, "time": int(time.time() * 1000), **what}
            entry = self._journal.append(event)
            self._lanes.setdefault(_lane(entry), deque()).append(entry)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # the disk is full, or the folder is gone
            log.exception("nothing more is sent to MLflow")
            with self._changed:
                self._trouble, self._over = f"nothing more is sent to MLflow: {error}", True
                self._changed.notify_all()
        finally:
            self._journal.close()

    def _send_all(self) -> None:
        failures, alone = 0, 0  # tries since something was sent; events to send one by one, for one of them is hopeless
        tries: Counter[Entry] = Counter()  # of each file
        while (taken := self._take(1 if alone else TOGETHER)) is not None:
            events = [self._journal.read(entry) for entry in taken]
            try:
                self._sender.send(events)
            except Hopeless as error:
                if len(taken) > 1:
                    alone = len(taken)
                    continue
                self._refuse(events[0], str(error))
            except Exception as error:  # whatever a network or a server can do: it may be well again later
                tries[taken[0]] += isinstance(error, FileRefused)
                if tries[taken[0]] < FILE_TRIES:
                    failures += 1
                    self._pause(failures, error, taken[0])
                    continue
                self._refuse(events[0], str(error))
            failures, alone = 0, max(0, alone - 1)
            self._done(taken)

    def _take(self, most: int) -> list[Entry] | None:
        """The next events to send, of one run; None at the end."""
        with self._changed:
            while not self._ending:
                for lane, waiting in self._lanes.items():
                    if self._ready(lane):
                        return list(islice(waiting, 1 if lane[2] else most))
                self._changed.wait()
        return None

    def _ready(self, lane: Lane) -> bool:
        """A trial's run is made after its search's, and a file comes after its run."""
        search, trial, file = lane
        opening = [(search, trial, False)] if file else [(search, "", False)] if trial else []
        return not any(entry.kind == OPEN for where in opening for entry in self._lanes.get(where, ()))

    def _done(self, taken: list[Entry]) -> None:
        with self._changed:
            lane = _lane(taken[0])
            waiting = self._lanes.pop(lane)
            for entry in taken:
                waiting.popleft()
                self._journal.sent(entry)
            if waiting:
                self._lanes[lane] = waiting  # last of all: every run has its turn
            self._trouble = ""
            self._changed.notify_all()

    def _pause(self, failures: int, error: Exception, entry: Entry) -> None:
        with self._changed:
            self._lanes[_lane(entry)] = self._lanes.pop(_lane(entry))
            if not self._trouble:
                log.warning("MLflow at %s takes nothing: %s", self._tracker.shown, error)
                self._since = time.strftime("%H:%M:%S")
            self._trouble = (
                f"MLflow at {self._tracker.shown} takes nothing since {self._since}; what there is to say is kept on "
                f"disk and sent later ({_first_line(error)})"
            )
            self._changed.wait_for(lambda: self._ending, min(PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE))

    def _refuse(self, event: Event, reason: str) -> None:
        with self._changed:
            self._journal.refuse(event, reason)
            self._refused = f"MLflow refused to take something, kept in {self._journal.folder / REFUSED}: {reason}"
        log.warning("%s (%s of %s/%s)", self._refused, event["kind"], event["search"], event["trial"])


def _lane(entry: Entry) -> Lane:
    return entry.search, entry.trial, entry.kind == FILE


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
