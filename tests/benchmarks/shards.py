"""How fast crops come from loose files, from shards here and on S3, and from WeSpeaker's tar shards; by hand:

    python tests/benchmarks/shards.py FOLDER_OF_FLAC [--utterances 10000] [--repeats 5] [--wespeaker CHECKOUT]

The FLAC files are copied under other names until there are enough. Each reader runs in a process of its own, all of
them in turn, several times; the table has medians, warm. Crops are of 2.015 s, which is what WeSpeaker cuts for 200
frames. "ms of CPU" is of all threads of the process, for one crop; it hardly depends on what else the machine does.
Memory is what the process has grown by since its libraries were loaded. Shards are of 256 MB, and on S3 of 8 MB: S3 is
moto on loopback, which copies the whole object for each range that it is asked for.

WeSpeaker is run from a checkout: `wespeaker.dataset.dataset.Dataset` over shards of 1000 utterances with its buffer of
2500, without augmentation and features. What it imports and is not installed (kaldiio, lmdb) is replaced by empty
modules, and `torchaudio.load`, which newer versions give to torchcodec, by soundfile.
"""

import argparse
import json
import logging
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

SECONDS, CROPS, SHARD_UTTERANCES, BUFFER, BATCH = 2.015, 600, 1000, 2500, 512
READERS = {
    "loose FLAC": "flac/manifest",
    "loose WAV": "wav/manifest",
    "shards, this disk": "packed",
    "shards on S3, copied": "s3://bench/packed",
    "shards on S3, by range": "s3://bench/packed",
    "WeSpeaker tar shards": "tar",
}


def prepare(work: Path, source: Path, utterances: int) -> None:
    """Files, manifests, our shards and tar shards in `work`, where they are not there yet."""
    from vgsr.data import manifest as manifests
    from vgsr.data import shard_writing

    originals = sorted(source.rglob("*.flac"))
    for kind in ("flac", "wav"):
        folder, rows = work / kind, []
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(utterances):
            original = originals[number % len(originals)]
            file = folder / f"{number % 1000:03}" / f"{number:06}.{kind}"
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                if kind == "flac":
                    shutil.copyfile(original, file)
                else:
                    soundfile.write(file, *soundfile.read(original, dtype="int16"))
            info = soundfile.info(original)
            row = {"utterance_id": file.stem, "speaker": f"p{number}", "session": "s", "split": "train"}
            place = {"uri": str(file.relative_to(folder)), "start": 0.0, "sample_rate": info.samplerate}
            rows.append({**row, **place, "seconds": info.frames / info.samplerate})
        empty = {"faces": [], "problems": [], "trials": {}}
        manifests.write(folder / "manifest", corpus=kind, root=folder, synthetic=False, utterances=rows, **empty)
    made = manifests.read(work / "flac" / "manifest")
    for place, size in (work / "packed", 256_000_000), ("s3://bench/packed", 8_000_000):
        shard_writing.write(made, place, size)
    (work / "tar").mkdir(exist_ok=True)
    names = made.utterances["uri"].to_pylist()
    tars = [
        work / "tar" / f"shards_{first // SHARD_UTTERANCES:09}.tar" for first in range(0, len(names), SHARD_UTTERANCES)
    ]
    for number, file in enumerate(tars):
        if not file.exists():
            with tarfile.open(file, "w") as tar:
                for name in names[number * SHARD_UTTERANCES :][:SHARD_UTTERANCES]:
                    (work / "spk").write_text(f"p{Path(name).stem}")
                    tar.add(work / "spk", f"{Path(name).stem}.spk")
                    tar.add(work / "flac" / name, Path(name).name)
    (work / "tar" / "list").write_text("".join(f"{file}\n" for file in tars))


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Crops a second, and ms of CPU a crop."""
    wall, spent = time.perf_counter(), time.process_time()
    work()
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    return {"crops": CROPS / wall, "cpu": 1000 * spent / CROPS}


def measure_ours(place: str) -> dict[str, float]:
    from vgsr.data import manifest as manifests
    from vgsr.data import recordings

    before, began = resident(), time.perf_counter()
    manifest = manifests.read(place)
    table = manifest.split("train", ["uri", "seconds"])
    uris, seconds = table["uri"].combine_chunks(), table["seconds"].to_numpy()

    def crop(row: int) -> None:
        longest = float(seconds[row])
        start = random.random() * max(0.0, longest - SECONDS)
        recordings.read(manifest, uris[row].as_py(), start, min(SECONDS, longest))

    crop(0)
    started = time.perf_counter() - began
    order = np.random.default_rng().permutation(len(uris)).tolist()
    for row in order[:CROPS]:
        crop(row)
    ready = time.perf_counter() - began
    single = timed(lambda: [crop(row) for row in order[CROPS : 2 * CROPS]])
    with ThreadPoolExecutor(2) as pool:
        double = timed(lambda: list(pool.map(crop, order[:CROPS])))
    found = {"start": started, "warm": ready, "memory": resident() - before}
    return {**found, **single, "crops2": double["crops"], "spread": spread(np.array(order) // SHARD_UTTERANCES)}


def measure_wespeaker(checkout: str, listed: Path) -> dict[str, float]:
    import torch
    import torchaudio
    import torchaudio.compliance.kaldi

    def load(file: object) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate

    sys.modules.update({name: types.ModuleType(name) for name in ("kaldiio", "lmdb")})
    torchaudio.load = load
    sys.path.insert(0, checkout)
    from wespeaker.dataset.dataset import Dataset

    before, began = resident(), time.perf_counter()
    settings = {"shuffle": True, "shuffle_args": {"shuffle_size": BUFFER}, "speed_perturb": False, "frontend": "none"}
    settings |= {"num_frms": 200, "filter_args": {"min_num_frames": 100, "max_num_frames": 800}}
    dataset = Dataset("shard", str(listed), settings, {})
    dataset.set_epoch(random.randrange(1000))
    samples = iter(dataset)
    next(samples)
    started = time.perf_counter() - began
    keys = [int(next(samples)["key"]) for _ in range(BUFFER - 1)]
    ready = time.perf_counter() - began
    # What comes next is a buffer, filled before its first utterance is given out: only whole buffers tell the rate.
    wall, spent = time.perf_counter(), time.process_time()
    keys += [int(next(samples)["key"]) for _ in range(BUFFER)]
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    rates = {"crops": BUFFER / wall, "cpu": 1000 * spent / BUFFER, "crops2": float("nan")}
    found = {"start": started, "warm": ready, "memory": resident() - before}
    return {**found, **rates, "spread": spread(np.array(keys) // SHARD_UTTERANCES)}


def spread(parts: np.ndarray) -> float:
    """How many of the corpus' parts of a thousand utterances a batch has any of, on average."""
    batches = parts[: len(parts) // BATCH * BATCH].reshape(-1, BATCH)
    return float(np.mean([len(np.unique(batch)) for batch in batches]))


def measure(reader: str, work: Path, checkout: str) -> dict[str, float]:
    """One reader in a fresh process."""
    with_cache = {"VGSR_CACHE": str(work / "cache" / str(time.time_ns())), "VGSR_CACHE_SIZE": "100GB"}
    if "by range" in reader:
        with_cache["VGSR_CACHE_SIZE"] = "20MB"
    command = [sys.executable, __file__, "--one", reader, "--work", str(work), "--wespeaker", checkout, "-"]
    done = subprocess.run(command, env={**os.environ, **with_cache}, check=True, capture_output=True, text=True)
    shutil.rmtree(work / "cache", ignore_errors=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(reader: str, work: Path, checkout: str) -> None:
    import torch
    import torchaudio  # noqa: F401

    import vgsr.data.recordings  # noqa: F401

    torch.set_num_threads(1)
    place = READERS[reader]
    if reader.startswith("WeSpeaker"):
        found = measure_wespeaker(checkout, work / place / "list")
    else:
        found = measure_ours(place if "://" in place else str(work / place))
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, default=Path("/tmp/vgsr-shards-benchmark"))
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--wespeaker", default="")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return one(asked.one, asked.work, asked.wespeaker)

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "OMP_NUM_THREADS": "1",
        "VGSR_CACHE": str(asked.work / "cache"),
    }
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    import boto3

    boto3.client("s3", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(
        Bucket="bench"
    )
    prepare(asked.work, asked.source, asked.utterances)
    readers = [name for name in READERS if asked.wespeaker or not name.startswith("WeSpeaker")]
    rounds = [{name: measure(name, asked.work, asked.wespeaker) for name in readers} for _ in range(asked.repeats)]
    server.stop()
    heads = (
        "crops/s",
        "× loose FLAC",
        "ms of CPU",
        "crops/s, 2 threads",
        "first crop",
        "warm after",
        "memory",
        "parts a batch",
    )
    table = Table("reader", *heads, title=f"{asked.utterances:,} utterances, {asked.repeats} rounds, medians")
    for name in readers:
        middle = {key: statistics.median(found[name][key] for found in rounds) for key in rounds[0][name]}
        ratio = statistics.median(found[name]["crops"] / found["loose FLAC"]["crops"] for found in rounds)
        table.add_row(
            name,
            f"{middle['crops']:,.0f}",
            f"{ratio:.2f}",
            f"{middle['cpu']:.2f}",
            f"{middle['crops2']:,.0f}",
            f"{middle['start']:.2f} s",
            f"{middle['warm']:.1f} s",
            f"{middle['memory']:,.0f} MB",
            f"{middle['spread']:.1f} of {-(-asked.utterances // SHARD_UTTERANCES)}",
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
