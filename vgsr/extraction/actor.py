"""Who works on parts: a `Worker` in any process, an `Actor` that holds one in a process of the pool.

A file of its own, because every actor imports it: it needs nothing of the driver's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from vgsr import storage
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.extraction import parts
from vgsr.extraction.parts import ExtractionError, Part, Summary, Work

NOTHING = Summary(0, 0, 0, 0.0)
MISTAKE = "mistake"  # what a summary says, beside its numbers
RESTARTS = 50  # of one actor: an input that kills costs four, then it is known


class Worker:
    """What a work needs, loaded once."""

    def __init__(self, work: Work, manifest: Manifest, folder: str, threads: int, gpu: bool) -> None:
        self.work, self.folder = work, folder
        self.rows, self.function = work.rows(manifest), work.start(manifest, threads, gpu)

    def part(self, part: Part) -> Summary:
        """Work on one part."""
        return parts.do(part, self.work.key, self.rows, self.function, self.work.schema, self.folder)


class Actor:
    """One process of the pool; `work` is a reference to the work, `manifest` a place.

    An error of ours, here or later, goes into a summary as text: Ray would change it, and say more than people want.
    """

    def __init__(self, work: Any, manifest: str, folder: str, threads: int, gpu: bool) -> None:
        import ray

        self.worker: Worker | None = None
        self.mistake = ""
        with self._noted():
            _refuse_restarts(storage.join(folder, f"actor-{ray.get_runtime_context().get_actor_id()}.begun"))
            self.worker = Worker(ray.get(work), manifests.read(manifest), folder, threads, gpu)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The descriptor of a part as a batch of Ray Data to its summary as another."""
        summary = NOTHING
        if self.worker:
            with self._noted():
                summary = self.worker.part(Part(**{name: values.tolist()[0] for name, values in batch.items()}))
        return {name: np.array([value]) for name, value in {**asdict(summary), MISTAKE: self.mistake}.items()}

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not type(error).__module__.startswith("vgsr."):
                raise
            self.mistake = str(error)


def _refuse_restarts(place: str) -> None:
    """Count the starts of an actor at a place: Ray's own bound on them goes away with its next versions."""
    starts = len(storage.read_bytes(place)) if storage.stat(place) else 0
    if starts > RESTARTS:
        raise ExtractionError(f"an actor has died {RESTARTS} times")
    storage.put_bytes(b"." * (starts + 1), place)
