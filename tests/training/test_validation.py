"""Validation: its figures are those of the scores, clean and disturbed."""

import numpy as np
import pytest
import soundfile
import torch

from vgsr import students
from vgsr.data import manifest
from vgsr.data.audio import RATE
from vgsr.data.augment import NoiseSource
from vgsr.data.features import Fbank
from vgsr.evaluation import embedding, metrics, noisy
from vgsr.training import validation

CPU = torch.device("cpu")


@pytest.fixture
def noise(tmp_path):
    wave = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    soundfile.write(tmp_path / "noise.wav", wave, RATE, "FLOAT")
    return NoiseSource.of(tmp_path)


@pytest.fixture
def student():
    torch.manual_seed(0)
    return students.build("ecapa", bins=80, channels=8, embedding=16)


def validate(student, corpus, noise, snrs):
    return validation.validate(student, Fbank(80), corpus, (0.01,), noise=noise, snrs=snrs, rank=0, world=1, device=CPU)


def test_figures_are_those_of_each_trial_with_both_sides_disturbed(tiny, student, noise):
    corpus = manifest.read(tiny)
    figures = validate(student, corpus, noise, (0.0, 12.5)).figures()
    trials = corpus.trials["validation"].to_pylist()
    eers = []
    for disturb in (embedding.as_recorded, noisy.disturbed(noise, 0.0), noisy.disturbed(noise, 12.5)):
        ids = sorted({trial[side] for trial in trials for side in ("enrol", "test")})
        vectors = embedding.embed(student.eval(), Fbank(80), corpus, ids, CPU, disturb=disturb).astype(np.float64)
        of = {name: vector / np.linalg.norm(vector) for name, vector in zip(ids, vectors, strict=True)}
        scores = [of[trial["enrol"]] @ of[trial["test"]] for trial in trials]
        eers.append(metrics.eer(scores, [trial["label"] for trial in trials]).value)
    assert set(figures) == {"val_eer", "val_min_dcf_0.01", "val_eer_0dB", "val_eer_12.5dB", "val_noisy_eer"}
    assert [figures[name] for name in ("val_eer", "val_eer_0dB", "val_eer_12.5dB")] == pytest.approx(eers)
    assert figures["val_noisy_eer"] == pytest.approx(sum(eers[1:]) / 2)
    assert len(set(eers)) > 1


def test_without_noise_it_says_what_it_said(tiny, student, noise):
    corpus = manifest.read(tiny)
    clean, disturbed = (validate(student, corpus, given, (5.0,)) for given in (None, noise))
    assert set(clean.figures()) == {"val_eer", "val_min_dcf_0.01"}
    assert clean.result == disturbed.result and clean.calibration == disturbed.calibration
