"""The demo's noise: three unlike recordings, the same for one seed."""

import numpy as np
import pytest
import soundfile

from vgsr.data.augment import NoiseSource
from vgsr.search import demo_noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("noise")
    demo_noise.render(str(place), seed=0)
    return place


def test_three_recordings_that_can_be_used(folder):
    source = NoiseSource.of(folder)
    assert [path.name for path in sorted(folder.iterdir())] == ["babble.flac", "music.flac", "noise.flac"]
    assert not source.problems and all(file.seconds == demo_noise.SECONDS for file in source.files)
    for file in source.files:
        wave, _ = soundfile.read(file.path)
        assert np.sqrt(np.mean(wave**2)) == pytest.approx(demo_noise.LEVEL, rel=0.05) and np.abs(wave).max() < 1


def test_rendering_again_writes_only_what_is_missing(folder):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    (folder / "music.flac").unlink()
    demo_noise.render(str(folder), seed=0)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert {name: content for name, (content, _) in after.items()} == {n: content for n, (content, _) in before.items()}
    assert after["noise.flac"] == before["noise.flac"]


def test_the_kinds_are_what_they_are_called():
    """Noise: 3 dB an octave. Music: lines on the notes and hardly anything between them."""
    rng = np.random.default_rng(1)
    hertz = np.fft.rfftfreq(demo_noise.SECONDS * demo_noise.RATE, 1 / demo_noise.RATE)

    def power(wave, low, high):
        return np.mean(np.abs(np.fft.rfft(wave))[(hertz >= low) & (hertz < high)] ** 2)

    hiss = demo_noise.hiss(rng)
    assert power(hiss, 200, 220) / power(hiss, 400, 420) == pytest.approx(2, rel=0.25)
    music = demo_noise.music(rng)
    assert power(music, 108, 112) > 10 * power(music, 118, 125)
