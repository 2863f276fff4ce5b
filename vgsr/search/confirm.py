"""Stage 2: which configurations run again, whole and with fresh seeds. Decided once, and kept in the search's place.

In: the runs of stage 1 and their configurations. Out: a `Confirmation`, whose arms are the best configurations and the
controls, each of which is the winner's configuration changed in one respect.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vgsr import config, storage, tracking
from vgsr.config import Experiment
from vgsr.search.front import front
from vgsr.search.plan import CONFIRMED, REFERENCE, Overrides, Search, Stage
from vgsr.tracking import TrackedRun

NO_TEACHER, HARD, SHUFFLED = "no teacher", "hard constraint", "shuffled faces"
FILE = "confirm.json"


@dataclass(frozen=True)
class Confirmation:
    """The arms of stage 2: name → changes of the experiment, all but the seed.

    origin: the trial of stage 1 that a top arm is. same: controls that would be another arm over again, and which.
    """

    arms: Mapping[str, Overrides]
    origin: Mapping[str, str]
    same: Mapping[str, str] = field(default_factory=dict)

    def stage(self, search: Search) -> Stage:
        """Its trials, seed by seed. The experiment's own seed is not among them: it chose these arms."""
        seeds = range(search.experiment.seed + 1, search.experiment.seed + 1 + search.settings.seeds)
        return Stage(
            CONFIRMED,
            tuple({REFERENCE: name, **own, "seed": seed} for seed in seeds for name, own in self.arms.items()),
        )


def choose(search: Search, runs: Sequence[TrackedRun], chosen: Mapping[str, Overrides]) -> Confirmation:
    """The best completed configurations of stage 1, and the controls of the first of them.

    runs: those of stage 1; chosen: trial → its configuration. No arms where nothing but controls was completed.
    """
    arms: dict[str, Overrides] = {}
    origin: dict[str, str] = {}
    same: dict[str, str] = {}
    digests: dict[str, str] = {}

    def add(name: str, overrides: Overrides) -> None:
        digest = search.experiment_of(overrides).digest
        if digest in digests:
            same[name] = digests[digest]
        else:
            digests[digest], arms[name] = name, overrides

    for run in ranked(runs, search.plan.metrics):
        if len(origin) == search.settings.top:
            break
        name, trial = f"top {len(origin) + 1}", run.tags["vgsr.trial"]
        add(name, config.overrides_in(chosen[trial]))
        if name in arms:
            origin[name] = trial
    if arms:
        winner = arms["top 1"]
        experiment = search.experiment_of(winner)
        for name, overrides in {**search.plan.references, **controls(experiment)}.items():
            add(name, changed(winner, overrides))
    return Confirmation(arms, origin, {name: other for name, other in same.items() if not name.startswith("top ")})


def ranked(runs: Sequence[TrackedRun], metrics: Sequence[str]) -> list[TrackedRun]:
    """The completed runs that are no controls, the best by the first of the metrics first; of several metrics those on
    the front before all others."""
    able = [run for run in runs if run.state == tracking.COMPLETED and not run.is_control]
    best = {run.run_id for run in front(able, metrics)} if len(metrics) > 1 else set()
    return sorted(able, key=lambda run: (run.run_id not in best, *(run.figures.get(m, 1.0) for m in metrics)))


def controls(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """What every winner is compared with, as changes of its experiment."""
    several = len(experiment.taught) > 1
    places = [f"distill.{number}" for number in range(len(experiment.taught))] if several else ["distill"]
    hard = {"margin.kind": "hinge", "margin.unit": "absolute", "margin.value": 0.0}
    return {
        NO_TEACHER: {"distill": {"method": "none"}, "quality.signals": []},
        HARD: {f"{place}.{key}": value for place in places for key, value in hard.items()},
        SHUFFLED: {"teacher.control": "shuffled"},
    }


def changed(overrides: Overrides, more: Overrides) -> dict[str, Any]:
    """Overrides after others; what the later ones replace as a whole is left out of the earlier ones."""
    replaced = tuple(f"{key}." for key in more)
    kept = {key: value for key, value in overrides.items() if key not in more and not key.startswith(replaced)}
    return {**kept, **more}


def recorded(search: Search) -> Confirmation | None:
    """What an earlier call of this search has decided; None before that."""
    place = storage.join(search.storage, FILE)
    if storage.stat(place) is None:
        return None
    return Confirmation(**json.loads(storage.read_bytes(place)))


def record(search: Search, confirmation: Confirmation) -> None:
    """Keep it for later calls."""
    storage.put_bytes(json.dumps(asdict(confirmation), indent=1).encode(), storage.join(search.storage, FILE))
