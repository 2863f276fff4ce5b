"""Reading audio: by seek, mono, at 16 kHz, and clear about what cannot be read."""

import pickle

import av
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


def by_ffmpeg(file):
    """All that FFmpeg decodes in one go, `[channels, T]`, rounded to 16 bits."""
    with av.open(str(file)) as container:
        decoded = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return np.clip(np.rint(decoded * 32768), -32768, 32767) / 32768


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
def test_aac_is_what_ffmpeg_decodes_from_whatever_sample_on(aac, speech_like, tmp_path, rate, channels):
    # Without noise substitution a decoder gives the same whichever packet it begins with.
    wave = speech_like(24, rate, channels)
    file = aac(tmp_path / "a.m4a", wave, rate, aac_pns="0")
    want = by_ffmpeg(file)[:, : wave.shape[1]]
    assert audio.probe(file) == audio.AudioInfo(wave.shape[1] / rate, rate, channels)
    assert np.corrcoef(want[0], wave[0])[0, 1] > 0.9  # nothing of the encoder's delay is left
    whole, found = audio.recorded(file)
    assert found == rate and whole.dtype == np.float32
    np.testing.assert_array_equal(whole.T, want)
    for start, seconds in [(0, 1), (19.9, 0.3), (20.0001, 2), (23, 5), (3.3, 20)]:
        first = round(start * rate)
        want = whole[first : first + round(seconds * rate)]
        np.testing.assert_array_equal(audio.recorded(file, start, seconds)[0], want)


@pytest.mark.parametrize("suffix", ["m4a", "MP4", "aac"])
def test_a_part_of_aac_is_the_part_of_the_whole_even_where_noise_is_substituted(aac, speech_like, tmp_path, suffix):
    file = aac(tmp_path / f"a.{suffix.lower()}", speech_like(25, 16000), bit_rate=24000).rename(
        tmp_path / f"a.{suffix}"
    )
    whole = audio.read(file)
    assert len(whole) == audio.probe(file).frames
    np.testing.assert_array_equal(whole[:320000], by_ffmpeg(file)[0, :320000].astype(np.float32))
    for start in np.random.default_rng(0).uniform(0, 24, 10):
        first = round(start * 16000)
        np.testing.assert_array_equal(audio.read(file, start, 2.0), whole[first : first + 32000])


def test_a_part_of_long_aac_is_not_decoded_from_its_beginning(aac, speech_like, tmp_path, monkeypatch):
    file = aac(tmp_path / "a.m4a", speech_like(120, 16000))
    decoded = []

    class Counted:
        def __init__(self, **settings):
            self.real = resampler(**settings)

        def resample(self, frame):
            decoded.append(frame.samples)
            return self.real.resample(frame)

    resampler = av.AudioResampler
    monkeypatch.setattr(av, "AudioResampler", Counted)
    audio.read(file, 110.0, 2.0)
    assert 2 * 16000 <= sum(decoded) <= 13 * 16000


def test_aac_that_cannot_be_read_says_why(aac, speech_like, tmp_path):
    (tmp_path / "empty.m4a").touch()
    (tmp_path / "text.m4a").write_text("not audio")
    whole = aac(tmp_path / "whole.m4a", speech_like(5, 16000)).read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    said = {"gone.m4a": "no such", "empty.m4a": "empty file", "text.m4a": "unreadable", "cut.m4a": "unreadable"}
    for name, reason in {**said, "silent.mp4": "no sound"}.items():
        for function in (audio.read, audio.probe):
            with pytest.raises(AudioError, match=reason):
                function(tmp_path / name)
    damaged = bytearray(whole)
    damaged[9000:12000] = b"\xff" * 3000
    (tmp_path / "damaged.m4a").write_bytes(damaged)
    assert audio.probe(tmp_path / "damaged.m4a").seconds == 5
    with pytest.raises(AudioError, match="unreadable"):
        audio.read(tmp_path / "damaged.m4a")


@pytest.mark.parametrize("subtype", ["PCM_16", "VORBIS", "OPUS", "MPEG_LAYER_III"])
def test_the_content_of_a_file_is_decoded_as_the_file(tmp_path, wave, subtype):
    suffix = {"PCM_16": "flac", "MPEG_LAYER_III": "mp3"}.get(subtype, "ogg")
    file = tmp_path / f"a.{suffix}"
    soundfile.write(file, wave, 16000, subtype=subtype)
    for start, seconds in [(0, None), (0.7, 0.5), (1.9, 1.0)]:
        want, rate = audio.recorded(file, start, seconds)
        read, same = audio.decode(file.read_bytes(), "a", start, seconds)
        np.testing.assert_array_equal(read, want)
        assert rate == same == 16000
    with pytest.raises(AudioError, match="a: unreadable"):
        audio.decode(b"not audio", "a")
