"""Order: the same global batches for any number of workers, from any batch on."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from vgsr.data import batches
from vgsr.data.batches import Stream, WorkerBatches

sizes = {
    "utterances": st.integers(1, 70),
    "share": st.integers(1, 5),
    "world": st.integers(1, 4),
    "seed": st.integers(0, 99),
    "epoch": st.integers(0, 9),
}


@given(more=st.integers(0, 9), **{key: value for key, value in sizes.items() if key != "share"})
def test_workers_share_out_the_batches_of_one(utterances, more, world, seed, epoch):
    batch = world + more
    whole = list(WorkerBatches(utterances, batch, seed, epoch))
    parts = [list(WorkerBatches(utterances, batch, seed, epoch, rank, world)) for rank in range(world)]
    assert [list(chain.from_iterable(rows)) for rows in zip(*parts, strict=True)] == whole
    assert len(whole) == len(WorkerBatches(utterances, batch, seed, epoch))
    counts = {len(rows) for part in parts for rows in part}
    assert min(counts) >= 1 and max(counts) - min(counts) <= 1


def test_a_batch_smaller_than_the_workers_is_refused():
    with pytest.raises(ValueError, match=r"global batch of 2 .* 3 workers"):
        WorkerBatches(20, 2, seed=0, epoch=0, rank=0, world=3)


@given(**sizes)
def test_an_epoch_uses_no_utterance_twice_unless_it_must(utterances, share, world, seed, epoch):
    batch = share * world
    rows = [address[2] for one in WorkerBatches(utterances, batch, seed, epoch) for address in one]
    counts = np.bincount(rows, minlength=utterances)
    assert counts.max() <= max(1, -(-batch // utterances))
    assert len(rows) % batch == 0 and len(rows) > utterances - batch


@given(first=st.integers(0, 5), **sizes)
def test_a_resumed_epoch_has_the_batches_that_were_left(first, utterances, share, world, seed, epoch):
    whole = list(WorkerBatches(utterances, share, seed, epoch))
    assert list(WorkerBatches(utterances, share, seed, epoch, first_batch=min(first, len(whole)))) == whole[first:]


def test_epochs_and_seeds_differ():
    orders = {tuple(batches.epoch_order(50, 10, seed, epoch).ravel()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_streams_are_independent_of_each_other_and_of_what_was_drawn_before():
    draws = {
        batches.generator(1, epoch, position, stream).random()
        for epoch in (0, 1)
        for position in (0, 1)
        for stream in Stream
    }
    assert len(draws) == 2 * 2 * len(Stream)
    assert batches.generator(1, 2, 3, Stream.CROP).random() == batches.generator(1, 2, 3, Stream.CROP).random()


class Addresses(Dataset):
    def __getitem__(self, address):
        return address


def collate(addresses):
    return {"address": torch.tensor(addresses)}


def test_the_loader_keeps_the_order_and_leaves_torchs_generator_alone():
    order = WorkerBatches(20, 6, 3, 1)
    torch.manual_seed(0)
    want = torch.rand(1)
    torch.manual_seed(0)
    loaded = [batch["address"].tolist() for batch in batches.loader(Addresses(), order, collate, 0, pin=False)]
    assert torch.equal(torch.rand(1), want)
    assert loaded == [[list(address) for address in batch] for batch in order]
    processes = [batch["address"].tolist() for batch in batches.loader(Addresses(), order, collate, 2, pin=False)]
    assert processes == loaded
