"""What a recording is worth: seconds of speech, noise, clipping; and the rates at which real recordings are refused."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data import audio
from vgsr.speaker import judging

RATE = audio.RATE
noise = np.random.default_rng(0).standard_normal(4 * RATE)


def speech_by_loops(wave):
    """The definition again, sample by sample."""
    powers = []
    for start in range(0, len(wave) - 320 + 1, 320):
        frame = [float(x) for x in wave[start : start + 320]]
        mean = math.fsum(frame) / 320
        power = math.fsum((x - mean) ** 2 for x in frame) / 320
        if power > 2.0**-48:
            powers.append(power)
    if not powers:
        return 0.0
    loudest = sorted(powers, reverse=True)[:5][-1]
    return 0.02 * sum(10 * math.log10(power / loudest) >= -30 for power in powers)


@given(st.lists(st.tuples(st.integers(1, 900), st.sampled_from([0.0, 0.004, 0.02, 0.1, 0.5])), max_size=8))
def test_speech_is_what_the_definition_says(parts):
    wave = np.concatenate([np.zeros(0), *(level * noise[:length] for length, level in parts)])
    assert judging.speech_seconds(wave) == pytest.approx(speech_by_loops(wave))


def test_silence_offset_and_a_click_are_no_speech():
    speech = 0.1 * noise[: int(0.6 * RATE)]
    silence = np.zeros(RATE)
    assert judging.speech_seconds(np.concatenate([silence, speech, silence])) == pytest.approx(0.6)
    assert judging.speech_seconds(np.concatenate([silence, speech, silence + 0.3]) + 0.2) == pytest.approx(0.6)
    hiss = 1e-3 * noise[:RATE]
    assert judging.speech_seconds(np.concatenate([hiss, speech, hiss])) == pytest.approx(0.6)
    clicked = np.concatenate([hiss, speech, hiss])
    clicked[100:140] = 0.99
    assert judging.speech_seconds(clicked) == pytest.approx(0.6, abs=0.021)  # the click's own frame
    assert judging.speech_seconds(silence) == 0 and judging.speech_seconds(np.zeros(0)) == 0


@given(st.floats(1e-3, 10))
def test_the_level_of_a_recording_does_not_matter(factor):
    wave = np.concatenate([0.1 * noise[:RATE], 1e-3 * noise[:RATE]])
    assert judging.speech_seconds(factor * wave) == judging.speech_seconds(wave)


def test_a_verdict_needs_a_second_of_speech_without_much_noise(spoken):
    wave = spoken(1, 3.0)
    assert judging.examine(wave).problem is None and not judging.examine(wave).clipped
    short = judging.examine(np.concatenate([wave[: int(0.8 * RATE)], np.zeros(RATE, np.float32)]))
    assert short.seconds == 1.8 and "s of speech (a verdict needs 1 s)" in short.problem
    drowned = judging.examine(wave + wave.std() * noise[: len(wave)])
    assert drowned.problem.startswith("an estimated SNR of ")
    assert judging.examine(np.zeros(2 * RATE)).problem.startswith("0.0 s of speech")
    assert judging.examine(np.clip(wave, -0.02, 0.02)).clipped


def test_what_barely_lacks_something_does_not_read_as_enough():
    condition = judging.Condition(seconds=2.0, speech=0.98, snr=30.0, headroom=5.0)
    assert condition.problem.startswith("0.9 s")
    assert judging.Condition(2.0, 1.0, 30.0, 5.0).problem is None
    assert judging.Condition(2.0, 2.0, 4.98, 5.0).problem.startswith("an estimated SNR of 4.9 dB")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (58, "58 times more likely one speaker than two"),
        (1 / 58, "58 times more likely two speakers than one"),
        (1.4, "1.4 times more likely one speaker than two"),
        (12345, "12,345 times more likely one speaker than two"),
        (1, "as likely one speaker as two"),
        (1e30, "over 1,000,000 times more likely one speaker than two"),
    ],
)
def test_a_ratio_in_words(ratio, words):
    assert judging.in_words(math.log(ratio)) == words


@given(st.floats(-13, 13))
def test_the_words_have_the_ratio(llr):
    said = judging.in_words(llr)
    found = re.search(r"([\d,.]+) times more likely (one|two)", said)
    if found is None:
        assert abs(llr) < 0.05
    else:
        assert float(found[1].replace(",", "")) == pytest.approx(math.exp(abs(llr)), rel=0.06)
        assert (found[2] == "one") == (llr > 0)
    assert judging.in_words(1e4).startswith("over") and judging.in_words(-math.inf).startswith("over")


def test_ordinary_recordings_are_judged_and_drowned_ones_are_not(shared_data):
    """In-the-wild clips, acted and read speech; noise at 0 dB, one recording of it after the other."""
    found = [
        sorted((shared_data / place).glob(pattern))[::step]
        for place, pattern, step in (
            ("avspeech-mini/audio", "*.flac", 5),
            ("ravdess", "*/*.flac", 8),
            ("librispeech-mini", "*/*.flac", 2),
        )
    ]
    waves = [audio.read(file) for files in found for file in files]
    refused = np.array([judging.examine(wave).problem is not None for wave in waves])
    assert len(waves) > 300 and 0 < refused.mean() < 0.02
    disturbances = [audio.read(file) for file in sorted((shared_data / "noise").glob("noise*.wav"))]
    drowned = []
    for number, wave in enumerate(waves[::3]):
        added = np.resize(disturbances[number % len(disturbances)], len(wave))
        mixed = wave + added * np.sqrt(np.square(wave).mean() / np.square(added).mean())
        drowned.append("SNR" in (judging.examine(mixed).problem or ""))
    assert 0.5 < np.mean(drowned) < 1  # two of the five come in bursts and are taken for speech
