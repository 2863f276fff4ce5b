"""MUSAN's layout: which folder is of it, and babble as a mixture of different voices, each as loud as the others."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vgsr import config
from vgsr.config.augment import Augment
from vgsr.data.audio import AudioError
from vgsr.data.augment import Noises, add_noise

VOICES = 9
SAMPLES = 16000


def hertz(voice: int) -> float:
    return 500.0 + 300 * voice


@pytest.fixture(scope="module")
def musan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices are tones of different heights and levels, so that a mixture tells who is in it."""
    root = tmp_path_factory.mktemp("data") / "musan"
    rng, time = np.random.default_rng(0), np.arange(2 * SAMPLES) / 16000
    for voice in range(VOICES):
        place = root / "speech" / ("librivox" if voice % 2 else "us-gov") / f"speech-{voice}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.9 / (1 + voice) * np.sin(2 * np.pi * hertz(voice) * time), 16000, "FLOAT")
    for kind, subset in (("noise", "free-sound"), ("noise", "sound-bible"), ("music", "jamendo")):
        place = root / kind / subset / f"{kind}-{subset}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.1 * rng.standard_normal(3 * SAMPLES), 16000, "FLOAT")
        (place.parent / "LICENSE").write_text("not audio")
    return root


def test_musan_is_three_kinds_with_ranges_of_their_own(musan: Path) -> None:
    noises = Noises.of(Augment(noise=str(musan)))
    found = {kind.name: (len(kind.source.files), kind.snr, kind.voices, kind.weight) for kind in noises.kinds}
    assert found == {
        "noise": (2, (0, 15), (1, 1), 1),
        "music": (1, (5, 15), (1, 1), 1),
        "babble": (VOICES, (13, 20), (3, 7), 1),
    }
    assert len(noises.files) == VOICES + 3 and not noises.problems
    assert Noises.of(Augment(noise=str(musan.parent))) == noises  # the folder that it was unpacked in
    assert [str(kind) for kind in noises.kinds][::2] == [
        "noise 0 to 15 dB, 2 recordings",
        "babble 13 to 20 dB, 9 recordings (mixtures of 3 to 7)",
    ]


def test_another_folder_is_one_kind(musan: Path) -> None:
    (kind,) = Noises.of(Augment(noise=str(musan / "speech"), snr=(1, 2))).kinds
    assert (kind.name, kind.snr, kind.voices, len(kind.source.files)) == ("noise", (1, 2), (1, 1), VOICES)


def test_a_kind_that_is_not_wanted_is_not_read(musan: Path, tmp_path: Path) -> None:
    for name in ("noise", "music"):
        (tmp_path / name).symlink_to(musan / name)
    (tmp_path / "speech").mkdir()
    for voice in range(2):
        (tmp_path / "speech" / f"{voice}.wav").symlink_to(musan / "speech" / "us-gov" / f"speech-{2 * voice}.wav")
    with pytest.raises(AudioError, match=r"2 usable recordings, and babble mixes 3 .*kinds: \{babble: 0\}"):
        Noises.of(Augment(noise=str(tmp_path)))
    settings = {"noise": str(tmp_path), "kinds": {"babble": 0, "music": 2.5}}
    noises = Noises.of(Augment.model_validate(settings))
    assert [(kind.name, kind.weight) for kind in noises.kinds] == [("noise", 1), ("music", 2.5)]


def voices_in(wave: np.ndarray) -> dict[int, float]:
    """The voices that are heard, each with its power."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    levels = {voice: spectrum[round(hertz(voice) * len(wave) / 16000)] for voice in range(VOICES)}
    return {voice: level for voice, level in levels.items() if level > 1e-3 * max(levels.values())}


def test_babble_is_three_to_seven_different_voices_of_equal_power(musan: Path) -> None:
    babble = Noises.of(Augment(noise=str(musan))).kinds[-1]
    counts, heard = Counter(), set()
    for seed in range(200):
        found = voices_in(babble.draw(np.random.default_rng(seed), SAMPLES))
        counts[len(found)] += 1
        heard |= set(found)
        assert max(found.values()) / min(found.values()) == pytest.approx(1, abs=0.02)
    assert set(counts) == {3, 4, 5, 6, 7} and heard == set(range(VOICES))
    assert min(counts.values()) > 20  # 40 each are expected


def test_the_snr_is_that_of_the_mixture(musan: Path) -> None:
    """5 dB of white noise, and of babble, as the field checks them: power of what is added over what was there."""
    white = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    wave = 0.05 * torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(1))
    babble = Noises.of(Augment(noise=str(musan))).kinds[-1]
    for noise in (white, torch.from_numpy(babble.draw(np.random.default_rng(0), SAMPLES))[None]):
        added = add_noise(wave, noise, torch.tensor([5.0])).double() - wave.double()
        measured = 10 * math.log10(wave.double().square().sum() / added.square().sum())
        assert measured == pytest.approx(5, abs=0.05)


def test_voices_that_break_or_are_silent(musan: Path, tmp_path: Path) -> None:
    for name in ("noise", "music"):
        (tmp_path / name).symlink_to(musan / name)
    (tmp_path / "speech").mkdir()
    for voice in range(4):
        wave = soundfile.read(next(musan.glob(f"speech/*/speech-{voice}.wav")))[0]
        soundfile.write(tmp_path / "speech" / f"{voice}.wav", wave * (voice != 3), 16000, "FLOAT")
    (tmp_path / "speech" / "broken.wav").write_bytes(b"RIFFnothing")
    noises = Noises.of(Augment(noise=str(tmp_path), voices=(3, 4)))
    assert [Path(problem.uri).name for problem in noises.problems] == ["broken.wav"]
    babble = noises.kinds[-1]
    (tmp_path / "speech" / "0.wav").unlink()
    with pytest.warns(UserWarning, match=r"0\.wav"):
        drawn = babble.draw(np.random.default_rng(0), SAMPLES)
    assert set(voices_in(drawn)) == {1, 2}  # and the silent one
    (tmp_path / "speech" / "1.wav").unlink()
    with pytest.warns(UserWarning), pytest.raises(AudioError, match="nor can 3 recordings of babble be read"):
        babble.draw(np.random.default_rng(0), SAMPLES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kinds_snr": {"music": [9, 3]}}, "kinds_snr.music runs from 9 down to 3 dB"),
        ({"kinds": {"noise": 0, "music": 0, "babble": 0}}, "no kind of noise is left"),
        ({"kinds": {"speech": 1}}, "unknown key 'augment.kinds.speech'"),
        ({"voices": [5, 3]}, "the fewest first"),
        ({"voices": [0, 3]}, "the fewest first"),
        ({"exclusive": True, "noise_probability": 0.7, "rir_probability": 0.4}, "more than 1 together"),
        ({"speeds": [0.9, 1.0]}, "the first is 1.0"),
        ({"speeds": [1.0, 1.1, 1.1]}, "different factors"),
        ({"speeds": []}, "different factors"),
        ({"speeds": [1.0, 0.333]}, "speeds.1"),
        ({"time_masks": 0}, "time_masks"),
    ],
)
def test_mistakes_in_augment_are_told(changes: dict, said: str) -> None:
    with pytest.raises(config.ConfigError, match=said):
        config.build({"name": "a", "corpus": {"manifest": "m"}, "augment": changes})
