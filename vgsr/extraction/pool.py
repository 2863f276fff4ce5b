"""The pool: a work in, all of its parts done, by Ray Data on as many actors as asked for, or in this process.

Through Ray go the descriptors of parts and their summaries; what is worked on and what comes out of it lies in files.
"""

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vgsr import storage
from vgsr.corpora.scan import cores
from vgsr.data.manifest import Manifest
from vgsr.extraction import parts
from vgsr.extraction.actor import MISTAKE, Actor, Worker
from vgsr.extraction.parts import ExtractionError, Part, Summary, Work

PATIENCE = 6 * 3600  # s that Ray Data waits for a part before it calls the work stuck
AGAIN = "what is done is kept, the same command goes on"


def run(
    work: Work,
    manifest: Manifest,
    folder: str,
    *,
    actors: int = 0,
    gpu: bool = False,
    console: Console | None = None,
) -> list[Part]:
    """Do the parts of `work` on `manifest` that are not yet in `folder`; returns all of them.

    actors: processes of one core each (with `gpu`: of one GPU, and their share of the cores) on the cluster that
    `cluster.connect` finds or starts; 0: this process, with a thread a core. ExtractionError when actors die again and
    again, and where their parts cannot be seen from here.
    """
    rows = work.rows(manifest)
    wanted = parts.cut(work.key, rows)
    todo = parts.missing(folder, wanted)
    if not todo:
        return wanted
    have = len(rows) - sum(part.count for part in todo)
    with _progress(work, console) as bar:
        task = bar.add_task(work.title, total=len(rows), completed=have, lost=0, rate="")
        lost = done = 0
        if actors:
            summaries = _on_ray(work, manifest.place, folder, todo, actors, gpu, bar.console)
        else:
            here = Worker(work, manifest, folder, cores(), gpu)
            summaries = (here.part(part) for part in todo)
        with closing(summaries):  # an interrupt ends the actors at once
            for summary in summaries:
                done, lost = done + summary.count, lost + summary.lost
                rate = f"{done / (bar.tasks[task].elapsed or 1):.1f}/s"
                bar.update(task, completed=have + done, lost=lost, rate=rate)
    unseen = parts.missing(folder, wanted)
    if unseen:
        raise ExtractionError(
            f"{folder}: {len(unseen):,} parts were done on other machines and are not to be seen from here; OUT and "
            "MANIFEST have to lie on s3:// or in a folder that all nodes of the cluster share"
        )
    return wanted


def room(gpu: bool) -> int:
    """How many actors the cluster has a core (or a GPU) for, at least one."""
    import ray

    _connect()
    return max(1, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)))


def _on_ray(
    work: Work, manifest: str, folder: str, todo: Sequence[Part], actors: int, gpu: bool, console: Console
) -> Generator[Summary]:
    import ray
    import ray.data

    _connect()
    actors = min(actors, len(todo))
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1 and not storage.remote(folder):
        console.print(f"{len(nodes)} nodes work on this: {folder} has to be in a folder that all of them share")
    resource, have = ("GPU", ray.cluster_resources().get("GPU", 0)) if gpu else ("CPU", ray.cluster_resources()["CPU"])
    if have < actors:
        console.print(f"{actors} actors want a {resource} each, the cluster has {have:g}: the others wait for more")
    cpus = max(1, int(ray.cluster_resources()["CPU"] // actors)) if gpu else 1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = PATIENCE
    summaries = ray.data.from_items([asdict(part) for part in todo], override_num_blocks=len(todo)).map_batches(
        Actor,
        fn_constructor_args=(ray.put(work), _absolute(manifest), _absolute(folder), cpus, gpu),
        batch_size=None,
        num_cpus=cpus,
        num_gpus=1 if gpu else 0,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
    )
    try:
        for batch in summaries.iter_batches(batch_size=None, prefetch_batches=0):
            if batch[MISTAKE][0]:
                raise ExtractionError(f"{batch[MISTAKE][0]}; {AGAIN}")
            columns = (batch[column.name].tolist() for column in fields(Summary))
            yield from (Summary(*values) for values in zip(*columns, strict=True))
    except ray.exceptions.RayTaskError:
        raise  # no mistake that anybody had thought of: it keeps its traceback
    except ray.exceptions.RayError as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ExtractionError(f"the actors failed: {last}; {AGAIN}") from error


def _connect() -> None:
    from vgsr.training import cluster

    # Else Ray would say of every pool that its actors could not start again if their arguments were lost.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with _hushed():
        cluster.connect()


@contextmanager
def _hushed() -> Iterator[None]:
    """What is written to stderr by other than Python is dropped: Ray's core tells of its log level there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _absolute(place: str) -> str:
    """A place as it is called in another working folder."""
    return place if storage.remote(place) else str(Path(place).absolute())


def _progress(work: Work, console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn(f"{work.lost}: {{task.fields[lost]}}"),
        TimeRemainingColumn(),
        console=console,
    )
