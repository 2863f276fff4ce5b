"""Recordings that disturb: a small folder laid out like MUSAN, and one of impulse responses."""

import numpy as np
import pytest
import soundfile

from vgsr.data.audio import RATE


@pytest.fixture(scope="session")
def musan(tmp_path_factory):
    """Noise long, short and half silent; seven voices; music in a folder of its own. All at 16 kHz, 32-bit floats."""
    folder, rng = tmp_path_factory.mktemp("musan"), np.random.default_rng(5)
    lengths = {"noise/long.wav": 6.0, "noise/short.wav": 0.3, "noise/gaps.wav": 8.0, "music/deep/one.wav": 4.0}
    lengths |= {f"speech/voice{number}.wav": 2.0 + 0.25 * number for number in range(7)}
    for name, seconds in lengths.items():
        wave = (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)
        if "gaps" in name:
            wave[: len(wave) // 2] = 0
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, wave, RATE, "FLOAT")
    return folder


@pytest.fixture(scope="session")
def impulses(tmp_path_factory):
    """Two decaying responses, the second with some silence before its direct path."""
    folder, rng = tmp_path_factory.mktemp("rirs"), np.random.default_rng(6)
    for number, silence in enumerate((0, 50)):
        tail = rng.standard_normal(400) * np.exp(-np.arange(400) / 60) * 0.3
        tail[0] = 2.0
        soundfile.write(folder / f"room{number}.wav", np.append(np.zeros(silence), tail), RATE, "FLOAT")
    return folder
