"""The searches over methods and over everything, as a user runs them, on a corpus of a dozen people."""

import subprocess
import sys

import pytest

from vgsr import speaker, tracking
from vgsr.search import demo_noise
from vgsr.search.front import front

from ..environment import environment
from .drivers import REPOSITORY

METRICS = ("best_val_eer", "best_val_noisy_eer")


# The page with one reference of its own: what else is in it, the search over methods has.
FEWER = """
import sys
from dataclasses import replace
sys.path.insert(0, "sweeps")
from joint_search import PLAN, REFERENCES
from vgsr.search import main
main(replace(PLAN, references={"shuffled faces": REFERENCES["shuffled faces"]}))
"""


@pytest.fixture
def searched(tiny_experiment, tmp_path):
    """Runs a search; what it printed, the search's own run and its trials' runs."""

    def run(changes, *command):
        (tmp_path / "tiny.yaml").write_text(tiny_experiment({"train.epochs": 2, **changes}).yaml())
        command = [sys.executable, *command, f"experiment={tmp_path / 'tiny.yaml'}"]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment(tmp_path / "home"),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tracker = tracking.connect(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
        (parent,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vgsr.trial` = '-'")
        return done.stdout, parent, tracking.trials(tracker, parent.info.run_id)

    return run


def references(runs):
    return {run.tags["vgsr.reference"]: run for run in runs if "vgsr.reference" in run.tags}


@pytest.mark.timeout(600)
def test_a_search_over_methods(searched):
    text, parent, runs = searched({}, "sweeps/method_search.py", "trials=1", "top=0", "seeds=1")
    assert parent.data.tags["vgsr.state"] == "completed" and len(runs) == 4
    fixed = references(runs)
    assert set(fixed) == {"no teacher", "hard constraint", "shuffled faces"}
    shuffled = fixed["shuffled faces"]
    assert shuffled.name == "shuffled faces [control: shuffled]" and shuffled.tags["vgsr.control"] == "shuffled"
    assert all("test_synthetic_test_eer" in run.figures for run in fixed.values())
    assert fixed["no teacher"].params["distill.method"] == "none"
    (found,) = [run for run in runs if "vgsr.reference" not in run.tags]
    assert f"method={found.params['distill.method']}" in found.name
    best = min((run for run in runs if run is not shuffled), key=lambda run: run.best_val_eer)
    assert f"best checkpoint: {best.tags['vgsr.checkpoint']}" in text
    assert "shuffled faces [control: shuffled]" in text


@pytest.mark.timeout(600)
def test_a_search_over_everything_for_two_figures(searched, tmp_path):
    demo_noise.render(str(tmp_path / "noise"), seed=0)
    changes = {"evaluate.noise": str(tmp_path / "noise"), "evaluate.snr": [0.0, 10.0]}
    text, parent, runs = searched(changes, "-c", FEWER, "trials=2", "top=0", "seeds=1")
    assert parent.data.tags["vgsr.state"] == "completed" and len(runs) == 3
    assert set(references(runs)) == {"shuffled faces"}
    for run in runs:
        last = run.figures
        assert last["val_noisy_eer"] == pytest.approx((last["val_eer_0dB"] + last["val_eer_10dB"]) / 2)
        assert METRICS[1] in last
    on_front = front(runs, METRICS)
    assert all(("test_synthetic_test_eer" in run.figures) for run in [*on_front, *references(runs).values()])
    best = min(on_front, key=lambda run: run.best_val_eer)
    assert f"best checkpoint: {best.tags['vgsr.checkpoint']}; of the front, the lowest clean EER" in text
    assert text.count("●") == len(on_front) + 1  # and once where it is explained
    facts = speaker.load(best.tags["vgsr.checkpoint"]).facts["row"]
    assert facts["val_eer"] == pytest.approx(best.best_val_eer)
    assert facts["val_noisy_eer"] == pytest.approx(best.figures[METRICS[1]])
