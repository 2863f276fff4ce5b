"""The table of stage 2: its arms over their seeds, what each gains, and the verdict."""

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from vgsr.data import manifest as manifests
from vgsr.search.confirm import NO_TEACHER, Confirmation
from vgsr.search.gains import Gain, signed
from vgsr.search.plan import METRIC, Search
from vgsr.search.table import emptied, whole_words
from vgsr.search.verdict import Verdict
from vgsr.tracking import CHAMPION, COMPLETED, MODEL, PROTOCOL, TrackedRun, marked

NOTHING, UNTESTED = "–", "not tested"


def show(
    search: Search,
    runs: Sequence[TrackedRun],
    confirmation: Confirmation | None,
    verdict: Verdict | None,
    version: str,
    console: Console,
) -> None:
    """Print it. runs: those of stage 2; version: that of the model which was registered, empty without one."""
    if confirmation is None or not confirmation.arms:
        console.print("Nothing was confirmed: no trial of stage 1 but controls was completed.", style="red")
        return
    keys = {key.removeprefix(PROTOCOL) for run in runs for key in run.tags if key.startswith(PROTOCOL)}
    for trials in sorted(keys) or [UNTESTED]:
        console.print(_table(search, runs, confirmation, verdict, trials))
    for line in _notes(search, runs, confirmation):
        console.print(line, soft_wrap=True, highlight=False)
    if verdict is None:
        console.print("There is no verdict any more: verdict.json is gone from the search's place.", style="red")
        return
    head, *rest = verdict.reason.splitlines()
    console.print(head, style="bold green" if verdict.promoted else "bold", soft_wrap=True, highlight=False)
    for line in rest:
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    for run in runs:
        if run.run_id == verdict.run_id:
            champion = f"models:/{MODEL}@{CHAMPION}, " if verdict.promoted else ""
            where = f" ({champion}models:/{MODEL}/{version})" if version else ""
            console.print(f"best checkpoint: {run.tags['vgsr.checkpoint']}{where}", soft_wrap=True)


def _table(
    search: Search, runs: Sequence[TrackedRun], confirmation: Confirmation, verdict: Verdict | None, trials: str
) -> Table:
    """The arms on one test list."""
    headings = {
        "arm": False,
        "of trial": False,
        "seeds": True,
        "validation EER %": True,
        "test EER %": True,
        "gain %": True,
        "95 % interval": True,
        "verdict": False,
    }
    title = f"stage 2, unpruned, with seeds that stage 1 did not use: {trials}"
    table = emptied(marked(title, search.experiment.teacher.control), headings)
    for name in confirmation.arms:
        own = [run for run in runs if run.arm == name and run.state == COMPLETED]
        gained = (verdict.gains or {}).get(name, {}).get(trials) if verdict else None
        cells = [
            marked(name, own[0].tags.get("vgsr.control", "none") if own else "none"),
            confirmation.origin.get(name, ""),
            str(len(own)),
            _percent(own, METRIC),
            _percent(own, f"test_{trials}_eer"),
            *_gained(gained),
        ]
        table.add_row(*cells, style="bold" if verdict and name == verdict.candidate else "")
    return whole_words(table)


def _percent(runs: Sequence[TrackedRun], figure: str) -> str:
    """Mean ± sample standard deviation over the seeds."""
    values = [100 * run.figures[figure] for run in runs if figure in run.figures]
    if not values:
        return NOTHING
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def _gained(gain: Gain | None) -> list[str]:
    """A gain is told as what the arm errs less; its record as what it errs more."""
    if gain is None:
        return [NOTHING, NOTHING, ""]
    if gain.why:
        return [NOTHING, NOTHING, "cannot be told"]
    return [signed(-gain.relative), f"{signed(-gain.high)} to {signed(-gain.low)}", gain.verdict]


def _notes(search: Search, runs: Sequence[TrackedRun], confirmation: Confirmation) -> list[str]:
    manifest = manifests.read(search.experiment.corpus.manifest)
    synthetic = "SYNTHETIC corpus, says nothing about people. " if manifest.synthetic else ""
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"{synthetic}Mean ± standard deviation over seeds {', '.join(map(str, seeds))}; stage 1 used "
        f"{search.experiment.seed}. Gain: 1 − EER / EER of {NO_TEACHER}, positive where the arm errs less; interval "
        "from a bootstrap over speakers, seeds paired. Controls are the configuration of top 1, changed."
    ]
    lines += [f"{name} is {other} over again, so it did not run." for name, other in confirmation.same.items()]
    protocols = {key.removeprefix(PROTOCOL): text for run in runs for key, text in run.tags.items() if PROTOCOL in key}
    lines += [
        f"{trials}: {protocols[trials].removesuffix(' · 1 seed')} · each run one seed" for trials in sorted(protocols)
    ]
    lost = [run for run in runs if run.state != COMPLETED]
    lines += [f"{run.name}: {run.state}, {run.tags.get('vgsr.reason', '')}".rstrip(", ") for run in lost]
    return lines
