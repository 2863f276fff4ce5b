"""`vgsr report`: a tracked search becomes a folder; what is misspelt is one message."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vgsr import cli, config, tracking

from ..written import close_run, open_run


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home with one small search in its MLflow: an arm with and one without a teacher."""
    place = tmp_path_factory.mktemp("home")
    tracker = tracking.connect(f"sqlite:///{place / 'mlflow.db'}")
    values = {
        "name": "mine",
        "corpus": {"manifest": "/home/somebody/mine"},
        "teacher": {"bank": "/home/somebody/bank.parquet"},
        "distill": {"method": "cosine"},
    }
    changes = {"": {}, "no teacher": {"distill": {"method": "none"}}, "MKD": {}}
    runs = {}
    for arm, own in changes.items():
        tags = {tracking.PARENT: runs[""], "vgsr.reference": arm} if arm else {}
        runs[arm] = open_run(
            tracker,
            search="comparison-mine-1a2b3c4d",
            trial=arm,
            name=arm,
            tags={"vgsr.data": "f" * 64, **tags},
            experiment=config.build(values, own),
        )
    for arm, eer in {"no teacher": 0.2, "MKD": 0.25}.items():
        tracking.log_figures(tracker, runs[arm], {"best_val_eer": eer, "test_mine_clips_eer": eer})
        close_run(tracker, runs[arm], tracking.COMPLETED)
    return place


@pytest.fixture
def report(home, monkeypatch, tmp_path):
    """Runs `vgsr report …` in an empty folder; returns its exit status and what it printed."""
    monkeypatch.setenv("VGSR_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str):
        return CliRunner().invoke(cli.app, ["report", *arguments])

    return run


def test_it_writes_to_results_and_says_where(report, tmp_path):
    done = report("comparison-mine-1a2b3c4d")
    assert done.exit_code == 0, done.output
    page = tmp_path / "results" / "comparison-mine-1a2b3c4d" / "README.md"
    assert str(page.relative_to(tmp_path)) in done.output
    text = page.read_text()
    assert "| MKD | 1 | 25.00 | −25.0 | – | no interval |" in text
    assert "**Unfinished**: the search is running, and 0 of its 2 runs are." in text  # its parent was not closed


def test_folder_and_baseline_are_the_users(report, tmp_path):
    done = report("comparison-mine-1a2b3c4d", "--out", "here", "--baseline", "MKD")
    assert done.exit_code == 0, done.output
    assert "the EER of MKD that an arm" in (tmp_path / "here" / "README.md").read_text()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["comparison-mine-1a2b3c4e"], "did you mean 'comparison-mine-1a2b3c4d'?"),
        (["comparison-mine-1a2b3c4d", "--baseline", "MKDD"], "no arm 'MKDD'; did you mean 'MKD'?"),
    ],
)
def test_a_misspelt_name_is_an_error_for_people(report, tmp_path, arguments, said):
    done = report(*arguments)
    assert done.exit_code != 0
    assert type(done.exception).__module__.startswith("vgsr.")  # which the command line prints as one line
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []
