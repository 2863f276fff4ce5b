"""Two made-up searches, every figure of which is known: as benchmarks in memory, and one of them in MLflow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgsr import config, tracking
from vgsr.evaluation import metrics
from vgsr.evaluation.conditions import CLEAN, Condition
from vgsr.evaluation.matrix import Matrix
from vgsr.evaluation.protocol import Protocol
from vgsr.report.collect import Arm, Benchmark
from vgsr.tracking import TrackedRun

from ..written import close_run, log_row, open_run

# Folders as they would be on somebody's machine: none of them may come out on a page.
BASE = {
    "name": "mine",
    "corpus": {"manifest": "/home/somebody/corpora/mine"},
    "teacher": {"bank": "/home/somebody/corpora/mine/banks/sface.parquet"},
    "distill": {"method": "cosine", "weight": 10.0, "margin": {"value": 0.3}},
    "quality": {"signals": ["face_norm"]},
    "augment": {"noise": "/data/some noise"},
    "train": {"epochs": 6},
}
ARMS: dict[str, dict] = {
    "no teacher": {"distill": {"method": "none"}, "quality.signals": []},
    "hard KD": {"distill.margin.value": 0.0, "quality.signals": []},
    "MKD + QAW": {},
    "shuffled faces": {"teacher.control": "shuffled"},
}
# How far apart the scores of one person and of two are, in deviations: the higher, the fewer errors.
APART = {"no teacher": 2.0, "hard KD": 1.2, "MKD + QAW": 3.2, "shuffled faces": 2.02}
SEEDS = (0, 1, 2)
SPEAKERS = 40
TRIALS = "mine_clips"
OWN_TAGS = ("vgsr.search", "vgsr.trial", "vgsr.state", "vgsr.reason")  # that tracking itself writes
LINE = "500 target and 1,500 non-target trials · trials mine/clips (2,000, digest 0123456789ab) · cosine · 1 seed"

Build = Callable[..., TrackedRun]


@dataclass(frozen=True)
class Store:
    """An MLflow store with `comparison` in it; expected: what was put in; folder: where the store lies."""

    tracker: tracking.Tracker
    expected: Benchmark
    folder: Path


@pytest.fixture(scope="session")
def tracked_run() -> Build:
    """Builds a run of an arm: `tracked_run("MKD", seed=1, changes={…}, figures={…}, state=…, searched=…, tags={…})`."""
    return _run


@pytest.fixture(scope="session")
def comparison(tmp_path_factory) -> Benchmark:
    """Four arms with three seeds each, score tables and robustness tables, and a fourth seed that failed."""
    folder = tmp_path_factory.mktemp("comparison")
    runs: list[TrackedRun] = []
    histories, scores, disturbed = {}, {}, {}
    for arm, changes in ARMS.items():
        for seed in SEEDS:
            table = _scores(APART[arm], seed)
            score, label = table["score"].to_numpy(), table["label"].to_numpy()
            eer = metrics.eer(score, label).value
            history = [(epoch, 0.5 / (1 + epoch * APART[arm] / 3) + 0.01 * seed) for epoch in range(1, 7)]
            figures = {
                "best_val_eer": history[-1][1],
                f"test_{TRIALS}_eer": eer,
                f"test_{TRIALS}_min_dcf_0.01": metrics.min_dcf(score, label, 0.01).value,
            }
            run = _run(arm, seed=seed, changes=changes, figures=figures, tags={f"vgsr.protocol.{TRIALS}": LINE})
            runs.append(run)
            histories[run.run_id] = history
            scores[run.run_id] = {TRIALS: _written(table, folder / run.run_id / "scores")}
            disturbed[run.run_id] = {TRIALS: _written(_disturbed(eer), folder / run.run_id / "robustness")}
    why = {"vgsr.reason": "Traceback\nOSError: no space left on /home/somebody/runs"}
    lost = _run("hard KD", seed=3, changes=ARMS["hard KD"], state=tracking.FAILED, tags=why)
    by_arm = {arm: tuple(run for run in [*runs, lost] if run.arm == arm) for arm in ARMS}
    rest = {lost.run_id: {}}
    return Benchmark(
        name="comparison-mine-1a2b3c4d",
        search=_search("comparison-mine-1a2b3c4d", {"teacher_eer": 0.02}, synthetic=True),
        arms=tuple(Arm(name, own) for name, own in by_arm.items()),
        histories={**histories, lost.run_id: []},
        scores={**scores, **rest},
        robustness={**disturbed, **rest},
    )


@pytest.fixture(scope="session")
def margin_search() -> Benchmark:
    """24 trials, EER falling towards margin 0.5 whatever λ is, the last four pruned; one run without a teacher."""
    rng = np.random.default_rng(0)
    figures = {"best_val_eer": 0.2}
    runs = [_run("no teacher", changes=ARMS["no teacher"], figures=figures)]
    for number in range(24):
        margin, weight = (number + 0.5) / 24, float(10 ** rng.uniform(0, 2))
        runs.append(
            _run(
                f"m{number:02}",
                changes={"distill.margin.value": margin, "distill.weight": weight},
                figures={"best_val_eer": 0.1 + 0.2 * abs(margin - 0.5)},
                state=tracking.PRUNED if number >= 20 else tracking.COMPLETED,
                searched=True,
                tags={"vgsr.reason": "stopped by ASHA after epoch 1"} if number >= 20 else {},
            )
        )
    return Benchmark(
        name="margin-search-mine-5e6f7a8b",
        search=_search("margin-search-mine-5e6f7a8b", {}, synthetic=False),
        arms=tuple(Arm(run.arm, (run,)) for run in runs),
        histories={run.run_id: [(1, run.best_val_eer)] for run in runs},
        scores={run.run_id: {} for run in runs},
        robustness={run.run_id: {} for run in runs},
    )


@pytest.fixture(scope="session")
def store(comparison, tmp_path_factory) -> Store:
    """`comparison` in MLflow, run by run, as a search writes it; seed 2 is left out, as writing takes its time."""
    place = tmp_path_factory.mktemp("store")
    tracker = tracking.connect(f"sqlite:///{place / 'mlflow.db'}")
    name = comparison.name
    experiment = config.build(BASE)
    parent = open_run(tracker, search=name, trial="", name=name, tags=comparison.search.tags, experiment=experiment)
    tracking.log_figures(tracker, parent, comparison.search.figures)
    for number, run in enumerate(run for run in comparison.runs if run.seed != 2):
        made = config.build(BASE, {**ARMS[run.arm], "seed": run.seed})
        tags = {**run.tags, tracking.PARENT: parent}
        tags = {key: value for key, value in tags.items() if key not in OWN_TAGS}
        run_id = open_run(tracker, search=name, trial=f"t{number}", name=run.name, tags=tags, experiment=made)
        rows = [
            {"epoch": epoch, "val_eer": eer, "best_val_eer": eer} for epoch, eer in comparison.histories[run.run_id]
        ]
        if rows:
            log_row(tracker, run_id, {**rows[-1], "history": rows[:-1]})
            tests = {key: value for key, value in run.figures.items() if key.startswith("test_")}
            tracking.log_figures(tracker, run_id, tests)
            for kind, files in (("scores", comparison.scores), ("robustness", comparison.robustness)):
                tracking.attach(tracker, run_id, files[run.run_id][TRIALS].parent, kind)
        close_run(tracker, run_id, run.state, run.tags.get("vgsr.reason", ""))
    close_run(tracker, parent, tracking.COMPLETED)
    return Store(tracker, comparison, place)


def _run(
    arm: str,
    seed: int = 0,
    changes: dict | None = None,
    figures: dict[str, float] | None = None,
    state: str = tracking.COMPLETED,
    searched: bool = False,
    tags: dict[str, str] | None = None,
) -> TrackedRun:
    experiment = config.build(BASE, {**(changes or {}), "seed": seed})
    own = {"vgsr.search": "some-search", "vgsr.trial": arm, "vgsr.control": experiment.teacher.control}
    own |= {} if searched else {"vgsr.reference": arm}
    params = {key: str(value) for key, value in experiment.flat().items()}
    name = arm if searched else f"{arm}, seed {seed}"
    return TrackedRun(f"{arm}-{seed}", name, state, {**own, **(tags or {})}, params, figures or {}, 60.0)


def _search(name: str, figures: dict[str, float], synthetic: bool) -> TrackedRun:
    tags = {"vgsr.synthetic": str(synthetic), "vgsr.data": "f" * 64, "mlflow.source.name": "comparison.py"}
    run = _run("search", figures=figures, tags=tags)
    return replace(run, run_id="parent", name=name, tags=tags)


def _written(table: pa.Table, folder: Path) -> Path:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / f"{TRIALS}.parquet")
    return folder / f"{TRIALS}.parquet"


def _disturbed(eer: float) -> pa.Table:
    """EERs that grow by a tenth of the clean one with every 5 dB of noise, by a half in reverberation."""
    eers = {CLEAN: eer, Condition("reverberation"): 1.5 * eer}
    eers |= {Condition("noise", level): eer * (1 + (25 - level) / 50) for level in (0.0, 10.0, 20.0)}
    how = Protocol("mine/clips", 2000, "0123456789ab", "1 utterance", "cosine, both sides disturbed", 1, True)
    return Matrix(eers, 500, 1500, how).table()


def _scores(apart: float, seed: int) -> pa.Table:
    """A score table whose trials, and how hard each is, are the same for all arms and seeds."""
    fixed, own = np.random.default_rng(7), np.random.default_rng([seed, round(100 * apart)])
    easy = fixed.normal(0, 0.3, SPEAKERS)
    label = np.repeat([1, 0], [500, 1500]).astype(np.int8)
    left = fixed.integers(0, SPEAKERS, len(label))
    right = np.where(label == 1, left, (left + fixed.integers(1, SPEAKERS, len(label))) % SPEAKERS)
    hard = fixed.normal(0, 0.8, len(label))
    score = label * (apart + easy[left]) + hard + own.normal(0, 0.6, len(label))
    return pa.table(
        {
            "label": label,
            "enrol": [f"s{speaker}-e{trial}" for trial, speaker in enumerate(left)],
            "test": [f"s{speaker}-t{trial}" for trial, speaker in enumerate(right)],
            "enrol_speaker": [f"s{speaker}" for speaker in left],
            "test_speaker": [f"s{speaker}" for speaker in right],
            "score": score,
        }
    )
