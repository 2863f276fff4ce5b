"""`vgsr robustness`: models side by side on the same disturbed trials, tracked ones by their arms and seeds."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from typer.testing import CliRunner

from vgsr import cli, config, tracking
from vgsr.data import manifest
from vgsr.evaluation import condition_file, disturbances, matrix, robustness
from vgsr.evaluation.conditions import CLEAN, Condition
from vgsr.speaker import load
from vgsr.training import loop
from vgsr.training.session import LocalSession

from ..written import close_run, open_run


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Noise and music, no speech: ten conditions and clean."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for name in ("noise/hum.wav", "noise/fan.wav", "music/song.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, 0.1 * rng.standard_normal(16_000 * 4), 16_000, "FLOAT")
    return folder


@pytest.fixture(scope="module")
def checkpoints(tiny, tmp_path_factory):
    """Two seeds of one experiment; seed → the folder of its best checkpoint."""
    found = {}
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("runs") / f"tiny{seed}"
        values = {
            "name": "tiny",
            "seed": seed,
            "corpus": {"manifest": str(tiny)},
            "student": {"channels": 8, "embedding": 16},
            "train": {"epochs": 1, "batch": 8, "crop_seconds": 0.5},
        }
        last = loop.train(config.build(values), LocalSession(folder))
        found[seed] = folder / "checkpoints" / last["best_checkpoint"]
    return found


@pytest.fixture
def run(monkeypatch, tmp_path):
    """What `vgsr robustness …` prints; with `fails`, its message."""
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(cli.console, "width", 250)

    def call(*arguments, status=0):
        done = CliRunner().invoke(cli.app, ["robustness", *map(str, arguments)])
        if not isinstance(done.exception, SystemExit | None):
            if not status:
                raise done.exception
            return str(done.exception)
        assert done.exit_code == status, done.output
        return done.output

    return call


def cells(said, first):
    """The cells of the one row that begins so."""
    (line,) = [line for line in said.splitlines() if line.startswith("│") and line.split("│")[1].strip() == first]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_models_side_by_side_with_files_for_people(run, checkpoints, tiny, noise, tmp_path):
    arguments = (f"first={checkpoints[0]}", checkpoints[1], tiny, "--noise", noise, "--out", tmp_path / "out")
    said = run(*arguments)
    assert "babble: no recordings under" in said and "reverberation: no folder" in said
    assert "mean of 11 (clean, noise 0–20 dB, music 0–20 dB)" in said
    corpus = manifest.read(tiny)
    found = disturbances.find(noise, None)
    drawn = condition_file.prepare(corpus, ["test"], found, file=None, folder=tmp_path / "home" / "conditions")
    one = robustness.evaluate(load(checkpoints[0]), corpus, drawn, ["test"], tmp_path / "own")["test"]
    assert cells(said, "music 5 dB")[0] == f"{100 * one.eer[Condition('music', 5.0)]:.2f}"
    assert f"digest {drawn.digest}" in said and f"{one.targets:,} target" in said
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"matrix.parquet", "matrix.md", "eer_vs_snr.png", "eer_vs_snr.pdf"}
    table = pq.read_table(tmp_path / "out" / "matrix.parquet")
    rows = [row for row in table.to_pylist() if row["system"] == "first"]
    assert {(row["condition"], row["eer"]) for row in rows} == {(c.name, eer) for c, eer in one.eer.items()}
    assert {row["system"] for row in table.to_pylist()} == {"first", "tiny1"}
    assert all(f"conditions {drawn.digest[:12]}" in row["protocol"] for row in rows)
    page = (tmp_path / "out" / "matrix.md").read_text()
    assert "| condition | first | tiny1 |" in page and f"| clean | {100 * one.eer[CLEAN]:.2f} |" in page
    again = run(*arguments)
    assert "embeddings were kept from before" in again
    assert cells(again, "noise 0 dB") == cells(said, "noise 0 dB")


def test_an_arm_is_the_mean_of_its_seeds_and_every_run_gets_its_table(run, checkpoints, tiny, noise, tmp_path):
    run(tmp_path, tiny, "--noise", noise, status=1)  # a folder without a checkpoint; VGSR_HOME is set from here on
    tracker = tracking.connect()
    runs = []
    for seed, checkpoint in checkpoints.items():
        tags = {"vgsr.checkpoint": str(checkpoint), "vgsr.reference": "no teacher", "vgsr.data": "d"}
        name = f"no teacher, seed {seed}"
        experiment = config.load(checkpoint / "experiment.yaml")
        runs.append(open_run(tracker, search="s", trial=str(seed), name=name, tags=tags, experiment=experiment))
        close_run(tracker, runs[-1], tracking.COMPLETED)
    said = run("s/no teacher", f"alone={checkpoints[0]}", tiny, "--noise", noise)
    assert "2 seeds" in said and "1 seed" in said
    eers = []
    for run_id in runs:
        folder = tracking.attached(tracker, run_id, "robustness")
        (file,) = folder.iterdir()
        assert file.name == "synthetic_test.parquet"
        eers.append(matrix.of_table(pq.read_table(file)))
        assert b"both sides disturbed" in pq.read_schema(file).metadata[b"protocol"]
    for condition in eers[0]:
        values = [100 * eer[condition] for eer in eers]
        both, alone = cells(said, condition.name)
        assert both == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        assert alone in [f"{value:.2f}" for value in values]
    assert cells(run("mine=s", tiny, "--noise", noise), "clean") == cells(said, "clean")[:1]  # a search of one arm


def test_recordings_that_a_model_was_trained_with_are_refused(run, checkpoints, tiny, noise, tmp_path):
    shutil.copytree(checkpoints[0], tmp_path / "checkpoint")
    page = tmp_path / "checkpoint" / "experiment.yaml"
    experiment = config.load(page, [f"augment.noise={noise / 'music'}"])
    page.write_text(experiment.yaml())
    said = run(f"m={tmp_path / 'checkpoint'}", tiny, "--noise", noise, status=1)
    assert "song.wav is also in its augment.noise" in said
    assert not (tmp_path / "home" / "robustness").exists()
    page.write_text(config.load(page, [f"augment.noise={tmp_path / 'gone'}"]).yaml())
    said = run(f"m={tmp_path / 'checkpoint'}", tiny, "--noise", noise)
    assert "m: its augment.noise" in said and "cannot be read here" in said


def test_mistakes_are_said_before_anything_is_computed(run, checkpoints, tiny, noise, tmp_path):
    assert "tell them apart" in run(checkpoints[0], checkpoints[0], tiny, "--noise", noise, status=2)
    assert "laid out like MUSAN" in run(checkpoints[0], tiny, "--noise", noise / "music", status=1)
    assert "no such folder" in run(tmp_path / "nowhere", tiny, "--noise", noise, status=1)
    shutil.copytree(checkpoints[0], tmp_path / "checkpoint")
    tested = manifest.read(tiny).split("test")["speaker"][0].as_py()
    with (tmp_path / "checkpoint" / "speakers.txt").open("a") as speakers:
        speakers.write(f"{tested}\n")
    said = run(tmp_path / "checkpoint", tiny, "--noise", noise, status=1)
    assert "in this model's training set" in said and tested in said
    assert "no trial list 'tset'" in run(checkpoints[0], tiny, "--noise", noise, "--trials", "tset", status=1)
    assert not (tmp_path / "home").exists()


def test_stopped_it_says_that_it_goes_on(run, checkpoints, tiny, noise, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(robustness, "evaluate", stop)
    assert "the same command goes on" in run(checkpoints[0], tiny, "--noise", noise, status=130)
