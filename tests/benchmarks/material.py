"""What the speed benchmarks work on: one corpus in the layout of each toolkit, disturbances, faces; and stopwatches.

Recordings are copied under other names until there are enough, each cut or repeated to 8 s (VoxCeleb's mean is 8.2 s).
Noise has MUSAN's layout and about its recordings' mean lengths (24 s noise, 232 s music, 507 s speech; Snyder et al.
2015), and is drawn: what it sounds like changes no time, its length does. Rooms are decaying noise. Every utterance has
a face in a bank of random vectors. 0.3 of the crops get noise and 0.3 a room, as in WeSpeaker's recipes (aug_prob 0.6,
half of each); ours mixes 3 to 7 voices where theirs take one.
"""

import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from vgsr import config
from vgsr.config import Experiment
from vgsr.data import manifest as manifests
from vgsr.data import shard_writing
from vgsr.evaluation.lists import VALIDATION
from vgsr.teachers import bank as banks

RATE, SECONDS, SHARD_UTTERANCES, FACE = 16_000, 8, 25, 512
SPEAKERS = 1211  # of VoxCeleb1's training part
NOISE = {"noise": (9, 24), "music": (7, 232), "speech": (4, 507)}  # recordings, seconds; 930 : 660 : 426 in MUSAN
AUDIO = Path(__file__).resolve().parents[3] / "shared" / "data" / "librispeech-mini"
TAUGHT = {
    "distill": {"method": "rkd_angle", "weight": 65, "margin": {"unit": "quantile", "value": 0.05}},
    "quality": {"signals": ["face_norm", "speech_snr"]},
}


@dataclass(frozen=True)
class Material:
    """A folder of everything; made once, by `make`."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """FLAC in shards, as `vgsr shards` writes them."""
        return self.folder / "packed"

    def speakers(self) -> list[str]:
        return (self.folder / "speakers").read_text().split()


def make(folder: Path, audio: Path, utterances: int) -> Material:
    """Write what is not there yet, and say what it is."""
    originals = sorted(audio.rglob("*.flac"))
    if not originals:
        sys.exit(f"{audio}: no FLAC recordings; name a folder of them with --audio (LibriSpeech's, say)")
    folder = folder / str(utterances)
    if not (folder / "done").exists():
        rows = _recordings(folder, originals, utterances)
        _manifest(folder, rows)
        _disturbances(folder)
        _bank(folder, rows)
        _others(folder, rows)
        (folder / "done").touch()
    return Material(folder)


def _recordings(folder: Path, originals: Sequence[Path], utterances: int) -> list[dict[str, Any]]:
    rng, rows = np.random.default_rng(0), []
    for number in range(utterances):
        name, place = f"{number:06}", f"{number // 1000:03}"
        wave = soundfile.read(originals[number % len(originals)], dtype="int16")[0]
        wave = np.resize(np.roll(wave, number), SECONDS * RATE)
        for kind in ("flac", "wav"):
            (folder / kind / place).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / kind / place / f"{name}.{kind}", wave, RATE)
        row = {"utterance_id": name, "speaker": f"p{number % SPEAKERS:05}", "session": "s", "split": "train"}
        at = {"uri": f"{place}/{name}.flac", "start": 0.0, "seconds": float(SECONDS), "sample_rate": RATE}
        rows.append({**row, **at, "speech_snr": float(rng.normal(20, 5))})
    return rows


def _manifest(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The last four speakers are those of a short validation."""
    held = sorted({row["speaker"] for row in rows})[-4:]
    rows = [{**row, "split": "validation"} if row["speaker"] in held else row for row in rows]
    names = [row["utterance_id"] for row in rows if row["split"] == "validation"]
    by = {row["utterance_id"]: row["speaker"] for row in rows}
    trials = [(int(by[a] == by[b]), a, b) for a in names for b in names]
    loose = manifests.write(
        folder / "flac" / "manifest",
        corpus="benchmark",
        root=folder / "flac",
        synthetic=False,
        utterances=rows,
        faces=[],
        trials={VALIDATION: trials},
        problems=[],
    )
    shard_writing.write(loose, folder / "packed", 256_000_000)


def _disturbances(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for kind, (count, seconds) in NOISE.items():
        (folder / "musan" / kind / "x").mkdir(parents=True, exist_ok=True)
        for number in range(count):
            wave = rng.normal(0, 3000, seconds * RATE).astype(np.int16)
            soundfile.write(folder / "musan" / kind / "x" / f"{kind}-{number}.wav", wave, RATE)
    (folder / "rirs").mkdir(exist_ok=True)
    for number in range(40):
        decay = rng.uniform(0.3, 1.0)  # seconds to -60 dB
        time_ = np.arange(round(decay * RATE)) / RATE
        wave = rng.normal(size=len(time_)) * 10 ** (-3 * time_ / decay)
        soundfile.write(folder / "rirs" / f"{number}.wav", 0.9 * wave / np.abs(wave).max(), RATE)


def _bank(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A face an utterance."""
    columns = {
        "face_id": [row["utterance_id"] for row in rows],
        "speaker": [row["speaker"] for row in rows],
        "session": [row["session"] for row in rows],
    }
    vectors = np.random.default_rng(2).normal(size=(len(rows), FACE)).astype(np.float32)
    origin = {"model": "random", "digest": "0" * 64, "manifest_digest": "0" * 64}
    banks.write(folder / "bank.parquet", banks.build(pa.table(columns), vectors, **origin))


def _others(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Tar shards as WeSpeaker's, and 3D-Speaker's tables."""
    (folder / "speakers").write_text("\n".join(sorted({row["speaker"] for row in rows})))
    for kind in ("wav", "flac"):
        (folder / f"tar-{kind}").mkdir(exist_ok=True)
        tars = []
        for first in range(0, len(rows), SHARD_UTTERANCES):
            tars.append(folder / f"tar-{kind}" / f"shards_{first // SHARD_UTTERANCES:09}.tar")
            with tarfile.open(tars[-1], "w") as tar:
                for row in rows[first:][:SHARD_UTTERANCES]:
                    (folder / "spk").write_text(row["speaker"])
                    name = row["utterance_id"]
                    tar.add(folder / "spk", f"{name}.spk")
                    tar.add((folder / kind / row["uri"]).with_suffix(f".{kind}"), f"{name}.{kind}")
        (folder / f"tar-{kind}.list").write_text("".join(f"{tar}\n" for tar in tars))
        lines = [
            f"{row['utterance_id']},{(folder / kind / row['uri']).with_suffix(f'.{kind}')},{row['speaker']}\n"
            for row in rows
        ]
        (folder / f"{kind}.csv").write_text("ID,path,spk\n" + "".join(lines))
    for name, pattern in ("musan", "*/*/*.wav"), ("rirs", "*.wav"):
        files = sorted((folder / name).glob(pattern))
        (folder / f"{name}.scp").write_text("".join(f"{file.relative_to(folder / name)} {file}\n" for file in files))


def experiment(material: Material, student: str, batch: int, seconds: float, **changes: Any) -> Experiment:
    """The field's recipe (vgsr/recipes/vox2_resnet34.yaml) on this material, without speeds; "key.sub" as in a file."""
    values = {
        "name": "benchmark",
        "corpus": {"manifest": str(material.manifest)},
        "student": {"backbone": student},
        "classification": {"loss": "aam", "scale": 32, "margin": 0.2},
        "teacher": {"bank": str(material.folder / "bank.parquet")},
        "augment": {
            "noise": str(material.folder / "musan"),
            "rirs": str(material.folder / "rirs"),
            "noise_probability": 0.3,
            "rir_probability": 0.3,
            "exclusive": True,
        },
        "train": {
            "epochs": 1,
            "batch": batch,
            "crop_seconds": seconds,
            "optimiser": "sgd",
            "learning_rate": 0.01,
            "gradient_clip": None,
        },
    }
    return config.build(values, changes)


Turn = Callable[[], int]  # does some work and says of how many utterances


def turns(systems: Mapping[str, Turn], repeats: int) -> dict[str, list[float]]:
    """Utterances a second, a turn each: all systems in turn, forwards and backwards, after one to warm up."""
    for work in systems.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(repeats):
        for name in list(systems)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            count = systems[name]()
            rates[name].append(count / (time.perf_counter() - start))
    return rates


def median(rates: Sequence[float]) -> float:
    return statistics.median(rates)


def ratio(rates: Sequence[float], others: Sequence[float]) -> str:
    """Median and range of the ratio, turn by turn."""
    each = sorted(a / b for a, b in zip(rates, others, strict=True))
    return f"{statistics.median(each):.2f} ({each[0]:.2f}–{each[-1]:.2f})"
