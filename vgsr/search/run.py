"""Running a search, or going on with it: the same command starts it, resumes it, and shows it when it is done."""

import os
import sys
from collections.abc import Sequence
from dataclasses import fields

from rich.console import Console

from vgsr import storage, tracking
from vgsr.config import ConfigError, nearest
from vgsr.home import home
from vgsr.mistakes import PlainConsole, told
from vgsr.search import conclude, confirm, confirm_table, demo, dry, judge, note, prices, stages, table
from vgsr.search.attempts import Attempts, Cost
from vgsr.search.patience import insist, settle
from vgsr.search.plan import CONFIRMED, NOISY_METRIC, Base, Plan, Search, bind, parse
from vgsr.search.watch import STAGE
from vgsr.tracking import Outbox, Tracker
from vgsr.training import check

LEAVING = 10.0  # seconds that an interrupted search takes for what MLflow has not yet got


def main(plan: Plan, arguments: Sequence[str] | None = None) -> None:
    """What a page of `sweeps/` calls. Exits with 2 and one message when the command line or the experiment is wrong."""
    # A log (a job's, a file) is not 80 columns wide as rich would take it to be. Brackets in names and paths are text.
    console = PlainConsole(width=None if sys.stdout.isatty() else 180)
    with told(console):
        rehearsal, overrides = flags(sys.argv[1:] if arguments is None else arguments)
        experiment, settings = parse(plan, overrides)
        if settings.experiment is None:
            demo.prepare(NOISY_METRIC in plan.metrics, console)
        found = check.check(experiment)
        search = bind(plan, Base(experiment, found.signals), settings, found.data_digest)
        if rehearsal:
            raise SystemExit(0 if dry.show(search, found, console) else 2)
        for line in found.lines:
            console.print(line, soft_wrap=True)
        run(search, found, console)


def flags(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether it is a dry run, and the arguments without that flag; ConfigError on any other flag."""
    for argument in arguments:
        if argument.startswith("-") and argument != dry.FLAG:
            raise ConfigError(f"unknown flag {argument!r}{nearest(argument, [dry.FLAG])}")
    return dry.FLAG in arguments, [argument for argument in arguments if argument != dry.FLAG]


def run(search: Search, found: check.Findings, console: Console) -> None:
    """Search to the end, confirm, test, judge, and show the tables."""
    listed = _prices(search)
    tracker = tracking.connect()
    attempts = Attempts(storage.join(search.storage, "attempts.json"), listed)
    folder = home() / "outbox" / search.search_id
    outbox = Outbox(tracker, folder)
    try:
        settle(outbox, str(folder), console)  # what an earlier call has left, maybe the end of the search
        parent = insist(lambda: _finished(search, tracker), tracker, console)
        if parent is None:
            parent = _go_on(search, found, tracker, outbox, attempts, console)
            settle(outbox, str(folder), console)
        else:
            console.print(
                f"{search.search_id} is finished; this is its table. A change of any setting starts a new search."
            )
        runs = insist(lambda: tracking.trials(tracker, parent), tracker, console)
        confirmed = [run for run in runs if run.tags.get(STAGE) == CONFIRMED]
        first = [run for run in runs if run not in confirmed]
        table.show(search, first, found.teacher_eer, found.coverage, console)
        if search.confirms:
            version = insist(lambda: judge.version(tracker, parent), tracker, console)
            kept = confirm.recorded(search), judge.recorded(search)
            confirm_table.show(search, confirmed, *kept, version, console)
        for line in attempts.bill().lines():
            console.print(line, soft_wrap=True)
        if outbox.refused:
            console.print(outbox.refused, style="red", soft_wrap=True)
    finally:
        attempts.close()
        outbox.close(LEAVING)
    registers = "" if search.confirms else "; `vgsr best` registers the champion"
    served = tracker.uri.startswith("http")
    link = tracking.link(tracker, tracker.shown if served else "http://127.0.0.1:5000", search.search_id, runs)
    console.print(f"runs: {tracker.shown}   (`vgsr ui` opens MLflow{registers})", soft_wrap=True)
    console.print(f"this search{'' if served else ', once `vgsr ui` runs'}: {link}", soft_wrap=True)


def _finished(search: Search, tracker: Tracker) -> str | None:
    """The run of a search that is finished."""
    parent = tracking.search_run(tracker, search.search_id)
    return parent if parent is not None and tracking.state(tracker, parent) == tracking.COMPLETED else None


def _go_on(
    search: Search, found: check.Findings, tracker: Tracker, outbox: Outbox, attempts: Attempts, console: Console
) -> str:
    """All that is left to do; the search's run."""
    tags = {
        "vgsr.data": found.manifest_digest,
        "vgsr.synthetic": str(found.synthetic),
        "vgsr.control": search.experiment.teacher.control,
        **({"ray.job": os.environ["RAY_JOB_ID"]} if "RAY_JOB_ID" in os.environ else {}),
    }
    title = tracking.marked(search.search_id, search.experiment.teacher.control)
    said = {**tags, tracking.NOTE: note.note(search, found.lines)}
    outbox.open(search.search_id, "", name=title, tags=said, experiment=search.experiment)
    outbox.figures(search.search_id, "", found.figures)
    tools = stages.Tools(search, tracker, outbox, str(home() / "outbox" / search.search_id), attempts, tags, console)
    confirmation = confirm.recorded(search) if search.confirms else None
    if confirmation is None:
        chosen = stages.run(tools, search.first)
        if search.confirms:
            confirmation = confirm.choose(search, stages.runs(tools, search.first), chosen)
            confirm.record(search, confirmation)
    if confirmation is not None and not stages.over(tools, confirmation.stage(search)):
        stages.run(tools, confirmation.stage(search))
    parent = stages.parent(tools)
    if confirmation is not None:
        last = confirmation
        insist(lambda: judge.judge(search, tracker, parent, last, found.synthetic, console), tracker, console)
    else:
        insist(lambda: conclude.conclude(search, tracker, parent, console), tracker, console)
    outbox.figures(search.search_id, "", _bill(attempts))
    outbox.close_run(search.search_id, "", tracking.COMPLETED)
    return parent


def _bill(attempts: Attempts) -> dict[str, float]:
    """The costs of a search as figures of its run."""
    bill, figures = attempts.bill(), dict[str, float]()
    for part in fields(bill):
        cost = getattr(bill, part.name)
        if isinstance(cost, Cost):
            figures |= {f"{part.name}_gpu_seconds": cost.gpu_seconds, f"{part.name}_cpu_seconds": cost.cpu_seconds}
            if cost.money is not None:
                figures[f"{part.name}_cost"] = cost.money
    return figures


def _prices(search: Search) -> prices.Prices | None:
    place = search.settings.prices or prices.default()
    return None if place is None else prices.read(place)
