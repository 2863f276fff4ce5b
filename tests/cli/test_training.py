"""`vgsr train`: what may be said of workers."""

import pytest


@pytest.fixture
def experiment(tiny_experiment, tmp_path):
    file = tmp_path / "e.yaml"
    file.write_text(tiny_experiment({"train.epochs": 1}).yaml())
    return file


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ("8:2", "write 2:8"),
        ("0", "at least 1"),
        ("0:3", "at least 1"),
        ("two", "like 4"),
        ("2:", "like 2:8"),
        ("-1", "like 4"),
        ("64", "train.batch (8)"),
        ("2:64", "train.batch (8)"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_refused(vgsr, experiment, workers, said):
    status, output = vgsr("train", experiment, f"--workers={workers}")
    assert status == 2 and said in output


def test_a_bare_run_has_no_workers(vgsr, experiment):
    status, output = vgsr("train", experiment, "--bare", "--workers", "2")
    assert status == 2 and "--bare is one process" in output


@pytest.mark.parametrize(
    ("workers", "written", "asked"), [("3", 3, None), ("2:3", 3, (2, 3)), ("2:2", 2, None), (None, 1, None)]
)
def test_workers_are_handed_on_and_change_no_name(vgsr, experiment, monkeypatch, workers, written, asked):
    from vgsr import tracked

    seen = {}

    def train(loaded, name, storage, findings, console, workers=None):
        seen.update(written=loaded.train.workers, name=name, workers=workers, digest=loaded.digest)
        return "there"

    monkeypatch.setattr(tracked, "train", train)
    status, output = vgsr("train", experiment, *(["--workers", workers] if workers else []))
    assert status == 0, output
    assert (seen["written"], seen["workers"]) == (written, asked)
    assert seen["name"] == f"tiny-{seen['digest']}"
