"""`vgsr evaluate`: models and other systems in one table, each figure with how it was made."""

import numpy as np
import pytest
from typer.testing import CliRunner

from vgsr import cli, speaker
from vgsr.data import manifest
from vgsr.evaluation import score_files
from vgsr.evaluation.embedding import embed, trial_utterances


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    """What `vgsr evaluate …` prints."""
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cli.app, "pretty_exceptions_enable", False)

    def run(*arguments):
        monkeypatch.setattr(cli.console, "width", 250)
        done = CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return run


def row(said, system):
    """The cells of a system's row."""
    (line,) = [line for line in said.splitlines() if line.startswith("│") and line.split("│")[1].strip() == system]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_model_and_its_own_embeddings_as_a_peer_agree(evaluate, checkpoint, tiny, tmp_path):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    ids = sorted({one for name in corpus.trials for one in trial_utterances(corpus.trials[name])})
    np.savez(
        tmp_path / "peer.npz",
        ids=np.array(ids),
        embeddings=embed(model.student, model.fbank, corpus, ids, model.device),
    )
    said = evaluate(
        f"ours={checkpoint}", tiny, "--scores", f"theirs={tmp_path / 'peer.npz'}", "--save", tmp_path / "out"
    )
    assert row(said, "ours")[1:] == row(said, "theirs")[1:]
    assert "SYNTHETIC corpus" in said and "calibrated on synthetic/validation" in said
    # What was saved is what another call takes as somebody's scores.
    again = evaluate(tiny, "--scores", tmp_path / "out" / "ours-synthetic_test.parquet")
    assert row(again, "ours-synthetic_test")[1] == row(said, "ours")[1]
    assert row(again, "ours-synthetic_test")[-1] == "–"
    table = score_files.read(tmp_path / "out" / "theirs-synthetic_test.parquet")
    assert table["label"].to_pylist() == corpus.trials["test"]["label"].to_pylist()


def test_normalised_scores_say_by_what(evaluate, checkpoint, tiny):
    said = evaluate(checkpoint, tiny, "--normalise", "as-norm", "--top", "3", "--qmf", "--p-target", "0.1")
    assert "AS-norm top 3 of 6 speaker means" in said and "QMF of score, log_seconds, norm, imposter_mean, snr" in said
    assert "minDCF(0.1)" in said and "minDCF(0.01)" not in said


def test_nothing_to_evaluate_is_said(tiny):
    done = CliRunner().invoke(cli.app, ["evaluate", str(tiny)])
    assert done.exit_code == 2 and "--scores" in done.output
