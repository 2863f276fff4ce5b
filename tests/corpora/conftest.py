"""Small corpora in their published layouts, with real audio."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Record = Callable[..., None]


@pytest.fixture
def record() -> Record:
    """Write a recording of tones in pauses and noise; the path seeds what is in it."""

    def write(path: Path, seconds: float = 1.5, rate: int = 16000, channels: int = 1) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(sum(path.name.encode()))
        time = np.arange(round(seconds * rate)) / rate
        wave = np.sin(2 * np.pi * rng.uniform(100, 300) * time) * (np.sin(6 * time) > 0)
        wave = 0.3 * wave[:, None] + 0.01 * rng.standard_normal((len(time), channels))
        soundfile.write(path, wave, rate)

    return write


@pytest.fixture
def damage(record: Record) -> Callable[[Path], None]:
    """Write a FLAC whose header is fine and whose frames are not."""

    def write(path: Path) -> None:
        record(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 4 :] = bytes(len(content) - len(content) // 4)
        path.write_bytes(content)

    return write
