"""The ONNX file: the model's embeddings, from waveforms of any length and number, and nothing less."""

import onnxruntime
import pytest
import soundfile
import torch

import vgsr
from vgsr import speaker
from vgsr.data import audio
from vgsr.data.features import Fbank
from vgsr.speaker import export as exporting
from vgsr.speaker.export import ExportError, MatrixFbank, difference, export


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return file, export(model, file)


@pytest.fixture(scope="module")
def session(written):
    return onnxruntime.InferenceSession(str(written[0]), providers=["CPUExecutionProvider"])


def in_doubles(wave):
    """Fbank's definition in float64, frame by frame."""
    fbank = Fbank()
    window, mel = fbank.window.double(), fbank.mel.double()
    rows = []
    for start in range(0, len(wave) - 400 + 1, 160):
        frame = torch.from_numpy(wave[start : start + 400]).double()
        frame = frame - frame.mean()
        frame = torch.cat([frame[:1] - 0.97 * frame[:1], frame[1:] - 0.97 * frame[:-1]]) * window
        power = torch.fft.rfft(frame, 512).abs().square() @ mel
        rows.append(power.clamp(min=torch.finfo(torch.float32).eps).log())
    features = torch.stack(rows)
    return features - features.mean(dim=0)


@pytest.mark.parametrize("seconds", [0.025, 0.0349, 0.035, 0.5, 2.7, 6.01])
def test_the_matrix_is_the_filterbank(spoken, seconds):
    wave = spoken(1, 7.0)[: int(seconds * 16000)]
    fbank = Fbank()
    ours, theirs = MatrixFbank(fbank)(torch.from_numpy(wave)[None]), fbank(torch.from_numpy(wave)[None])
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 0.02 and (ours - theirs).abs().median() < 1e-5
    # Where they differ, it is rounding: both are as near to the exact values.
    exact = in_doubles(wave)
    assert (ours[0] - exact).abs().max() < 0.02 and (ours[0] - exact).abs().median() < 1e-5


def test_an_offset_and_dead_stretches_do_not_matter_to_the_matrix(spoken):
    wave = torch.from_numpy(spoken(1, 2.0))
    wave[8000:12000], wave[20000:24000] = 0, 3277 / 32768
    fbank = Fbank()
    for shifted in (wave, wave + 0.25):
        assert (MatrixFbank(fbank)(shifted[None]) - fbank(shifted[None])).abs().max() < 0.05


def test_waveforms_of_any_length_and_number(model, session, written, spoken):
    assert written[1] <= 1e-5 < exporting.TOLERANCE
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("waveform", ["batch", "samples"], "tensor(float)")
    assert (made.name, made.shape) == ("embedding", ["batch", 16])
    for seconds in (0.5, 0.51, 1.234, 3.0, 11.0):
        for count in (1, 3):
            waves = [spoken(person, seconds) for person in range(count)]
            found = session.run(None, {"waveform": waves})[0]
            for wave, vector in zip(waves, found, strict=True):
                wanted = model.embed(wave)
                assert abs(vector - wanted).max() / (wanted**2).sum() ** 0.5 < 1e-5


def test_real_speech_of_many_lengths(model, written, shared_data):
    files = [
        *sorted((shared_data / "avspeech-mini" / "audio").glob("*.flac"))[::190],
        *sorted((shared_data / "ravdess").glob("*/*.flac"))[::150],
        *sorted((shared_data / "librispeech-mini").glob("*/*.flac"))[::12],
    ]
    waves = [audio.read(file) for file in files]
    assert len({len(wave) for wave in waves}) >= 15
    assert max(difference(model, written[0], wave[None]) for wave in waves) < exporting.TOLERANCE


def test_a_decision_can_be_made_from_the_file_alone(model, session, spoken, tmp_path):
    files = []
    for person in (1, 2):
        files.append(tmp_path / f"{person}.wav")
        soundfile.write(files[-1], spoken(person, 1.0 + person), 16000)
    facts = session.get_modelmeta().custom_metadata_map
    one, other = (
        session.run(None, {"waveform": soundfile.read(file, dtype="float32")[0][None]})[0][0] for file in files
    )
    score = (one @ other) / (one @ one) ** 0.5 / (other @ other) ** 0.5
    decision = model.verify(*files)
    llr = float(facts["calibration_scale"]) * score + float(facts["calibration_offset"])
    assert (score, llr) == pytest.approx((decision.score, decision.llr), abs=1e-4)
    assert float(facts["eer_threshold"]) == decision.threshold
    assert (facts["sample_rate"], facts["vgsr_version"]) == ("16000", vgsr.__version__)
    assert facts["model_digest"] == model.digest and facts["validation"] == model.facts["validation"]


def test_a_file_that_differs_is_not_left(model, untrained, tmp_path, monkeypatch):
    out = tmp_path / "student.onnx"
    out.write_bytes(b"the one before")
    other = speaker.load(untrained(seed=3))
    trace = exporting._trace
    falsified = torch.nn.Sequential(MatrixFbank(other.fbank), other.student)
    monkeypatch.setattr(exporting, "_trace", lambda whole, file: trace(falsified, file))
    with pytest.raises(ExportError, match=r"not written.*would differ"):
        export(model, out)
    assert out.read_bytes() == b"the one before" and [entry.name for entry in tmp_path.iterdir()] == ["student.onnx"]


def test_a_place_that_cannot_be_written_is_told(model, tmp_path):
    with pytest.raises(ExportError, match=r"ends in \.onnx"):
        export(model, tmp_path / "student.bin")
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot be written"):
        export(model, tmp_path / "file" / "student.onnx")


def test_the_model_is_as_it_was_after_an_export(model, written, spoken, checkpoint):
    trained = speaker.load(checkpoint)
    before = trained.embed(spoken(1)).tolist()
    assert export(trained, written[0].with_name("trained.onnx")) < 1e-5
    assert trained.embed(spoken(1)).tolist() == before and not trained.student.training
