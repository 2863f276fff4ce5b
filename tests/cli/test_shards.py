"""`vgsr shard`: what it says when it is done, when it is done already, when it is stopped, and of what it left out."""

import pytest
import soundfile
from typer.testing import CliRunner

from vgsr import cli
from vgsr.data import manifest as manifests
from vgsr.data import shard_rows
from vgsr.data.shard_index import ShardError
from vgsr.storage import StorageError


@pytest.fixture
def made(tmp_path):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.flac", [0.1, 0.2] * 4000, 16000)
    manifests.write(
        tmp_path / "m",
        corpus="c",
        root=tmp_path,
        synthetic=False,
        utterances=[
            {"utterance_id": name, "speaker": name, "session": "s", "uri": f"{name}.flac", "split": "train"}
            | {"start": 0.0, "seconds": 0.5, "sample_rate": 16000}
            for name in "abc"
        ],
        faces=[],
        trials={},
        problems=[],
    )
    return tmp_path / "m"


def run(*arguments):
    return CliRunner().invoke(cli.app, ["shard", *map(str, arguments)])


def test_what_it_says(made, tmp_path):
    first, second = run(made, tmp_path / "out", "--size", "1GB"), run(made, tmp_path / "out")
    assert first.exit_code == second.exit_code == 0
    for result, kept in ((first, 0), (second, 1)):
        row = next(line for line in result.output.splitlines() if line.startswith("│"))
        assert [cell.strip() for cell in row.strip("│").split("│")][:3] == ["1", str(kept), "2"]
        assert "c.flac" in result.output and "no such file" in result.output


def test_a_person_may_stop_it(made, tmp_path, monkeypatch):
    def interrupted(*asked):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard_rows, "rows", interrupted)
        stopped = run(made, tmp_path / "out")
    assert stopped.exit_code == 130 and "the same command goes on" in stopped.output
    assert run(made, tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(("size", "error"), [("many", StorageError), ("0", ShardError)])
def test_a_size_that_is_none(made, tmp_path, size, error):
    assert isinstance(run(made, tmp_path / "out", "--size", size).exception, error)
