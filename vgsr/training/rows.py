"""What a run says at the end of an epoch: a row of figures, and the facts that go with its checkpoint."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

from vgsr.config import Experiment
from vgsr.distill.objective import figure_names
from vgsr.training import state
from vgsr.training.learner import Learner
from vgsr.training.session import Row, checkpoint_name
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


def close_epoch(
    experiment: Experiment,
    learner: Learner,
    position: state.Position,
    validation: Validation,
    speed: dict[str, float],
) -> Row:
    """Move the position to the next epoch and return the finished one's row."""
    means = {name: value / learner.batches for name, value in position.sums.items() if name != "unreadable"}
    position.epoch += 1
    name = checkpoint_name(position.epoch, 0)
    figures = validation.figures()
    if validation.result.eer < position.best.get("best_val_eer", math.inf):
        position.best, position.best_checkpoint = {f"best_{key}": value for key, value in figures.items()}, name
    row: Row = {
        "epoch": position.epoch,
        "batch": 0,
        **means,
        "unreadable": position.sums["unreadable"],
        **figures,
        **position.best,
        "best_checkpoint": position.best_checkpoint,
        # What keeps the best checkpoint: the lower EER, and of equal ones the earlier.
        "selection": validation.result.eer + 1e-9 * position.epoch,
        "learning_rate": learner.optimiser.param_groups[0]["lr"],
        "aam_margin": learner.aam_margin,
        "steps": {name: list(values) for name, values in position.steps.items()},
        "first_step": (position.epoch - 1) * learner.batches,
        "total_seconds": sum(past["seconds"] + past["validation_seconds"] for past in [*position.history, speed]),
        **speed,
    }
    position.batch, position.sums, position.steps = 0, {}, {}
    for idle in _idle(learner, row):
        log.warning("epoch %d: nothing lay outside the margin of %s: distillation is switched off", row["epoch"], idle)
    position.history.append(row)
    for earlier in position.history[:-STEPS_KEPT]:
        earlier.pop("steps", None)
    return row


def _idle(learner: Learner, row: Row) -> list[str]:
    """The distillations that nothing in the epoch lay outside the margin of, each with its reach."""
    taught = learner.objective.distillations if learner.coverage else ()
    names = [one.method.name for one in taught]
    return [
        f"{one.method.name} (mu {row[mu]:.4g}, {one.method.unit})"
        for one, active, mu in zip(taught, figure_names("active", names), figure_names("mu", names), strict=True)
        if row[active] == 0
    ]


def diverged(position: state.Position) -> Row:
    """The row of a run whose loss is no longer finite: the worst EER, and the best so far."""
    last = position.history[-1] if position.history else {}
    row = {**last, "epoch": position.epoch + 1, "batch": position.batch, "diverged": True, "val_eer": 1.0}
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
        "face_coverage": learner.coverage,
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
        position=position,
        speakers=learner.speakers,
        facts=facts,
    )
