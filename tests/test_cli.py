"""The command line, as a person types it: prepare, teach, validate, train, evaluate, verify."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from vgsr.data import manifest


@pytest.fixture
def vgsr(tmp_path):
    """Runs `vgsr …` in a process of its own; returns (exit status, output)."""

    def run(*arguments, fails=False):
        code = "from vgsr.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**__import__("os").environ, "COLUMNS": "250", "VGSR_HOME": str(tmp_path / "home")},
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def own_corpus(tmp_path):
    """Anyone's own data: speaker/session/*.wav with a picture, and one file that is no audio."""
    rng = np.random.default_rng(0)
    for person in range(12):
        for session in ("one", "two"):
            folder = tmp_path / "own" / f"anna{person}" / session
            folder.mkdir(parents=True)
            for take in range(2):
                soundfile.write(folder / f"{take}.wav", rng.standard_normal(24000) * 0.05, 16000)
    (tmp_path / "own" / "anna0" / "one" / "broken.wav").write_text("nothing")
    return tmp_path / "own"


def test_from_ones_own_recordings_to_a_decision(vgsr, own_corpus, tmp_path):
    out = tmp_path / "manifest"
    said = vgsr("prepare", "folder", own_corpus, out, "--validation", "0.25", "--test", "0.25")
    assert "1 inputs left out" in said and "broken.wav" in said
    assert len(manifest.read(out).utterances) == 48
    experiment = tmp_path / "e.yaml"
    experiment.write_text(
        "name: own\ncorpus: {manifest: manifest}\nstudent: {channels: 8, embedding: 16}\n"
        "train: {epochs: 1, batch: 8, crop_seconds: 0.5}\n"
    )
    assert "valid" in vgsr("validate", experiment)
    said = vgsr("train", experiment, "--bare", "train.epochs=2")
    assert "epoch 2/2" in said
    checkpoint = said.split("best checkpoint: ")[1].split("\n")[0]
    said = vgsr("evaluate", checkpoint, out)
    for text in ("EER", "minDCF(0.01)", "C_miss = C_fa = 1", "folder/test", "digest", "cosine", "1 seed"):
        assert text in said
    assert "SYNTHETIC" not in said
    wave = own_corpus / "anna0" / "one" / "0.wav"
    said = vgsr("verify", checkpoint, wave, wave, fails=True)  # the recordings are noise, and that is said
    assert "cannot judge" in said and "score 1.0000" in said and "threshold" in said and "calibrated on" in said
    assert "no such file" in vgsr("verify", checkpoint, wave, tmp_path / "none.wav", fails=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "ravdes", "a", "b"], "did you mean 'ravdess'"),
        (["prepare", "ravdess", "a"], "ROOT OUT"),
        (["prepare", "synthetic", "a", "spekers=3"], "did you mean 'speakers'"),
        (["validate", "nowhere.yaml"], "nowhere.yaml"),
        (["evaluate", "nowhere", "nowhere"], "not a manifest"),
        (["teach", "nowhere"], "not a manifest"),
        (["best"], "no completed run"),
    ],
)
def test_a_mistake_is_one_message(vgsr, arguments, said):
    assert said in vgsr(*arguments, fails=True)


def test_a_corpus_without_pictures_brings_its_own_bank(vgsr, tiny):
    assert "came with a bank of its own" in vgsr("teach", tiny, fails=True)


def test_a_bank_computed_elsewhere_is_imported(vgsr, tiny, tmp_path):
    from vgsr.teachers import bank as banks

    bank = banks.read(tiny / "banks" / "synthetic.parquet")
    np.save(tmp_path / "other.npy", bank.matrix()[:-1])
    (tmp_path / "ids.txt").write_text("\n".join(bank.table["face_id"].to_pylist()[:-1]))
    out = tmp_path / "bank.parquet"
    said = vgsr("teach", tiny, "--embeddings", tmp_path / "other.npy", "--ids", tmp_path / "ids.txt", "--out", out)
    assert "teacher EER" in said and "1 inputs left out" in said
    assert np.isnan(banks.read(out).matrix()).all(axis=1).sum() == 1
