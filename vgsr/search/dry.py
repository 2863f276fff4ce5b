"""What a search would be: shown, checked, estimated, and nothing started.

In: a search and what its experiment points at. Out: tables on a console, and whether the search could start now.
Nothing stays behind, on the disk, in MLflow or in Ray.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from vgsr import config, tracking
from vgsr.config import Experiment
from vgsr.data import manifest as manifests
from vgsr.search import calibrate, estimate, prices, probe, tuning
from vgsr.search.calibrate import Speed
from vgsr.search.plan import TRIAL, Search
from vgsr.search.prices import Prices
from vgsr.storage import StorageError
from vgsr.tracking import Tracker, TrackingError
from vgsr.training import phases
from vgsr.training.check import Findings

FLAG = "--dry-run"
SHOWN = 5  # configurations

Rows = Iterator[tuple[str, str]]


@dataclass
class _Found:
    """What the checks have found so far."""

    mistakes: list[str] = field(default_factory=list)
    tracker: Tracker | None = None
    cluster: probe.Cluster | None = None
    listed: Prices | None = None


def show(search: Search, found: Findings, console: Console) -> bool:
    """Print the plan of a search and what is reachable; whether the search could start now."""
    so_far = _Found()
    for line in found.lines:
        console.print(line, soft_wrap=True)
    _table(console, "search", _search(search, found))
    _table(console, "reached", _reached(search, so_far))
    _table(console, "trials", _trials(search, so_far))
    _estimate(search, found, so_far, console)
    _configurations(search, console)
    for mistake in so_far.mistakes:
        console.print(mistake, style="red", soft_wrap=True)
    end = "cannot start: see above" if so_far.mistakes else "can start; nothing was started, and this left no trace"
    console.print(f"{search.search_id} {end}", soft_wrap=True)
    return not so_far.mistakes


def _search(search: Search, found: Findings) -> Rows:
    experiment = search.experiment
    yield "search", search.search_id
    yield "experiment", f"{experiment.name} {experiment.digest}"
    yield "data", f"{found.data_digest[:12]}{', SYNTHETIC' if found.synthetic else ''}"
    yield "metrics", ", ".join(search.plan.metrics)


def _reached(search: Search, so_far: _Found) -> Rows:
    def attempt(name: str, step: Callable[[], str]) -> tuple[str, str]:
        try:
            return name, step()
        except (StorageError, TrackingError, config.ConfigError, probe.ClusterError) as error:
            so_far.mistakes.append(f"{name}: {error}")
            return name, "NOT reached, see below"

    def runs() -> str:
        reached = tracking.reach()
        so_far.tracker = reached.tracker
        return reached.line

    def ray() -> str:
        so_far.cluster = probe.cluster()
        return so_far.cluster.line

    def price_list() -> str:
        place = search.settings.prices or prices.default()
        if place is None:
            return "none here, so no money is named; prices=FILE gives one"
        so_far.listed = prices.read(place)
        return f"{place}, of {so_far.listed.as_of} ({so_far.listed.source})"

    yield attempt("storage", lambda: probe.storage_line(search.storage))
    yield attempt("MLflow", runs)
    yield attempt("Ray", ray)
    yield attempt("prices", price_list)
    if so_far.tracker:
        yield attempt("so far", lambda: _done(search, so_far.tracker))


def _done(search: Search, tracker: Tracker | None) -> str:
    parent = tracking.search_run(tracker, search.search_id) if tracker else None
    if tracker is None or parent is None:
        return "a new search"
    if tracking.state(tracker, parent) == tracking.COMPLETED:
        return "finished; the command would show its table"
    runs = tracking.trials(tracker, parent)
    over = sum(run.state != tracking.RUNNING for run in runs)
    size = sum(stage.count for stage in estimate.stages(search))
    return f"begun: {over} of {size} trials are over; the command would go on with it"


def _trials(search: Search, so_far: _Found) -> Rows:
    train, settings = search.experiment.train, search.settings
    for stage in estimate.stages(search):
        pruned = " before pruning" if stage.expected < stage.most else ""
        yield f"stage {stage.stage}", f"{stage.count} trials of {search.experiment.epochs} epochs{pruned}"
    if search.first.searched:
        yield "pruning", f"from epoch {settings.grace} on, one of {settings.reduction} goes on at each rung"
    each = f"{train.cpus_per_worker:g} CPU{'s' * (train.cpus_per_worker != 1)}" + (" and a GPU" if train.gpu else "")
    yield "a trial takes", f"{train.workers} worker{'s' * (train.workers > 1)} with {each}, and a driver"
    cluster = so_far.cluster
    if cluster is not None:
        now, most = (cluster.capacity.fitting(search.experiment, most=most) for most in (False, True))
        yield "at once", f"{now} now" + (f", {most} when the cluster has grown" if most != now else "")
        if not most:
            so_far.mistakes.append(
                "Ray: no trial fits on this cluster, now or when it has grown; make train.workers or "
                "train.cpus_per_worker smaller, or add nodes"
                + (" with GPUs, or set train.gpu=false" if train.gpu else "")
            )


def _estimate(search: Search, found: Findings, so_far: _Found, console: Console) -> None:
    experiment, speed = search.experiment, None
    elsewhere = experiment.train.gpu and calibrate.device(experiment) == "cpu"
    if elsewhere and so_far.tracker is not None:
        utterances = len(manifests.read(experiment.corpus.manifest).split("train", ["utterance_id"]))
        runs = tracking.completed_runs(so_far.tracker)
        speed = calibrate.remembered(experiment, runs, utterances, found.manifest_digest)
    told = speed is not None or not elsewhere
    if speed is None:
        with console.status("measuring some steps"):
            speed = calibrate.measure(experiment)
    _table(console, "speed of a worker", _speed(experiment, speed))
    if not told:
        console.print(
            "Trials want a GPU; there is none here, and MLflow knows no completed run of this shape. The hours of the "
            "search cannot be told: what was measured is this machine's CPU.",
            soft_wrap=True,
        )
        return
    _hours(search, speed, so_far, console)
    if so_far.listed is not None:
        _money(search, speed, so_far.listed, so_far.cluster, console)


def _speed(experiment: Experiment, speed: Speed) -> Rows:
    yield "known from", speed.source
    yield "a step", f"{1000 * speed.step_seconds:.1f} ms, {speed.steps} an epoch"
    yield "validation", f"{speed.validation_seconds:.1f} s an epoch"
    yield "an epoch", f"{speed.epoch_seconds:.1f} s"
    each = estimate.epoch_seconds(experiment, speed)
    for one in phases.stretches(experiment)[1:]:
        crop = one.experiment.train.crop_seconds
        yield f"one of {one.name}", f"{each[one.first]:.1f} s, as its crops are {crop:g} s long"
    if speed.peak_memory_mb:
        yield "memory", f"{speed.peak_memory_mb:.0f} MiB at most, this command's own included"
    if speed.peak_gpu_memory_mb:
        yield "GPU memory", f"{speed.peak_gpu_memory_mb:.0f} MiB at most"


def _hours(search: Search, speed: Speed, so_far: _Found, console: Console) -> None:
    at_once = None
    if so_far.cluster is not None:
        at_once = search.settings.concurrent or so_far.cluster.capacity.trials(search.experiment)
    table = Table("", "epochs", "GPU-hours", "CPU-hours", "hours by the clock", title="estimate")
    for name, most in (("expected, where pruning goes by chance", False), ("at most, without pruning", True)):
        one = estimate.hours(search, speed, at_once, most=most)
        clock = "" if one.wall is None else f"{one.wall:.2f}, {at_once} trials at once"
        table.add_row(name, f"{one.epochs:.0f}", f"{one.gpu:.2f}", f"{one.cpu:.2f}", clock)
    console.print(table)
    console.print("Starting trials and nodes comes on top, and so does what is lost to faults.", soft_wrap=True)


def _money(search: Search, speed: Speed, listed: Prices, cluster: probe.Cluster | None, console: Console) -> None:
    machines = cluster.capacity.machines() if cluster is not None and cluster.running else None
    found = estimate.price_list(search, speed, listed, machines)
    if not found:
        console.print(
            f"Money cannot be told: no node of the cluster has a label {prices.MACHINE} that the price list knows.",
            soft_wrap=True,
        )
        return
    table = Table("machine", "market", "a worker's hour", "expected", "at most", title="money")
    for one in found:
        money = (f"{value:.3g} {listed.currency}" for value in (one.hour, one.expected, one.most))
        table.add_row(one.machine, one.market, *money)
    console.print(table)
    console.print("For the workers alone, were each machine as fast as what the speed is known from.", soft_wrap=True)


def _configurations(search: Search, console: Console) -> None:
    searcher = tuning.searcher(search, search.first)
    table = Table("trial", "configuration", title=f"first of {search.first.size} configurations")
    for number in range(min(SHOWN, search.first.size)):
        chosen = searcher.suggest(f"dry-{number}")
        if chosen is not None:
            table.add_row(str(chosen[TRIAL]), search.title(chosen))
    console.print(table)
    if search.first.searched:
        console.print(
            "The first ones are drawn at random with the experiment's seed; later ones depend on how these go.",
            soft_wrap=True,
        )


def _table(console: Console, title: str, rows: Rows) -> None:
    table = Table("", "", title=title, show_header=False)
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)
