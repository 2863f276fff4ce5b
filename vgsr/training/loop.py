"""The training loop, top to bottom. It knows neither Ray nor MLflow: a `Session` takes its reports and checkpoints.

In: an experiment and a session. Out: a row of figures an epoch, and checkpoints from which the same call goes on
exactly where it stopped.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from vgsr.config import Experiment
from vgsr.config.training import Train
from vgsr.data import batches
from vgsr.distill.objective import Terms
from vgsr.training import learner as parts
from vgsr.training import phases, rows, schedule, state, usage
from vgsr.training.classes import of_persons
from vgsr.training.gather import agree, gather
from vgsr.training.session import Row, Session
from vgsr.training.validation import Validation, validate

OnStep = Callable[[int, int, int], None]


def train(experiment: Experiment, session: Session, on_step: OnStep = lambda epoch, batch, batches: None) -> Row:
    """Train to the end and return the last epoch's row.

    `on_step(epoch, batch, batches)` is for a progress display: after each batch, and during validation, where the epoch
    stands still at its last batch, as a sign of life.

    A loss that is not finite ends the run with a row that says `diverged` and has the worst EER, 1.
    """
    experiment = parts.resolve(experiment)
    learner = parts.build(experiment, session)
    position = _resume(experiment, session, learner)
    for stretch in phases.stretches(experiment)[1:]:
        if stretch.first < position.epoch or (stretch.first == position.epoch and position.batch):
            learner.enter(stretch, fresh=False)
    if position.batch:  # as they were at that checkpoint: it may stand after the epoch's last batch
        _set_schedules(experiment, learner, position.epoch + (position.batch - 1) / learner.batches)
    for epoch in range(position.epoch, experiment.epochs):
        stretch = phases.at(experiment, epoch)
        if stretch.name != learner.stretch.name:
            learner.enter(stretch, fresh=True)
        started, already, meter = time.monotonic(), position.batch, usage.epoch_meter(session)
        waited = _epoch(experiment, session, learner, position, epoch, on_step)
        if waited is None:
            about = {"phase": stretch.name, "averaged": False}
            row = rows.diverged(position, about | rows.attempt(session))
            session.report(row, None)
            return row
        seconds = time.monotonic() - started
        trained = (learner.batches - already) * stretch.experiment.train.batch
        speed: Row = {
            "seconds": seconds,
            "data_wait_share": waited / seconds,
            "utterances_per_second": trained / seconds,
        }
        if stretch.averages(epoch):
            learner.average.add(learner.weights)
        if stretch.averaged(epoch):  # the last epoch's own weights are of no further use
            learner.average.take(learner.weights)
        result = _validate(experiment, session, learner, partial(on_step, epoch, learner.batches, learner.batches))
        speed["validation_seconds"] = time.monotonic() - started - seconds
        speed |= meter() | rows.attempt(session)
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
            average=learner.average,
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
    on_step: OnStep,
) -> float | None:
    """Train the rest of one epoch; the seconds spent waiting for data, or None when the loss is no longer finite."""
    settings, waited = learner.stretch.experiment.train, 0.0
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
        figures, read = _step(learner.stretch.experiment.train, session, learner, batch)
        if not math.isfinite(figures["loss"]):
            return None
        rows.add_step(learner, position, figures, unreadable=settings.batch - read)
        on_step(epoch, position.batch, learner.batches)
        every = settings.checkpoint_batches
        regular = every and position.batch % every == 0 and position.batch < learner.batches
        # One that is wanted is made after the last batch too: the validation that comes then may be long.
        if session.wants_checkpoint() or regular:
            row = {
                "epoch": epoch,
                "batch": position.batch,
                "best_checkpoint": position.best_checkpoint,
                "selection": 2.0,
            }
            session.report(row, rows.writer(experiment, learner, position, row, None))
    return waited


def _step(
    settings: Train, session: Session, learner: parts.Learner, batch: dict[str, torch.Tensor]
) -> tuple[dict[str, float], int]:
    """One optimiser step on one global batch: its figures, and how many of its rows could be read."""
    device, size = session.device, settings.batch
    shares = [len(batches.share(size, rank, session.world)) for rank in range(session.world)]
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    features = learner.frontend(batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=learner.bf16):
        embedding = learner.parallel_student(features)
    embedding = gather(embedding.float(), shares)
    known = {name: gather(batch[name], shares) for name in ("label", "teacher", "has_face", "signals", "readable")}
    readable = known["readable"].bool()
    if not readable.all():  # rows whose file broke take part in nothing
        embedding, known = embedding[readable], {name: tensor[readable] for name, tensor in known.items()}
    heads = learner.parallel_heads(embedding, known["label"], learner.class_margin)
    logits, persons = of_persons(heads.logits, known["label"], len(learner.speakers))
    terms: Terms = learner.objective(
        class_losses=heads.losses,
        embedding=embedding,
        projected=heads.projected,
        logits=logits,
        teacher=known["teacher"],
        has_face=known["has_face"].bool(),
        labels=persons,
        signals=known["signals"],
    )
    learner.optimiser.zero_grad(set_to_none=True)
    terms.loss.backward()
    agree(learner.objective.parameters(), session.world)
    if settings.gradient_clip is not None:
        torch.nn.utils.clip_grad_norm_(learner.parameters, settings.gradient_clip)
    learner.optimiser.step()
    right = (heads.logits.argmax(dim=1) == known["label"]).sum() / max(len(embedding), 1)
    figures = {**terms.figures(), "accuracy": right}
    # At once: each would wait for the GPU.
    values = torch.stack([figure.float() for figure in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True)), len(embedding)


def _set_schedules(experiment: Experiment, learner: parts.Learner, progress: float) -> None:
    """progress: in epochs of the whole run."""
    stretch = learner.stretch
    settings, classes, within = stretch.experiment.train, stretch.experiment.classification, progress - stretch.first
    # The step's middle: the very first step must not have a rate of 0.
    middle = within + 0.5 / learner.batches
    rate = schedule.learning_rate(
        middle,
        peak=settings.learning_rate,
        final=settings.final_learning_rate,
        warmup=settings.warmup_epochs,
        epochs=settings.epochs,
    )
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    learner.class_margin = schedule.ramp(
        within,
        start=classes.margin_start,
        full=classes.margin_full,
        value=classes.margin,
        shape=classes.margin_shape,
    )
    for one, written in zip(learner.objective.distillations, experiment.taught, strict=True):
        one.margin.value = schedule.margin(
            progress,
            schedule=written.margin.schedule,
            value=written.margin.value,
            epochs=written.margin.schedule_epochs or experiment.train.epochs,
        )


def _validate(
    experiment: Experiment, session: Session, learner: parts.Learner, advance: Callable[[], None]
) -> Validation:
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
        advance=advance,
    )


def _timed(source: Iterator[dict[str, torch.Tensor]]) -> Iterator[tuple[float, dict[str, torch.Tensor]]]:
    while True:
        started = time.monotonic()
        batch = next(source, None)
        if batch is None:
            return
        yield time.monotonic() - started, batch
