"""Phases: a run that is killed anywhere around a boundary, or again and again, ends as an uninterrupted one."""

import itertools
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from vgsr import config
from vgsr.training import loop
from vgsr.training.session import LocalSession

from .runs import KEEPS, SHORT, TUNED, assert_same_run, latest, rows_of

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(Exception):
    """The end of a process: what is on disk stays (`test_loop` really kills one)."""


# Before the boundary, at it and after it; with a checkpoint after every batch the run goes on from within
# an epoch, and with a wanted one from behind the epoch's last batch, before its validation.
@pytest.mark.parametrize("within", [0, 1, "wanted"])
@pytest.mark.parametrize(("epoch", "batch"), [(1, 3), (2, 1), (2, 2), (3, 1)])
def test_a_run_killed_around_a_boundary_ends_as_an_uninterrupted_one(
    tiny_experiment, tmp_path, whole, epoch, batch, within
):
    wanted = within == "wanted"
    experiment = tiny_experiment({**SHORT, "train.checkpoint_batches": 0 if wanted else within})
    last = 0

    def kill(*place):
        nonlocal last
        last += place[:2] == (epoch, batch)
        # Checkpoints come after a batch's sign of life: the second at an epoch's last batch is the validation's.
        if last == (2 if wanted else 1) or (wanted and last and place[:2] != (epoch, batch)):
            raise Killed

    session = LocalSession(tmp_path / "killed")
    session.wants_checkpoint = lambda: wanted and bool(last)
    with pytest.raises(Killed):
        loop.train(experiment, session, kill)
    done = batch if wanted else batch - 1 if within else 0
    assert latest(tmp_path / "killed").name == f"{epoch:05d}-{done:06d}"
    resumed = rows_of(experiment, tmp_path / "killed")
    folder, rows = whole
    assert_same_run(tmp_path / "killed", folder)
    for name in ("epoch", "loss", "val_eer", "best_val_eer", "best_checkpoint", "first_step", "phase", "learning_rate"):
        assert resumed[-1][name] == rows[-1][name]


@pytest.fixture
def whole(tiny, tiny_experiment, tmp_path_factory):
    """An uninterrupted run of `SHORT`, made once."""
    if not WHOLE:
        torch.set_num_threads(1)
        folder = tmp_path_factory.mktemp("whole")
        WHOLE.append((folder, rows_of(tiny_experiment(SHORT), folder)))
    return WHOLE[0]


WHOLE: list = []


# Two phases, each phase with an average, and an objective that keeps something from batch to batch.
LONG = {
    **KEEPS,
    "train.epochs": 2,
    "train.average": 2,
    "classification.sub_centres": 2,
    "classification.top_k": 2,
    "classification.margin_full": 1.5,
    "phases": [{**TUNED, "average": 2, "top_k": 0}, {"name": "more", "epochs": 1, "average": 1, "batch": 8}],
}
FIGURES = ("epoch", "phase", "averaged", "loss", "val_eer", "best_val_eer", "best_checkpoint", "first_step", "steps")


@pytest.fixture(scope="module")
def long(tiny, tmp_path_factory):
    """The experiment `LONG` with other settings of its checkpoints, and an uninterrupted run of it: folder, rows."""
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "teacher": {"bank": str(tiny / "banks" / "synthetic.parquet")},
        "student": {"channels": 8, "embedding": 16},
        "train": {"batch": 8, "crop_seconds": 0.5},
    }
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("long")
    rows = rows_of(config.build(values, LONG), folder)
    return lambda within: config.build(values, {**LONG, "train.checkpoint_batches": within}), folder, rows


@settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a smaller example takes minutes
@given(st.lists(st.integers(1, 75), min_size=1, max_size=4), st.integers(0, 2), st.integers(1, 6))
@example([38, 1], 1, 6)  # in the first batch of the first phase, and at once again
def test_a_run_killed_again_and_again_ends_as_an_uninterrupted_one(long, kills, within, wanted):
    """Killed at its so-manieth sign of life since it started, in batches and validations, with a checkpoint wanted
    whenever it has been asked about so many times."""
    build, folder, rows = long
    experiment = build(within)
    with tempfile.TemporaryDirectory() as place:
        for left in kills:
            signs = itertools.count(1)

            def kill(*_, signs=signs, left=left):
                if next(signs) == left:
                    raise Killed

            session, asked = LocalSession(place), itertools.count(1)
            session.wants_checkpoint = lambda asked=asked: next(asked) % wanted == 0
            with suppress(Killed):
                loop.train(experiment, session, kill)
        resumed = [row for row in rows_of(experiment, Path(place)) if "val_eer" in row]
        assert_same_run(Path(place), folder)
        assert latest(Path(place)).name == latest(folder).name
    resumed = [*resumed[0].get("history", []), *resumed]
    assert len(resumed) == len(rows) == 5
    for ours, whole in zip(resumed, rows, strict=True):
        assert [ours[name] for name in FIGURES if name in ours] == [whole[name] for name in FIGURES if name in ours]


def _spawned(rank, world, experiment, folder, port):
    """A whole run and one that is killed in the second phase, whose folder is copied, and resumed."""
    import torch.distributed as dist

    def kill(*place):
        if place[:2] == (3, 1):
            raise Killed

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    loop.train(experiment, LocalSession(folder / "whole", rank=rank, world=world))
    with suppress(Killed):
        loop.train(experiment, LocalSession(folder / "killed", rank=rank, world=world), kill)
    dist.barrier()
    if rank == 0:
        shutil.copytree(folder / "killed", folder / "shrunk")
    dist.barrier()
    loop.train(experiment, LocalSession(folder / "killed", rank=rank, world=world))
    dist.destroy_process_group()


def test_several_workers_resume_exactly_and_fewer_go_on_with_the_same_batches(
    tiny_experiment, tmp_path, together, monkeypatch
):
    experiment = tiny_experiment({**SHORT, "train.checkpoint_batches": 1, "train.workers": 2})
    together(2, _spawned, 2, experiment, tmp_path)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert latest(tmp_path / "shrunk").name == "00003-000000"
    seen, taken = {}, loop._step

    def step(settings, session, learner, batch):
        rate = {group["lr"] for group in learner.optimiser.param_groups}
        seen.setdefault(len(runs), []).append((rate, learner.class_margin, batch["wave"]))
        return taken(settings, session, learner, batch)

    monkeypatch.setattr(loop, "_step", step)
    runs: list = []
    for name in ("alone", "shrunk"):
        runs.append(rows_of(experiment, tmp_path / name))
    for (rate, margin, wave), (other_rate, other_margin, other_wave) in zip(seen[0][-2:], seen[1], strict=True):
        assert rate == other_rate and margin == other_margin and torch.equal(wave, other_wave)
    assert [row["phase"] for row in runs[1] if row["batch"] == 0] == ["large-margin"] * 2
    assert [row["world"] for row in runs[1] if row["batch"] == 0] == [2, 1]


def test_a_finished_run_trains_no_more(tiny_experiment, tmp_path, whole):
    rows: list = []
    loop.train(tiny_experiment(SHORT), LocalSession(whole[0], rows.append))
    assert [row["epoch"] for row in rows] == [4]
