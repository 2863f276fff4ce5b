"""The main job as a user runs it: killed without notice, started again by the same command, finished, shown."""

import subprocess
from collections import Counter

import pytest

from vgsr import speaker, tracking
from vgsr.evaluation import score_files
from vgsr.evaluation.metrics import eer

from .drivers import environment, kill_when, margin_search

EPOCHS = 4


@pytest.fixture
def command(tiny_experiment, tmp_path):
    experiment = tmp_path / "tiny.yaml"
    experiment.write_text(tiny_experiment({"train.epochs": EPOCHS}).yaml())
    return margin_search(experiment, "trials=3", "grace=2")


@pytest.mark.timeout(900)
def test_a_killed_search_is_finished_by_the_same_command(command, tmp_path):
    env, log = environment(tmp_path / "home"), tmp_path / "first.log"
    kill_when(command, env, log, f"hard constraint: epoch 2/{EPOCHS}")
    second = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "going on with" in second.stdout

    tracker = tracking.connect(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    (parent,) = [
        run.info.run_id for run in tracker.client.search_runs([tracker.experiment_id], "tags.`vgsr.trial` = '-'")
    ]
    runs = tracking.trials(tracker, parent)
    assert len(runs) == 5 and len({run.tags["vgsr.trial"] for run in runs}) == 5
    assert tracking.state(tracker, parent) == "completed"
    references = {run.tags["vgsr.reference"]: run for run in runs if "vgsr.reference" in run.tags}
    assert set(references) == {"no teacher", "hard constraint"}
    assert all(run.state == "completed" for run in references.values())
    assert Counter(run.state for run in runs).keys() <= {"completed", "pruned"}
    for run in runs:
        epochs = [metric.step for metric in tracker.client.get_metric_history(run.run_id, "val_eer")]
        whole = list(range(1, EPOCHS + 1)) if run.state == "completed" else list(range(1, len(epochs) + 1))
        assert sorted(epochs) == whole, run.name
        losses = tracker.client.get_metric_history(run.run_id, "step_loss")
        assert len({metric.step for metric in losses}) == len(losses) == len(epochs) * 3
        assert run.params["distill.method"] in ("cosine", "none")
        assert "experiment.yaml" in [item.path for item in tracker.client.list_artifacts(run.run_id)]

    for run in references.values():  # every score of what was tested is kept
        scores = score_files.read(tracking.attached(tracker, run.run_id, "scores") / "synthetic_test.parquet")
        figure = eer(scores["score"].to_numpy(), scores["label"].to_numpy()).value
        assert run.figures["test_synthetic_test_eer"] == pytest.approx(figure, abs=1e-12)

    best = tracking.best(tracker)
    assert f"best checkpoint: {best.tags['vgsr.checkpoint']}" in second.stdout
    assert speaker.load(best.tags["vgsr.checkpoint"]).facts["row"]["val_eer"] == pytest.approx(best.best_val_eer)
    for text in ("no teacher", "hard constraint", "SYNTHETIC", "minDCF", "trials synthetic/test"):
        assert text in second.stdout

    third = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "is finished" in third.stdout and f"best checkpoint: {best.tags['vgsr.checkpoint']}" in third.stdout
    assert len(tracking.trials(tracker, parent)) == 5


def test_a_mistake_stops_the_search_before_anything_is_started(command, tmp_path):
    done = subprocess.run(
        [*command, "train.epoch=3"],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "did you mean 'epochs'" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "home").exists()
