"""How fast a trial is: measured in some seconds on this machine, or known from earlier runs of the same shape.

In: an experiment. Out: a `Speed`. Nothing is kept of what was trained.
"""

import re
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from vgsr import students
from vgsr.config import Experiment
from vgsr.data import batches
from vgsr.data import manifest as manifests
from vgsr.data.features import Fbank
from vgsr.evaluation import embedding
from vgsr.evaluation.lists import VALIDATION
from vgsr.tracking import COMPLETED, TrackedRun
from vgsr.training import loop
from vgsr.training.session import LocalSession

STEPS, SECONDS = 30, 20.0  # of a measurement, at most; what comes first ends it
SAMPLE = 16  # validation utterances


@dataclass(frozen=True)
class Speed:
    """What an epoch takes of each worker. peak_*: MiB, None where not known."""

    source: str  # for a person
    step_seconds: float
    steps: int  # of an epoch
    validation_seconds: float
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None

    @property
    def epoch_seconds(self) -> float:
        """Of an epoch with its validation."""
        return self.step_seconds * self.steps + self.validation_seconds


def device(experiment: Experiment) -> str:
    """What a measurement would run on: a GPU where trials want one and there is one."""
    return "cuda" if experiment.train.gpu and torch.cuda.is_available() else "cpu"


def measure(experiment: Experiment) -> Speed:
    """Train some steps and embed some validation utterances here, as one worker of the experiment would.

    The first step, with all that happens only once, is not counted. Workers are taken to cost each other nothing.
    """
    train, where = experiment.train, device(experiment)
    utterances = len(manifests.read(experiment.corpus.manifest).split("train", ["utterance_id"]))
    steps = batches.batches_per_epoch(utterances, train.batch)
    alone = experiment.model_copy(
        update={
            "train": train.model_copy(
                update={"workers": 1, "batch": train.batch // train.workers, "epochs": 2, "checkpoint_batches": 0}
            ),
            "phases": (),
        }
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(train.cpus_per_worker)))
    if where == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        step = _step_seconds(alone, where)
        validation = _validation_seconds(experiment, where) / train.workers
    finally:
        torch.set_num_threads(threads)
    return Speed(
        f"measured on this machine's {'GPU' if where == 'cuda' else 'CPU'}",
        step,
        steps,
        validation,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        torch.cuda.max_memory_allocated() / 2**20 if where == "cuda" else None,
    )


class _Enough(Exception):
    """The measurement has what it needs."""


def _step_seconds(experiment: Experiment, where: str) -> float:
    times: list[tuple[int, float]] = []

    def on_step(epoch: int, batch: int, count: int) -> None:
        times.append((epoch, time.monotonic()))
        many = len(times) > STEPS or times[-1][1] - times[0][1] > SECONDS
        if len(times) > 1 and (many or batch == count):
            raise _Enough

    with tempfile.TemporaryDirectory(prefix="vgsr-calibration-") as folder:
        started = time.monotonic()
        rows: list[float] = []
        session = LocalSession(folder, lambda row: rows.append(row["seconds"]), where)
        with suppress(_Enough):
            loop.train(experiment, session, on_step)
    within = [after - before for (one, before), (other, after) in pairwise(times) if one == other]
    # A single batch an epoch: what lies between two steps is a validation, so the first epoch has to do.
    return statistics.fmean(within) if within else min([*rows, times[-1][1] - started])


def _validation_seconds(experiment: Experiment, where: str) -> float:
    """Of a whole validation by one worker, from a sample of its utterances."""
    student = students.of(experiment.student).to(where)
    fbank, manifest = Fbank(students.bins(experiment.student)).to(where), manifests.read(experiment.corpus.manifest)
    ids = embedding.trial_utterances(manifest.named_trials(VALIDATION))
    sample = [ids[place] for place in np.unique(np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(int))]
    embedding.embed(student, fbank, manifest, sample[:1], torch.device(where))
    started = time.monotonic()
    embedding.embed(student, fbank, manifest, sample, torch.device(where))
    times = 1 + (len(experiment.evaluate.snr) if experiment.evaluate.noise else 0)
    return (time.monotonic() - started) / len(sample) * len(ids) * times


def _last_crop(params: Mapping[str, str]) -> float:
    """Seconds of a crop in a run's last epoch, from its parameters."""
    last = sum(re.fullmatch(r"phases\.\d+\.name", key) is not None for key in params) - 1
    own = params.get(f"phases.{last}.crop_seconds", "None")
    return float(params["train.crop_seconds"] if own == "None" else own)


SAME = (
    "student.backbone",
    "student.channels",
    "student.embedding",
    "student.pooling",
    "train.crop_seconds",
    "train.batch",
    "train.workers",
    "train.gpu",
    "train.precision",
    "train.compile",
)


def remembered(experiment: Experiment, runs: Iterable[TrackedRun], utterances: int, data: str) -> Speed | None:
    """From completed runs of the same shape (`SAME`): the median of their speeds. None where there is none.

    utterances: of the training set; data: digest of the corpus (tag `vgsr.data`). Validation is that of runs on the
    same data only; without one it counts as nothing, and `source` says so.
    """
    flat = {key: str(value) for key, value in experiment.flat().items()}
    alike = [
        run
        for run in runs
        if run.state == COMPLETED
        and run.figures.get("utterances_per_second")
        and all(run.params.get(key, flat[key]) == flat[key] for key in SAME)  # an older version may lack one
    ]
    if not alike:
        return None
    # A figure is of the last epoch, so of the last phase: seconds of speech, not utterances, take equally long.
    rate = statistics.median(
        run.figures["utterances_per_second"] * _last_crop(run.params) / experiment.train.crop_seconds for run in alike
    )
    own = [run.figures["validation_seconds"] for run in alike if run.tags.get("vgsr.data") == data]
    batch = experiment.train.batch
    source = f"{len(alike)} completed runs of this shape in MLflow, the median"
    return Speed(
        source if own else f"{source}; without validation, none of them was on this corpus",
        batch / rate,
        batches.batches_per_epoch(utterances, batch),
        statistics.median(own) if own else 0.0,
    )
