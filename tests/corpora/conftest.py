"""Small corpora in their published layouts, with real audio."""

import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from vgsr.corpora import voice
from vgsr.data import audio

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


@pytest.fixture
def recode() -> Callable[[Path, Path], None]:
    """Write a recording again as the kind of file that the second path's ending says."""
    formats = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".ogg": "OGG", ".opus": "OGG"}

    def write(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
        if target.suffix in formats:
            subtype = "OPUS" if target.suffix == ".opus" else None
            soundfile.write(target, samples, rate, format=formats[target.suffix], subtype=subtype)
            return
        layout = "mono" if samples.shape[1] == 1 else "stereo"
        with av.open(str(target), "w", format="adts" if target.suffix == ".aac" else "mp4") as container:
            stream = container.add_stream("aac", rate=rate, layout=layout)
            for start in range(0, len(samples), 1024):
                part = np.ascontiguousarray(samples[start : start + 1024].T)
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    return write


@pytest.fixture(scope="session")
def spoken() -> list[np.ndarray]:
    """Waveforms [T] at 16 kHz of five voices: real ones where those are here, else synthetic."""
    real = Path(__file__).resolve().parents[3] / "shared" / "data" / "librispeech-mini"
    files = [next(iter(sorted(speaker.glob("*.flac")))) for speaker in sorted(real.glob("*"))[:5] if speaker.is_dir()]
    if files:
        return [audio.read(file, 1.0, 4.0) for file in files]
    rng = np.random.default_rng(0)
    voices = [voice.Voice(90 + 30 * n, 0.2, 15 + n, (1, 1, 1, 1, 1), 0.6, -3, 0.02, 4.5) for n in range(5)]
    return [0.1 * voice.speak(one, 4.0, rng).astype(np.float32) for one in voices]


@pytest.fixture
def say(spoken: list[np.ndarray], recode: Callable[[Path, Path], None]) -> Record:
    """Write an excerpt of a voice as the kind of file that the path's ending says; the path decides which excerpt."""

    def write(path: Path, seconds: float = 1.1) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32("/".join(path.with_suffix("").parts[-3:]).encode()))
        wave, size = spoken[rng.integers(len(spoken))], round(seconds * 16000)
        wave = wave if size < len(wave) else np.resize(wave, size + 1)  # what is too short is said again
        start = rng.integers(len(wave) - size)
        whole = path if path.suffix in (".wav", ".flac") else path.with_suffix(".flac")
        soundfile.write(whole, wave[start : start + size], 16000)
        if whole != path:
            recode(whole, path)
            whole.unlink()

    return write


@pytest.fixture
def cnceleb_tree(tmp_path: Path, say: Record) -> Path:
    """Both releases of CN-Celeb in FLAC: four and two speakers who train, three who test, two of them enrolled."""
    root = tmp_path / "cnceleb"
    one, two = root / "CN-Celeb_flac", root / "CN-Celeb2_flac"
    trained = {"singing-01-001": 1.0, "singing-01-002": 1.1, "singing-01-003": 1.2, "singing-02-001": 0.3}
    for folder, speakers in ((one, ("id00000", "id00001", "id00003", "id00004")), (two, ("id10000", "id10001"))):
        for speaker in speakers:
            for name, seconds in (trained | {"speech-01-001": 3.1}).items():
                say(folder / "data" / speaker / f"{name}.flac", seconds)
    parts = {"id00800": ["singing-01-001", "vlog-01-002"], "id00801": ["speech-01-001"]}
    tests = {
        "id00800": ["singing-02-001", "live_broadcast-01-001"],
        "id00801": ["speech-02-001"],
        "id00802": ["play-01-001", "play-01-002"],
    }
    for speaker, names in parts.items():
        for name in names:
            say(one / "data" / speaker / f"{name}.flac", 1.0)
        say(one / "eval" / "enroll" / f"{speaker}-enroll.flac", 2.0)
    for speaker, names in tests.items():
        for name in names:
            say(one / "eval" / "test" / f"{speaker}-{name}.flac", 0.6)
            say(one / "data" / speaker / f"{name}.flac", 0.6)
    tables = {
        one / "dev" / "dev.lst": ["id00000", "id00001", "id00003", "id00004"],
        two / "spk.lst": ["id10000", "id10001"],
        one / "eval" / "lists" / "enroll.map": [
            " ".join([f"{speaker}-enroll", *(f"{speaker}/{name}.wav" for name in names)])
            for speaker, names in parts.items()
        ],
        one / "eval" / "lists" / "enroll.lst": [f"{speaker}-enroll enroll/{speaker}-enroll.wav" for speaker in parts],
        one / "eval" / "lists" / "test.lst": [f"test/{s}-{name}.wav" for s, names in tests.items() for name in names],
        one / "eval" / "lists" / "trials.lst": [
            f"{enrolled}-enroll test/{speaker}-{name}.wav {int(speaker == enrolled)}"
            for enrolled in parts
            for speaker, names in tests.items()
            for name in names
        ],
    }
    for file, lines in tables.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.fixture
def tree(tmp_path, record):
    """Ten speakers with two sessions of two utterances, and a face in each session."""
    root = tmp_path / "tree"
    for speaker in range(10):
        for session in ("a", "b"):
            for number in range(2):
                record(root / f"s{speaker}" / session / f"{number}.flac")
            (root / f"s{speaker}" / session / "face.jpg").write_bytes(b"a picture")
    return root
