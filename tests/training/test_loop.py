"""The loop: resumes bit for bit, sees the same global batches on any number of workers, and says when it breaks."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from vgsr.training import local, loop, state
from vgsr.training.rows import Diverged, best_checkpoint
from vgsr.training.session import LocalSession

from .runs import KEEPS, assert_same_run, latest, rows_of

pytestmark = pytest.mark.usefixtures("one_thread")


def test_training_learns_and_reports(tiny_experiment, tmp_path):
    rows = rows_of(tiny_experiment({"train.epochs": 6, "train.learning_rate": 3e-3}), tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["classification"] < rows[0]["classification"]
    assert rows[-1]["discrepancy"] < rows[0]["discrepancy"]
    last = rows[-1]
    assert last["best_val_eer"] == min(row["val_eer"] for row in rows)
    assert len(last["steps"]["active"]) == len(last["steps"]["loss"]) == 24 // 8
    assert last["loss"] == pytest.approx(np.mean(last["steps"]["loss"]))
    json.dumps(rows)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == sorted({last["best_checkpoint"], "00006-000000"})


def _killed(experiment, folder, epoch, batch):
    """A run in a process that kills itself, without any chance to clean up, at a given step."""

    def on_step(*place):
        if place[:2] == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    loop.train(experiment, LocalSession(folder), on_step)


@pytest.mark.parametrize(("epoch", "batch", "within", "more"), [(1, 2, 0, {}), (2, 3, 2, {}), (2, 3, 2, KEEPS)])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_experiment, tmp_path, alone, epoch, batch, within, more
):
    experiment = tiny_experiment({"train.epochs": 3, "train.checkpoint_batches": within, **more})
    assert alone(_killed, experiment, tmp_path / "killed", epoch, batch) == -signal.SIGKILL
    assert state.header(latest(tmp_path / "killed"))["epoch"] == epoch
    assert state.header(latest(tmp_path / "killed"))["batch"] == (within if within else 0)
    resumed = rows_of(experiment, tmp_path / "killed")
    whole = rows_of(experiment, tmp_path / "whole")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    # The last finished epoch is reported again, with those before it, in case its first report was lost.
    assert [row["epoch"] for row in resumed if "val_eer" in row] == list(range(epoch, 4))
    assert [row["epoch"] for row in resumed[0]["history"]] == list(range(1, epoch))
    for name in ("loss", "val_eer", "active_vid" if more else "active", "best_val_eer"):
        assert resumed[-1][name] == whole[-1][name]


class Noticed(LocalSession):
    """Wants a checkpoint after so many batches."""

    after, asked = 0, 0

    def wants_checkpoint(self):
        self.asked += 1
        return self.asked == self.after


def _noticed(experiment, folder, after):
    """A run that is killed at the next sign of life behind a wanted checkpoint: in the next batch, or in validation."""
    session = Noticed(folder)
    session.after = after

    def on_step(*_):
        if session.asked == after:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    loop.train(experiment, session, on_step)


@pytest.mark.parametrize(("after", "name"), [(5, "00001-000002"), (6, "00001-000003")])
def test_a_checkpoint_that_is_wanted_stands_where_it_was_asked_for(tiny_experiment, tmp_path, alone, after, name):
    experiment = tiny_experiment({"train.epochs": 3, "classification.margin_full": 2.5})
    assert alone(_noticed, experiment, tmp_path / "killed", after) == -signal.SIGKILL
    assert latest(tmp_path / "killed").name == name
    resumed, whole = rows_of(experiment, tmp_path / "killed"), rows_of(experiment, tmp_path / "whole")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    timed = {"attempt", "attempt_seconds", "cpu_seconds", "peak_memory_mb", "data_wait_share", "history"}
    for ours, theirs in zip(resumed[1:], whole[1:], strict=True):
        figures = [key for key in theirs if "second" not in key and key not in timed]
        assert [ours[key] for key in figures] == [theirs[key] for key in figures]


def test_a_row_tells_what_it_took_and_stays_as_it_was(tiny_experiment, tmp_path):
    shorter = tiny_experiment({"train.epochs": 2})
    first = rows_of(shorter, tmp_path)
    assert len({row["attempt"] for row in first}) == 1 and len(first[0]["attempt"]) == 8
    assert first[0]["attempt_seconds"] < first[1]["attempt_seconds"]
    assert all(row["cpu_seconds"] > 0 and row["peak_memory_mb"] > 50 and row["world"] == 1 for row in first)
    assert "peak_gpu_memory_mb" not in first[0]
    (again,) = rows_of(shorter, tmp_path)
    assert {key: value for key, value in again.items() if key != "history"} == first[1]


def test_validation_gives_signs_of_life(tiny_experiment, tmp_path):
    steps = []
    loop.train(tiny_experiment({"train.epochs": 1}), LocalSession(tmp_path), lambda *place: steps.append(place))
    assert steps[:3] == [(0, 1, 3), (0, 2, 3), (0, 3, 3)]
    assert len(steps) > 6 and set(steps[3:]) == {(0, 3, 3)}


def test_a_finished_run_trains_no_more(tiny_experiment, tmp_path):
    experiment = tiny_experiment()
    rows_of(experiment, tmp_path)
    before = (latest(tmp_path) / "student.safetensors").stat().st_mtime_ns
    assert [row["epoch"] for row in rows_of(experiment, tmp_path)] == [2]
    assert (latest(tmp_path) / "student.safetensors").stat().st_mtime_ns == before


def test_a_checkpoint_of_another_experiment_or_corpus_is_refused(tiny_experiment, tmp_path):
    rows_of(tiny_experiment(), tmp_path)
    with pytest.raises(state.CheckpointError, match="another experiment"):
        rows_of(tiny_experiment({"seed": 1}), tmp_path)
    file = latest(tmp_path) / "checkpoint.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data_digest": "0" * 64}))
    with pytest.raises(state.CheckpointError, match="have changed since"):
        rows_of(tiny_experiment(), tmp_path)


def _worker(rank, world, experiment, folder, port):
    import torch.distributed as dist

    torch.set_num_threads(1)
    seen = []
    original = loop._step

    def watched(experiment, session, learner, batch):
        seen.append(batch["wave"].clone())
        return original(experiment, session, learner, batch)

    loop._step = watched
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    rows = []
    loop.train(experiment, LocalSession(folder, rows.append, rank=rank, world=world))
    torch.save(seen, Path(folder) / f"seen-{rank}.pt")
    if rank == 0:
        (Path(folder) / "rows.json").write_text(json.dumps(rows))
    dist.destroy_process_group()


@pytest.mark.parametrize(("method", "world"), [("cosine", 2), ("vid", 3)])
def test_several_workers_see_the_global_batches_of_one(tiny_experiment, tmp_path, method, world, together):
    """The same crops in the same order, weighed over the whole batch. Losses differ: normalisation layers see a part of
    it each (that the gathered loss has exact gradients is tested in test_ddp_truth)."""
    experiment = tiny_experiment({"train.epochs": 1, "distill.method": method, "train.workers": world})
    for workers in (1, world):
        folder = tmp_path / str(workers)
        folder.mkdir()
        together(workers, _worker, workers, experiment, str(folder))
    one = torch.load(tmp_path / "1" / "seen-0.pt", weights_only=True)
    several = [torch.load(tmp_path / str(world) / f"seen-{rank}.pt", weights_only=True) for rank in range(world)]
    assert len(one) == len(several[0]) == 3
    for whole, *parts in zip(one, *several, strict=True):
        assert torch.equal(whole, torch.cat(parts))
    alone, shared = (json.loads((tmp_path / str(n) / "rows.json").read_text())[0] for n in (1, world))
    assert alone["steps"]["weight_spread"] == pytest.approx(shared["steps"]["weight_spread"], rel=1e-5)
    assert (alone["world"], shared["world"]) == (1, world)


def test_a_file_that_breaks_is_left_out_and_told(tiny_experiment, tiny, tmp_path, caplog):
    import shutil

    from vgsr.data import manifest

    copy = tmp_path / "corpus"
    shutil.copytree(tiny, copy)
    read = manifest.read(copy)
    for uri in read.split("train")["uri"].to_pylist()[:3]:
        Path(read.file(uri)).write_bytes(b"not audio any more")
    rows = rows_of(tiny_experiment({"corpus.manifest": str(copy), "train.epochs": 1}), tmp_path / "run")
    assert rows[0]["unreadable"] == 3 and np.isfinite(rows[0]["loss"])
    assert sum("left out of training" in message for message in caplog.messages) == 3


def test_noise_and_reverberation_are_part_of_training(tiny_experiment, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("noise", "rirs"):
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "noise" / "a.wav", rng.standard_normal(40000) * 0.1, 16000)
    soundfile.write(tmp_path / "rirs" / "a.wav", np.exp(-np.arange(4000) / 500) * rng.standard_normal(4000), 16000)
    changes = {"augment.noise": str(tmp_path / "noise"), "augment.rirs": str(tmp_path / "rirs"), "train.epochs": 1}
    noisy, clean = (
        rows_of(tiny_experiment(changes), tmp_path / "n"),
        rows_of(tiny_experiment({"train.epochs": 1}), tmp_path / "c"),
    )
    assert noisy[0]["loss"] != clean[0]["loss"]


def test_a_loss_that_is_not_finite_ends_the_run_with_the_worst_figure(tiny_experiment, tmp_path):
    rows = rows_of(tiny_experiment({"train.learning_rate": 1e30, "train.warmup_epochs": 0}), tmp_path)
    assert rows[-1]["diverged"] and rows[-1]["val_eer"] == 1.0
    json.dumps(rows, allow_nan=False)
    with pytest.raises(Diverged, match="learning_rate"):
        best_checkpoint(rows[-1])


def test_switching_the_teacher_off_changes_no_crop(tiny_experiment, tmp_path, monkeypatch):
    seen = []
    original = loop._step

    def watched(experiment, session, learner, batch):
        seen.append((batch["wave"], batch["masks"]))
        return original(experiment, session, learner, batch)

    monkeypatch.setattr(loop, "_step", watched)
    for method in ("none", "infonce"):
        rows_of(tiny_experiment({"distill.method": method, "train.epochs": 1}), tmp_path / method)
    for one, other in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize(("margin", "warned"), [(3.0, True), (0.1, False)])
def test_a_margin_that_switches_distillation_off_is_told(tiny_experiment, tmp_path, caplog, margin, warned):
    changes = {"distill.margin.unit": "absolute", "distill.margin.value": margin, "train.epochs": 1}
    (row,) = rows_of(tiny_experiment(changes), tmp_path)
    assert (row["active"] == 0 and row["distillation"] == 0) is warned
    assert any("switched off" in message for message in caplog.messages) is warned


def test_a_margin_follows_its_schedule(tiny_experiment, tmp_path):
    changes = {
        "distill.margin.unit": "absolute",
        "distill.margin.value": 0.6,
        "distill.margin.schedule": "warmup",
        "distill.margin.schedule_epochs": 1.5,
        "train.epochs": 3,
    }
    rows = rows_of(tiny_experiment(changes), tmp_path)
    mu = [value for row in rows for value in row["steps"]["mu"]]
    assert mu == pytest.approx([0.6 * min(step / 3 / 1.5, 1.0) for step in range(9)])


def test_several_methods_are_logged_each(tiny_experiment, tmp_path):
    (row,) = rows_of(tiny_experiment({**KEEPS, "train.epochs": 1}), tmp_path)
    assert {"active_vid", "mu_vid", "discrepancy_crd", "distillation"} <= row["steps"].keys()
    assert row["loss"] == pytest.approx(row["classification"] + row["distillation"])
    assert 0 < row["active_vid"] < 1 and row["weight_spread"] > 0


@pytest.mark.parametrize(("changes", "said"), [({"distill": {"method": "none"}}, 0), ({}, 1), (KEEPS, 2)])
def test_a_persons_line_of_an_epoch_names_the_active_share_of_each_method(tiny_experiment, tmp_path, changes, said):
    with (tmp_path / "said.txt").open("w") as file:
        local.train(
            tiny_experiment({**changes, "train.epochs": 1}), tmp_path / "run", "cpu", Console(file=file, width=300)
        )
    (line,) = [line for line in (tmp_path / "said.txt").read_text().splitlines() if "validation EER" in line]
    assert line.partition("accuracy")[0].count("%") == said and ("distil" in line) == bool(said)
