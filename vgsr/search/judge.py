"""The end of stage 2: test its runs, reach the verdict once, register the model. Every step goes on after a kill.

In: the search's runs in MLflow. Out: the same with test figures, a version of the model with its reason, and the
verdict kept in the search's place.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
from rich.console import Console

from vgsr import fetch, storage, tracking
from vgsr.evaluation import score_files
from vgsr.search import conclude
from vgsr.search.confirm import Confirmation
from vgsr.search.gains import Arm, Gain
from vgsr.search.plan import CONFIRMED, Search
from vgsr.search.verdict import Champion, Verdict, champion_of, reach
from vgsr.search.watch import STAGE
from vgsr.tracking import COMPLETED, PROTOCOL, TrackedRun, Tracker

FILE = "verdict.json"
VERSION = "vgsr.version"  # tag of a search: the version of the model that it registered


def judge(
    search: Search, tracker: Tracker, parent: str, confirmation: Confirmation, synthetic: bool, console: Console
) -> Verdict:
    """Do what of all this was not yet done. May be called again after any failure."""
    conclude.test(search, tracker, confirmed(tracking.trials(tracker, parent)), console)
    verdict = recorded(search)
    if verdict is None:
        runs = confirmed(tracking.trials(tracker, parent))
        arms = [_arm(tracker, name, [run for run in runs if run.arm == name]) for name in confirmation.arms]
        tops = list(confirmation.origin)
        with console.status("comparing"):
            lists = sorted({trials for arm in arms for trials in arm.lists})
            found = _champion(tracker, lists)
            verdict = reach(arms, tops, found, synthetic=synthetic, same=confirmation.same)
        content = json.dumps(asdict(verdict), indent=1).encode()
        storage.put_bytes(content, storage.join(search.storage, FILE))
    tags = {tracking.VERDICT: verdict.reason, "vgsr.promoted": str(verdict.promoted).lower()}
    if verdict.run_id:
        tags[VERSION] = _register(search, tracker, parent, verdict)
    tracking.tag(tracker, parent, tags)
    return verdict


def confirmed(runs: Sequence[TrackedRun]) -> list[TrackedRun]:
    """The completed runs of stage 2."""
    return [run for run in runs if run.tags.get(STAGE) == CONFIRMED and run.state == COMPLETED]


def version(tracker: Tracker, parent: str) -> str:
    """The version of the model that a search has registered; empty without one."""
    return str(tracker.client.get_run(parent).data.tags.get(VERSION, ""))


def recorded(search: Search) -> Verdict | None:
    """The verdict that was reached; None before that."""
    place = storage.join(search.storage, FILE)
    if storage.stat(place) is None:
        return None
    kept = json.loads(storage.read_bytes(place))
    gains = {arm: {trials: Gain(**one) for trials, one in own.items()} for arm, own in (kept["gains"] or {}).items()}
    return Verdict(**{**kept, "gains": gains})


def _arm(tracker: Tracker, name: str, runs: Sequence[TrackedRun]) -> Arm:
    scores: dict[str, dict[int, pa.Table]] = {}
    for run in runs:
        folder = tracking.attached(tracker, run.run_id, tracking.SCORES)
        for key in run.tags:
            if folder is not None and key.startswith(PROTOCOL):
                trials = key.removeprefix(PROTOCOL)
                scores.setdefault(trials, {})[run.seed] = score_files.read(folder / f"{trials}.parquet")
    return Arm(name, tuple(sorted(runs, key=lambda run: run.seed)), scores)


def _champion(tracker: Tracker, lists: Sequence[str]) -> Champion | None:
    found = tracking.champion(tracker)
    if found is None:
        return None
    version, run = found
    parent = run.tags.get(tracking.PARENT)
    siblings = tracking.trials(tracker, parent) if parent else [run]
    same_arm = [one for one in siblings if one.arm == run.arm and one.state == COMPLETED] or [run]
    return champion_of(version, run, same_arm, lists)


def _register(search: Search, tracker: Tracker, parent: str, verdict: Verdict) -> str:
    (run,) = (one for one in tracking.trials(tracker, parent) if one.run_id == verdict.run_id)
    intervals = {
        f"interval.{trials}": f"{one.relative:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" if not one.why else one.why[:500]
        for trials, one in (verdict.gains or {}).get(verdict.candidate, {}).items()
    }
    return tracking.promote(
        tracker,
        run,
        fetch.checkpoint(f"runs:/{run.run_id}"),
        reason=verdict.reason,
        champion=verdict.promoted,
        tags={"arm": verdict.candidate, **intervals},
    )
