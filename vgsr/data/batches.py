"""Order: which utterances make which global batch, and what each crop is.

In: a seed, an epoch, a batch number. Out: the same global batch for any number of workers, each taking its rows of it.
Nothing here has a state: whatever is random is a function of (seed, epoch, position), so a run that was killed goes on
with the batch it would have had, and two runs that differ only in their loss see the same crops and the same noise.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

Address = tuple[int, int, int]  # epoch, position in the epoch, utterance row


class Stream(IntEnum):
    """Independent random streams of one position: switching one part off leaves the others as they were."""

    ORDER = 0
    CROP = 1
    AUGMENT = 2
    FACE = 3
    MORE = 4  # of augmentation: what came after its first version


def generator(seed: int, epoch: int, position: int, stream: Stream) -> np.random.Generator:
    """The random numbers of one position of one epoch (Philox, counter-based by its key)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, position, int(stream)])))


def batches_per_epoch(utterances: int, batch: int) -> int:
    """Whole batches in an epoch: the rest of the shuffled order waits for another epoch; at least one."""
    return max(1, utterances // batch)


def epoch_order(utterances: int, batch: int, seed: int, epoch: int) -> np.ndarray:
    """Rows `[batches, batch]` of one epoch: a fresh permutation, repeated where the corpus is smaller than a batch."""
    rng = generator(seed, epoch, 0, Stream.ORDER)
    count = batches_per_epoch(utterances, batch)
    order = rng.permutation(utterances)
    return np.resize(order, count * batch).reshape(count, batch)


def share(batch: int, rank: int, world: int) -> range:
    """The columns of a global batch that are a worker's: those of all workers, in rank order, are all of them, each
    once, and no two workers' numbers differ by more than one (our definition)."""
    return range(batch * rank // world, batch * (rank + 1) // world)


@dataclass(frozen=True)
class WorkerBatches:
    """Batch sampler of one worker in one epoch: its rows of every global batch from `first_batch` on."""

    utterances: int
    batch: int
    seed: int
    epoch: int
    rank: int = 0
    world: int = 1
    first_batch: int = 0

    def __post_init__(self) -> None:
        if self.batch < self.world:
            raise ValueError(f"a global batch of {self.batch} cannot be shared out among {self.world} workers")

    def __len__(self) -> int:
        return batches_per_epoch(self.utterances, self.batch) - self.first_batch

    def __iter__(self) -> Iterator[list[Address]]:
        order = epoch_order(self.utterances, self.batch, self.seed, self.epoch)
        columns = share(self.batch, self.rank, self.world)
        for number in range(self.first_batch, len(order)):
            yield [(self.epoch, number * self.batch + column, int(order[number, column])) for column in columns]


def loader(
    dataset: Dataset,
    batches: WorkerBatches,
    collate: Callable[[list], dict[str, torch.Tensor]],
    processes: int,
    pin: bool,
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches in order, read ahead by `processes`, or by one thread when 0.

    The server that processes are forked from loads the dataset's module, and with it torch, once for all of them and
    all epochs.
    """
    if processes:
        multiprocessing.set_forkserver_preload([type(dataset).__module__])
    source: DataLoader = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=processes,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(0),  # or the loader would take a number from the global one
        multiprocessing_context="forkserver" if processes else None,
    )
    return iter(source) if processes else _read_ahead(source)


def _read_ahead(source: DataLoader) -> Iterator[dict[str, torch.Tensor]]:
    batches = iter(source)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        ahead = thread.submit(next, batches, None)
        while (batch := ahead.result()) is not None:
            ahead = thread.submit(next, batches, None)
            yield batch
