"""Disturbed utterances: exactly the SNR asked for, the same whoever asks and when, and no noise that training knows."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vgsr.config import ConfigError
from vgsr.data import manifest
from vgsr.data.audio import RATE, AudioError
from vgsr.data.augment import NoiseSource
from vgsr.data.features import Fbank
from vgsr.evaluation import embedding, noisy
from vgsr.training import check, learner
from vgsr.training.session import LocalSession

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three recordings: longer than an utterance, shorter than it, and half silent."""
    place, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(3)
    for name, seconds in (("long", 6.0), ("short", 0.3), ("gaps", 8.0)):
        wave = 0.1 * rng.standard_normal(round(seconds * RATE)).astype(np.float32)
        if name == "gaps":
            wave[: len(wave) // 2] = 0
        soundfile.write(place / f"{name}.wav", wave, RATE, "FLOAT")
    return place


@pytest.fixture(scope="module")
def source(folder):
    return NoiseSource.of(folder)


def speech(samples, seed=0):
    return (0.05 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@given(snr=st.floats(-10, 30), samples=st.integers(1000, 60_000), name=st.text(min_size=1, max_size=5))
def test_the_powers_over_the_whole_utterance_have_the_snr(source, snr, samples, name):
    wave = speech(samples)
    added = noisy.disturbed(source, snr)(name, wave).astype(np.float64) - wave
    ratio = np.mean(wave.astype(np.float64) ** 2) / np.mean(added**2)
    assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)


def test_noise_belongs_to_the_utterance_and_the_snr_alone(source, folder):
    wave = speech(20_000)
    disturb = noisy.disturbed(source, 10.0)
    first = disturb("a", wave)
    disturb("b", wave), np.random.default_rng().random(), torch.rand(3)
    assert np.array_equal(disturb("a", wave), first)
    assert np.array_equal(noisy.disturbed(NoiseSource.of(folder), 10)("a", wave), first)
    assert not np.allclose(disturb("b", wave), first)
    # Another SNR is another draw, not the same noise scaled.
    louder = noisy.disturbed(source, 0.0)("a", wave) - wave
    assert abs(np.corrcoef(louder, first - wave)[0, 1]) < 0.5


def test_draws_are_those_of_every_version_before():
    """A changed draw would change figures that are already written down."""
    drawn = noisy.generator(noisy.PURPOSE, "a", "10").random(2).tolist()
    assert drawn == [0.014140161745346713, 0.9956415585419316]


class Moments(nn.Module):
    """A student that says everything about its features: no disturbance escapes it."""

    def forward(self, features):
        return torch.cat([features.mean(dim=1), features.std(dim=1)], dim=1)


def test_shares_of_two_workers_and_any_order_give_the_same_embeddings(tiny, source):
    corpus, student, fbank = manifest.read(tiny), Moments(), Fbank(80)
    ids = corpus.utterances["utterance_id"].to_pylist()[:9]
    disturb = noisy.disturbed(source, 5.0)

    def embed(wanted):
        return embedding.embed(student, fbank, corpus, wanted, CPU, disturb=disturb)

    whole = embed(ids)
    shares = np.empty_like(whole)
    for rank in (1, 0):
        shares[rank::2] = embed(ids[rank::2])
    assert np.array_equal(shares, whole)
    assert np.array_equal(embed(ids[::-1])[::-1], whole)
    assert not np.allclose(embedding.embed(student, fbank, corpus, ids, CPU), whole)


def test_silence_cannot_disturb(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="silent"):
        noisy.disturbed(NoiseSource.of(tmp_path), 10.0)("a", speech(1000))


def test_a_recording_that_trains_and_evaluates_is_refused_whatever_its_name(tiny_experiment, folder, tmp_path):
    training = tmp_path / "training"
    training.mkdir()
    other = 0.1 * np.random.default_rng(9).standard_normal(6 * RATE)  # as many bytes as long.wav, other ones
    soundfile.write(training / "long.wav", other, RATE, "FLOAT")
    assert len(noisy.source(str(folder), NoiseSource.of(training)).files) == 3
    (training / "deep").mkdir()
    shutil.copy(folder / "gaps.wav", training / "deep" / "renamed.wav")
    with pytest.raises(ConfigError, match=r"gaps\.wav.*renamed\.wav"):
        noisy.source(str(folder), NoiseSource.of(training))
    with pytest.raises(ConfigError, match=r"evaluate\.noise"):
        noisy.source(str(folder), NoiseSource.of(folder))
    both = tiny_experiment({"evaluate.noise": str(folder), "augment.noise": str(training)})
    with pytest.raises(ConfigError, match=r"gaps\.wav.*renamed\.wav"):
        check.check(both)
    with pytest.raises(ConfigError, match=r"gaps\.wav.*renamed\.wav"):
        learner.build(both, LocalSession(tmp_path / "run"))


def test_without_a_folder_there_is_no_noise():
    assert noisy.source(None, None) is None
