"""The training loop, top to bottom. It knows neither Ray nor MLflow: a `Session` takes its reports and checkpoints.

In: an experiment and a session. Out: a row of figures an epoch, and checkpoints from which the same call goes on
exactly where it stopped.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from vgsr.config import Experiment
from vgsr.data import batches
from vgsr.distill.objective import Terms
from vgsr.training import learner as parts
from vgsr.training import rows, schedule, state
from vgsr.training.gather import agree, gather
from vgsr.training.session import Row, Session
from vgsr.training.validation import Validation, validate


def train(experiment: Experiment, session: Session, on_step: Callable[[int, int, int], None] | None = None) -> Row:
    """Train to the end and return the last epoch's row. `on_step(epoch, batch, batches)` is for a progress display.

    A loss that is not finite ends the run with a row that says `diverged` and has the worst EER, 1.
    """
    experiment = parts.resolve(experiment)
    learner = parts.build(experiment, session)
    position = _resume(experiment, session, learner)
    for epoch in range(position.epoch, experiment.train.epochs):
        started, already = time.monotonic(), position.batch
        waited = _epoch(experiment, session, learner, position, epoch, on_step)
        if waited is None:
            row = rows.diverged(position)
            session.report(row, None)
            return row
        seconds = time.monotonic() - started
        trained = (learner.batches - already) * experiment.train.batch
        speed = {"seconds": seconds, "data_wait_share": waited / seconds, "utterances_per_second": trained / seconds}
        result = _validate(experiment, session, learner)
        speed["validation_seconds"] = time.monotonic() - started - seconds
        row = rows.close_epoch(experiment, learner, position, result, speed)
        session.report(row, rows.writer(experiment, learner, position, row, result))
    return position.history[-1]


def _resume(experiment: Experiment, session: Session, learner: parts.Learner) -> state.Position:
    """Load the last checkpoint, if any, and report its row again: the first report may have been lost with the run."""
    with session.resume() as folder:
        if folder is None:
            return state.Position()
        position = state.read(
            Path(folder),
            experiment=experiment,
            data_digest=learner.data_digest,
            student=learner.student,
            heads=learner.heads,
            objective=learner.objective,
            optimiser=learner.optimiser,
            device=session.device,
        )
    if position.history:
        session.report({**position.history[-1], "history": position.history[:-1]}, None)
    return position


def _epoch(
    experiment: Experiment,
    session: Session,
    learner: parts.Learner,
    position: state.Position,
    epoch: int,
    on_step: Callable[[int, int, int], None] | None,
) -> float | None:
    """Train the rest of one epoch; the seconds spent waiting for data, or None when the loss is no longer finite."""
    settings, waited = experiment.train, 0.0
    order = batches.WorkerBatches(
        len(learner.crops), settings.batch, experiment.seed, epoch, session.rank, session.world, position.batch
    )
    learner.train_mode()
    source = batches.loader(
        learner.crops, order, learner.crops.collate, settings.loader_processes, pin=session.device.type == "cuda"
    )
    for waiting, batch in _timed(source):
        waited += waiting
        progress = epoch + position.batch / learner.batches
        _set_schedules(experiment, learner, progress)
        torch.manual_seed(hash((experiment.seed, epoch, position.batch, session.rank)))
        figures, read = _step(experiment, session, learner, batch)
        if not math.isfinite(figures["loss"]):
            return None
        rows.add_step(learner, position, figures, unreadable=settings.batch - read)
        if on_step:
            on_step(epoch, position.batch, learner.batches)
        every = settings.checkpoint_batches
        if every and position.batch % every == 0 and position.batch < learner.batches:
            row = {
                "epoch": epoch,
                "batch": position.batch,
                "best_checkpoint": position.best_checkpoint,
                "selection": 2.0,
            }
            session.report(row, rows.writer(experiment, learner, position, row, None))
    return waited


def _step(
    experiment: Experiment, session: Session, learner: parts.Learner, batch: dict[str, torch.Tensor]
) -> tuple[dict[str, float], int]:
    """One optimiser step on one global batch: its figures, and how many of its rows could be read."""
    device = session.device
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    features = learner.frontend(batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=learner.bf16):
        embedding = learner.parallel_student(features)
    embedding = gather(embedding.float(), session.world)
    known = {
        name: gather(batch[name], session.world) for name in ("label", "teacher", "has_face", "signals", "readable")
    }
    readable = known["readable"].bool()
    if not readable.all():  # rows whose file broke take part in nothing
        embedding, known = embedding[readable], {name: tensor[readable] for name, tensor in known.items()}
    heads = learner.parallel_heads(embedding, known["label"], learner.aam_margin)
    terms: Terms = learner.objective(
        class_losses=heads.losses,
        embedding=embedding,
        projected=heads.projected,
        logits=heads.logits,
        teacher=known["teacher"],
        has_face=known["has_face"].bool(),
        labels=known["label"],
        signals=known["signals"],
    )
    learner.optimiser.zero_grad(set_to_none=True)
    terms.loss.backward()
    agree(learner.objective.parameters(), session.world)
    torch.nn.utils.clip_grad_norm_(learner.parameters, experiment.train.gradient_clip)
    learner.optimiser.step()
    right = (heads.logits.argmax(dim=1) == known["label"]).sum() / max(len(embedding), 1)
    figures = {**terms.figures(), "accuracy": right}
    # At once: each would wait for the GPU.
    values = torch.stack([figure.float() for figure in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True)), len(embedding)


def _set_schedules(experiment: Experiment, learner: parts.Learner, progress: float) -> None:
    settings, classes = experiment.train, experiment.classification
    # The step's middle: the very first step must not have a rate of 0.
    middle = progress + 0.5 / learner.batches
    rate = schedule.learning_rate(
        middle,
        peak=settings.learning_rate,
        final=settings.final_learning_rate,
        warmup=settings.warmup_epochs,
        epochs=settings.epochs,
    )
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    learner.aam_margin = schedule.ramp(
        progress, start=classes.margin_start, full=classes.margin_full, value=classes.margin
    )
    for one, written in zip(learner.objective.distillations, experiment.taught, strict=True):
        one.margin.value = schedule.margin(
            progress,
            schedule=written.margin.schedule,
            value=written.margin.value,
            epochs=written.margin.schedule_epochs or settings.epochs,
        )


def _validate(experiment: Experiment, session: Session, learner: parts.Learner) -> Validation:
    return validate(
        learner.student,
        learner.frontend.fbank,
        learner.manifest,
        experiment.evaluate.p_target,
        noise=learner.noise,
        snrs=experiment.evaluate.snr,
        rank=session.rank,
        world=session.world,
        device=session.device,
    )


def _timed(source: Iterator[dict[str, torch.Tensor]]) -> Iterator[tuple[float, dict[str, torch.Tensor]]]:
    while True:
        started = time.monotonic()
        batch = next(source, None)
        if batch is None:
            return
        yield time.monotonic() - started, batch
