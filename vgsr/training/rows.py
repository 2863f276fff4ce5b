"""What a run says at the end of an epoch: a row of figures, and the facts that go with its checkpoint."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from vgsr.config import Experiment
from vgsr.distill.objective import OF_TAUGHT, figure_names
from vgsr.training import state
from vgsr.training.learner import Learner
from vgsr.training.session import Row, Session, checkpoint_name
from vgsr.training.validation import Validation

log = logging.getLogger(__name__)

# Epochs whose step figures a checkpoint carries along: they may have been on their way to MLflow when the driver of a
# search was killed. All of them would make a long run's checkpoints large.
STEPS_KEPT = 5


class Diverged(Exception):
    """A run whose loss stopped being finite before there was anything to keep."""


def best_checkpoint(last: Row) -> str:
    """Name of the best checkpoint of a run that ended with the row `last`; Diverged when it never had one."""
    if not last.get("best_checkpoint"):
        raise Diverged(
            "the loss was not finite in the first epoch, so there is no checkpoint; a smaller train.learning_rate, a "
            "longer train.warmup_epochs or a smaller distill.weight may help"
        )
    return str(last["best_checkpoint"])


def add_step(learner: Learner, position: state.Position, figures: dict[str, float], *, unreadable: int) -> None:
    """Move the position to the next batch, with the figures of the one that was trained on."""
    shares = _shares(learner)
    for name, value in {**figures, "unreadable": unreadable}.items():
        # Of rows that were taught: a batch counts as much as it had of them, and one without a face not at all.
        counted = value * figures[shares[name]] if name in shares else value
        position.sums[name] = position.sums.get(name, 0.0) + counted
    for name, value in figures.items():
        position.steps.setdefault(name, []).append(value)
    position.batch += 1


def close_epoch(
    experiment: Experiment,
    learner: Learner,
    position: state.Position,
    validation: Validation,
    speed: Row,
) -> Row:
    """Move the position to the next epoch and return the finished one's row."""
    means = _means(learner, position.sums)
    position.epoch += 1
    name = checkpoint_name(position.epoch, 0)
    figures = validation.figures()
    if validation.result.eer < position.best.get("best_val_eer", math.inf):
        position.best, position.best_checkpoint = {f"best_{key}": value for key, value in figures.items()}, name
    row: Row = {
        "epoch": position.epoch,
        "batch": 0,
        "phase": learner.stretch.name,
        "averaged": learner.stretch.averaged(position.epoch - 1),
        **means,
        "unreadable": position.sums["unreadable"],
        **(learner.coverage.figures if learner.coverage else {}),
        **figures,
        **position.best,
        "best_checkpoint": position.best_checkpoint,
        # What keeps the best checkpoint: the lower EER, and of equal ones the earlier.
        "selection": validation.result.eer + 1e-9 * position.epoch,
        "learning_rate": learner.optimiser.param_groups[0]["lr"],
        "class_margin": learner.class_margin,
        "steps": {name: list(values) for name, values in position.steps.items()},
        "first_step": learner.steps_before + (position.epoch - 1 - learner.stretch.first) * learner.batches,
        "total_seconds": sum(past["seconds"] + past["validation_seconds"] for past in [*position.history, speed]),
        **speed,
    }
    position.batch, position.sums, position.steps = 0, {}, {}
    for warning in _idle(learner, row):
        log.warning("epoch %d: %s", row["epoch"], warning)
    position.history.append(row)
    for earlier in position.history[:-STEPS_KEPT]:
        earlier.pop("steps", None)
    return row


def attempt(session: Session) -> Row:
    """What a row says of the attempt that it comes from: its name, its workers, its age in seconds."""
    age = time.monotonic() - session.entered
    return {"attempt": session.attempt, "attempt_seconds": age, "world": session.world}


def _shares(learner: Learner) -> dict[str, str]:
    """Of each figure of taught rows, the figure that says what share of the rows those were."""
    names = [one.method.name for one in learner.objective.distillations]
    shares = figure_names("taught", names)
    return {own: share for figure in OF_TAUGHT for own, share in zip(figure_names(figure, names), shares, strict=True)}


def _means(learner: Learner, sums: dict[str, float]) -> dict[str, float]:
    """The epoch's figures: a mean over its batches, or over its rows that were taught; 0 of none."""
    shares = _shares(learner)
    return {
        name: (value / sums[shares[name]] if sums[shares[name]] else 0.0) if name in shares else value / learner.batches
        for name, value in sums.items()
        if name != "unreadable"
    }


def _idle(learner: Learner, row: Row) -> list[str]:
    """Of each distillation that did nothing in the epoch, why."""
    taught = learner.objective.distillations
    names, said = [one.method.name for one in taught], []
    for one, share, active, mu in zip(
        taught, *(figure_names(figure, names) for figure in ("taught", "active", "mu")), strict=True
    ):
        if row[share] == 0:
            few = f"no batch had the {one.needed} faces that it compares" if one.needed > 1 else "no batch had a face"
            said.append(f"{few}: {one.method.name} taught nothing")
        elif row[active] == 0:
            reach = f"{one.method.name} (mu {row[mu]:.4g}, {one.method.unit})"
            said.append(f"nothing lay outside the margin of {reach}: distillation is switched off")
    return said


def diverged(position: state.Position, about: Row) -> Row:
    """The row of a run whose loss is no longer finite: the worst EER, and the best so far. about: see `attempt`."""
    last = position.history[-1] if position.history else {}
    row = {**last, "epoch": position.epoch + 1, "batch": position.batch, "diverged": True, "val_eer": 1.0, **about}
    row.setdefault("best_val_eer", 1.0)
    return row


def writer(
    experiment: Experiment,
    learner: Learner,
    position: state.Position,
    row: Row,
    validation: Validation | None,
) -> Callable[[Path], None]:
    """Writes the checkpoint of this moment into a folder; without a validation it serves to resume only."""
    facts = {
        "manifest_digest": learner.manifest.digest,
        "data_digest": learner.data_digest,
        "corpus": learner.manifest.corpus,
        "synthetic": learner.manifest.synthetic,
        **(learner.coverage.figures if learner.coverage else {}),
        "row": {key: value for key, value in row.items() if key != "steps"},
    }
    if validation:
        facts["calibration"] = {"scale": validation.calibration.scale, "offset": validation.calibration.offset}
        facts["eer_threshold"] = validation.result.eer_threshold
        facts["validation"] = validation.result.line()
    return lambda folder: state.write(
        folder,
        experiment=experiment,
        student=learner.student,
        heads=learner.heads,
        objective=learner.objective,
        optimiser=learner.optimiser,
        average=learner.average,
        position=position,
        speakers=learner.speakers,
        facts=facts,
    )
