"""Commands on a finished model, as a person types them: what they say, and how they exit."""

import numpy as np
import onnxruntime
import pytest
import soundfile

from vgsr import speaker
from vgsr.corpora import voice
from vgsr.corpora.identities import VOICED, voice_of
from vgsr.speaker import gallery


@pytest.fixture(scope="module")
def checkpoint(untrained, tmp_path_factory):
    """Random weights: with a scale so steep, only a recording itself is like another."""
    return untrained(
        folder=tmp_path_factory.mktemp("run") / "checkpoints" / "00001-000000",
        calibration={"scale": 50000.0, "offset": -49994.0},
        eer_threshold=0.9999,
        validation="EER 7 % on [no] trials",
        row={"best_checkpoint": "00001-000000"},
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings: two people, `again` (the first one, as FLAC), one too short to judge, one unreadable."""
    folder = tmp_path_factory.mktemp("files")
    for person, name in enumerate(("anna", "bo", "cy")):
        own = voice_of(np.random.default_rng(person).standard_normal(VOICED))
        wave = 0.05 * voice.speak(own, 4.0, np.random.default_rng(person))
        wave[32000:44000] *= 0.01  # a pause
        wave = np.round(wave * 32768) / 32768
        soundfile.write(folder / f"{name}.wav", wave, 16000)
        if name == "anna":
            soundfile.write(folder / "again.flac", wave, 16000)
            soundfile.write(folder / "short.wav", np.append(wave[4000:13600], np.zeros(9600)), 16000)
    (folder / "text.wav").write_text("nothing")
    return folder


def test_verify_says_how_likely_and_by_what(vgsr, checkpoint, files):
    status, said = vgsr("verify", checkpoint, files / "anna.wav", files / "again.flac")
    assert status == 0 and said.startswith("same speaker\n")
    for part in ("score 1.0000", "threshold 0.9999 (equal error", "times more likely one speaker than two"):
        assert part in said
    assert "calibrated on: EER 7 % on [no] trials" in said
    status, said = vgsr("verify", checkpoint.parent.parent, files / "anna.wav", files / "bo.wav")
    assert status == 1 and said.startswith("different speakers\n")
    assert "over 1,000,000 times more likely two speakers than one" in said
    status, said = vgsr("verify", checkpoint, files / "anna.wav", files / "anna.wav", "--p-target", "0.01")
    assert status == 0 and "Bayes, with a prior of 1 %" in said


def test_verify_that_cannot_judge_shows_the_score(vgsr, checkpoint, files):
    status, said = vgsr("verify", checkpoint, files / "anna.wav", files / "short.wav")
    assert status == 3 and f"cannot judge: {files}/short.wav has 0." in said
    assert "score" in said and "log-likelihood ratio" in said
    assert "0 same speaker, 1 different speakers, 3 cannot judge" in vgsr("verify", "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "{c}", "{f}/anna.wav", "{f}/none.wav"], "none.wav: no such file"),
        (["verify", "{f}/none", "{f}/anna.wav", "{f}/bo.wav"], "none: no such folder"),
        (["verify", "{c}", "{f}/anna.wav", "{f}/bo.wav", "--p-target", "1"], "p_target"),
        (["enroll", "anna", "{f}/text.wav", "--model", "{c}"], "none of 1 recordings could be enrolled"),
        (["enroll", " ", "{f}/anna.wav", "--model", "{c}"], "is no name"),
        (["enroll", "anna", "{f}/anna.wav"], "models:/vgsr@champion: "),
        (["identify", "{f}/anna.wav", "--model", "{c}"], "`vgsr enroll NAME FILES` makes one"),
        (["export", "{c}", "{f}/out.bin"], "ends in .onnx"),
    ],
)
def test_a_mistake_is_one_message(vgsr, checkpoint, files, arguments, said):
    status, output = vgsr(*(argument.format(c=checkpoint, f=files) for argument in arguments))
    assert status == 2 and said in output and "Traceback" not in output


def test_from_recordings_to_who_it_is(vgsr, checkpoint, files, tmp_path):
    model = ("--model", checkpoint)
    status, said = vgsr("enroll", "anna", files / "anna.wav", files / "text.wav", files / "short.wav", *model)
    assert status == 0 and "anna: 1 recordings added, 1 in all; 1 people in" in said
    assert "2 recordings left out" in said and "text.wav" in said and "s of speech" in said
    assert vgsr("enroll", "bo [2]", files / "bo.wav", *model)[0] == 0
    status, said = vgsr("enroll", "anna", files / "anna.wav", *model)
    assert status == 0 and "enrolled already, not counted twice" in said and "0 recordings added, 1 in all" in said
    people = gallery.read(tmp_path / "home" / "gallery.parquet")
    assert list(people.people) == ["anna", "bo [2]"] and people.digest == speaker.load(checkpoint).digest

    status, said = vgsr("identify", files / "again.flac", *model)
    assert status == 0 and f"{files}/again.flac: anna\n" in said and "calibrated on: EER 7 %" in said
    rows = [line.split("│") for line in said.splitlines() if "│" in line]
    assert [row[2].strip() for row in rows] == ["anna", "bo [2]", "nobody of them"] and rows[0][3].strip() == "1.0000"
    status, said = vgsr("identify", files / "cy.wav", "--top", "1", *model)
    assert status == 1 and f"{files}/cy.wav: nobody in the gallery" in said
    assert len([line for line in said.splitlines() if "│" in line]) == 2
    assert vgsr("identify", files / "again.flac", files / "cy.wav", *model)[0] == 1
    status, said = vgsr("identify", files / "cy.wav", files / "short.wav", files / "again.flac", *model)
    assert status == 3 and f"cannot judge: {files}/short.wav has 0." in said and "again.flac: anna" in said
    status, said = vgsr("identify", files / "text.wav", files / "short.wav", files / "again.flac", *model)
    assert status == 2 and "1 recordings left out" in said and "again.flac: anna" in said


def test_a_gallery_of_ones_own_beside_the_default(vgsr, checkpoint, files, tmp_path):
    own = ("--model", checkpoint, "--gallery", tmp_path / "own" / "g.parquet")
    assert vgsr("enroll", "anna", files / "anna.wav", *own)[0] == 0
    assert not (tmp_path / "home" / "gallery.parquet").exists()
    assert vgsr("identify", files / "anna.wav", *own)[0] == 0


def test_another_models_gallery_is_refused_with_what_to_do(vgsr, checkpoint, files, tmp_path):
    assert vgsr("enroll", "anna", files / "anna.wav", "--model", checkpoint)[0] == 0
    people = gallery.read(tmp_path / "home" / "gallery.parquet")
    gallery.write(tmp_path / "home" / "gallery.parquet", gallery.Gallery("0" * 64, "models:/m/1", people.table))
    for command in (["enroll", "bo", files / "bo.wav"], ["identify", files / "bo.wav"]):
        status, said = vgsr(*command, "--model", checkpoint)
        assert status == 2 and "another model: models:/m/1, weights 000000000000" in said and "--gallery" in said


def test_export_writes_what_it_compared(vgsr, checkpoint, files, tmp_path):
    status, said = vgsr("export", checkpoint, tmp_path / "student.onnx")
    assert status == 0 and "refused above 0.0001" in said
    session = onnxruntime.InferenceSession(str(tmp_path / "student.onnx"), providers=["CPUExecutionProvider"])
    wave = soundfile.read(files / "anna.wav", dtype="float32")[0]
    vector = session.run(None, {"waveform": wave[None]})[0][0]
    assert vector == pytest.approx(speaker.load(checkpoint).embed(wave), abs=1e-4)
