"""The main job as a user runs it: killed without notice in each of its parts, gone on with by the same command."""

import subprocess

import pytest

from vgsr import speaker, tracking
from vgsr.evaluation import score_files
from vgsr.evaluation.metrics import eer
from vgsr.search.watch import STAGE

from ..environment import environment
from .drivers import kill_when, margin_search

EPOCHS, TRIALS, SEEDS, LIST = 2, 2, 2, "synthetic_test"
ARMS = {"top 1", "no teacher", "hard constraint", "shuffled faces"}


@pytest.fixture
def command(tiny_experiment, tmp_path):
    experiment = tmp_path / "tiny.yaml"
    experiment.write_text(tiny_experiment({"train.epochs": EPOCHS}).yaml())
    return margin_search(experiment, f"trials={TRIALS}", "top=1", f"seeds={SEEDS}")


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_search_that_is_killed_in_each_of_its_parts_comes_to_its_verdict(command, tmp_path):
    env = environment(tmp_path / "home")
    # While trials are searched, while they are confirmed, while they are tested.
    for said in (f": epoch 1/{EPOCHS}", f"no teacher, seed 1: epoch 1/{EPOCHS}", ": tested"):
        kill_when(command, env, tmp_path / "killed.log", said)
    last = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1000, check=False)
    assert last.returncode == 0, last.stdout + last.stderr

    tracker = tracking.connect(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    (parent,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vgsr.trial` = '-'")
    runs = tracking.trials(tracker, parent.info.run_id)
    assert parent.data.tags["vgsr.state"] == "completed"
    assert len({run.tags["vgsr.trial"] for run in runs}) == len(runs) == TRIALS + len(ARMS) * SEEDS
    searched = [run for run in runs if run.tags[STAGE] == "search"]
    confirmed = [run for run in runs if run.tags[STAGE] == "confirm"]
    assert {(run.arm, run.seed) for run in confirmed} == {(arm, seed) for arm in ARMS for seed in (1, 2)}
    assert {run.seed for run in searched} == {0} and {run.state for run in confirmed} == {"completed"}
    assert {run.state for run in searched} <= {"completed", "pruned"}
    for run in runs:  # every epoch and every step is logged once
        epochs = [metric.step for metric in tracker.client.get_metric_history(run.run_id, "val_eer")]
        whole = list(range(1, EPOCHS + 1)) if run.state == "completed" else list(range(1, len(epochs) + 1))
        assert sorted(epochs) == whole, run.name
        losses = tracker.client.get_metric_history(run.run_id, "step_loss")
        assert len({metric.step for metric in losses}) == len(losses) == len(epochs) * 3
        assert "experiment.yaml" in [item.path for item in tracker.client.list_artifacts(run.run_id)]
        assert run.figures["attempts"] >= 1
    for run in confirmed:  # every score is kept
        scores = score_files.read(tracking.attached(tracker, run.run_id, "scores") / f"{LIST}.parquet")
        figure = eer(scores["score"].to_numpy(), scores["label"].to_numpy()).value
        assert run.figures[f"test_{LIST}_eer"] == pytest.approx(figure, abs=1e-12)

    winner = min((run for run in searched if run.state == "completed"), key=lambda run: run.best_val_eer)
    top = [run for run in confirmed if run.arm == "top 1"]
    for run in top:
        assert {key: run.params[key] for key in winner.params if key != "seed"} == {
            key: value for key, value in winner.params.items() if key != "seed"
        }
    (version,) = tracker.client.search_model_versions(f"name = '{tracking.MODEL}'")
    best = min(top, key=lambda run: run.best_val_eer)
    reason = parent.data.tags[tracking.VERDICT]
    # Three speakers with target trials are too few for an interval, so this must not be the champion.
    assert version.run_id == best.run_id and version.description == version.tags["reason"] == reason
    assert reason.startswith("Not promoted: top 1") and "at least 5 are needed" in reason and "SYNTHETIC" in reason
    assert tracking.champion(tracker) is None
    checkpoint = f"best checkpoint: {best.tags['vgsr.checkpoint']}"
    assert speaker.load(best.tags["vgsr.checkpoint"]).facts["row"]["val_eer"] == pytest.approx(best.best_val_eer)
    for text in (*ARMS, "SYNTHETIC", "minDCF", "trials synthetic/test", winner.tags["vgsr.trial"], "spent", checkpoint):
        assert text in last.stdout
    assert reason.splitlines()[0] in last.stdout

    again = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert "is finished" in again.stdout and checkpoint in again.stdout and reason.splitlines()[0] in again.stdout
    assert len(tracking.trials(tracker, parent.info.run_id)) == len(runs)


def test_a_mistake_stops_the_search_before_anything_is_started(command, tmp_path):
    done = subprocess.run(
        [*command, "train.epoch=3"],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 2
    assert "did you mean 'epochs'" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "home").exists()
