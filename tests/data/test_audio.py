"""Reading audio: by seek, mono, at 16 kHz, and clear about what cannot be read."""

import pickle

import numpy as np
import pytest
import soundfile

from vgsr.data import audio
from vgsr.data.audio import AudioError


@pytest.fixture
def wave():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 32000).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_part_is_the_part_of_the_whole(tmp_path, wave, suffix):
    file = tmp_path / f"a.{suffix}"
    soundfile.write(file, wave, 16000, subtype="PCM_16")
    whole = audio.read(file)
    np.testing.assert_allclose(whole, wave, atol=1 / 32768)
    np.testing.assert_array_equal(audio.read(file, 0.5, 0.25), whole[8000:12000])
    assert len(audio.read(file, 1.9, 1.0)) == 1600


def test_channels_are_averaged_and_rates_converted(tmp_path):
    time = np.arange(48000) / 48000
    tone = np.sin(2 * np.pi * 440 * time) * 0.5
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], 1), 48000, subtype="FLOAT")
    read = audio.read(tmp_path / "a.wav")
    want = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert read.dtype == np.float32 and len(read) == 16000
    np.testing.assert_allclose(read[200:-200], want[200:-200], atol=2e-3)
    assert audio.probe(tmp_path / "a.wav") == audio.AudioInfo(1.0, 48000, 2)


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    for name, said in {"gone.wav": "no such file", "empty.wav": "empty", "text.wav": "unreadable"}.items():
        for function in (audio.read, audio.probe):
            with pytest.raises(AudioError, match=said):
                function(tmp_path / name)
    with pytest.raises(AudioError, match="no samples"):
        audio.probe(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="NaN"):
        audio.read(tmp_path / "nan.wav")


def test_the_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "empty file")))
    assert (error.path, error.reason) == ("a.wav", "empty file")
