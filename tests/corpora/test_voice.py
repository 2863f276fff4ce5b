"""Rendered voices against what was asked for (pitch, formants, SNR), transforms against their definition."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from vgsr.corpora import channel, voice
from vgsr.corpora.voice import RATE, Voice, speak

PLAIN = Voice(
    pitch=120,
    melody=0.2,
    tract=17.5,
    colour=(1, 1, 1, 1, 1),
    open_quotient=0.6,
    tilt=-3,
    breath=0.02,
    pace=4.5,
)


def median_pitch(wave: np.ndarray) -> float:
    """Median over voiced frames of the lag at which the autocorrelation peaks (60 to 400 Hz), in Hz."""
    lags = np.arange(RATE // 400, RATE // 60)
    found = []
    for start in range(0, len(wave) - 1024, 256):
        frame = wave[start : start + 1024] * np.hanning(1024)
        correlation = np.correlate(frame, frame, "full")[1023:]
        best = lags[np.argmax(correlation[lags])]
        if correlation[best] > 0.5 * correlation[0] > 0:
            found.append(RATE / best)
    return float(np.median(found))


@pytest.mark.parametrize("pitch", [90.0, 120.0, 180.0, 240.0])
@pytest.mark.parametrize("tract", [14.5, 18.0])
def test_pitch_is_that_of_the_voice(pitch, tract):
    wave = speak(replace(PLAIN, pitch=pitch, tract=tract), 4.0, np.random.default_rng(1))
    assert median_pitch(wave) == pytest.approx(pitch, rel=0.05)


def test_median_of_the_contour_is_exact():
    contour = voice.pitch_contour(PLAIN, 32000, np.random.default_rng(0))
    assert np.median(contour) == pytest.approx(PLAIN.pitch)
    assert contour[:8000].mean() > contour[-8000:].mean()


def test_length_level_and_seed():
    one, again, other = (speak(PLAIN, 1.2345, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (round(1.2345 * RATE),)
    assert np.sqrt(np.mean(one**2)) == pytest.approx(1)
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_spectra_and_overlap_add_are_inverse():
    wave = np.random.default_rng(0).standard_normal(20 * voice.HOP + voice.FRAME)
    back = voice.overlap_add(voice.spectra(wave))
    inside = slice(voice.FRAME, -voice.FRAME)
    assert np.allclose(back[inside], wave[inside])


def test_resonances_peak_at_the_formants():
    formants = np.array([[500.0, 1500.0, 2500.0, 3500.0, 4500.0]])
    gain = np.abs(voice.resonances(formants)[0])
    peaks = [k for k in range(1, len(gain) - 1) if gain[k - 1] < gain[k] > gain[k + 1]]
    assert np.allclose(voice.BINS[peaks], formants[0], atol=40)
    assert gain[0] == pytest.approx(1)


def test_a_longer_tract_lowers_the_formants():
    centroids = []
    for tract in (14.0, 20.0):
        rng = np.random.default_rng(5)
        tracks = voice.articulate(replace(PLAIN, tract=tract), 300, rng)
        centroids.append(tracks.formants.mean(axis=0))
    assert np.all(centroids[0] > centroids[1])


def test_smoothing_is_a_weighted_mean_of_neighbours():
    track = np.random.default_rng(0).standard_normal(30)
    weights = np.hanning(7)[1:-1] / np.hanning(7)[1:-1].sum()
    padded = np.pad(track, 2, mode="edge")
    assert np.allclose(voice.smooth(track, 5), lfilter(weights, 1, padded)[4:])


@pytest.mark.parametrize("snr", [5.0, 20.0])
def test_channel_has_its_snr_and_level(snr):
    speech = speak(PLAIN, 2.0, np.random.default_rng(0))
    place = channel.Channel((0.0,) * len(channel.POINTS), colour=1.0, snr=snr, level=25.0)
    heard = channel.transmit(speech, place, np.random.default_rng(1))
    clean = channel.transmit(speech, replace(place, snr=200.0), np.random.default_rng(1))
    noise = heard - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert 20 * np.log10(np.sqrt(np.mean(clean**2))) == pytest.approx(-25, abs=0.1)


def test_channel_never_clips():
    loud = np.zeros(RATE)
    loud[100] = 1.0
    place = channel.Channel((0.0,) * len(channel.POINTS), colour=0.0, snr=60.0, level=10.0)
    assert np.abs(channel.transmit(loud, place, np.random.default_rng(0))).max() <= channel.PEAK + 1e-12


def test_channel_response_is_heard():
    response = (0.0,) * 4 + (12.0,) + (0.0,) * 4
    noise = np.random.default_rng(0).standard_normal(4 * RATE)
    place = channel.Channel(response, colour=0.0, snr=200.0, level=40.0)
    flat = replace(place, response=(0.0,) * 9)
    spectra = [np.abs(np.fft.rfft(channel.transmit(noise, c, np.random.default_rng(0)))) for c in (place, flat)]
    gain = 20 * np.log10(spectra[0] / spectra[1])
    bins = np.fft.rfftfreq(len(noise), 1 / RATE)
    at = [np.median(gain[np.abs(bins - f) < 5]) for f in (channel.POINTS[4], channel.POINTS[0])]
    assert at[0] - at[1] == pytest.approx(12, abs=0.5)
