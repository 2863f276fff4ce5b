"""What a corpus of VoxCeleb2's size costs a worker before it trains: memory and time. Run by hand:

    python tests/benchmarks/million.py [FOLDER [STEP,STEP]]

1.2 million rows of 5,994 speakers, eight utterances of each of 149,850 videos, one face each with an embedding of 512
dimensions. The rows are made up; behind all of them lies one recording of three seconds, which the folder of every
speaker leads to by links, so that every uri can be read. Each line is a process of its own: its peak of resident
memory (VmHWM), what of it is its own at the end (RssAnon: the rest are pages of libraries and files, which processes
share), and the seconds from its start, on the clock and of a processor: a busy machine has more of the former.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPEAKERS, VIDEOS, UTTERANCES, DIMENSION = 5994, 25, 8, 512
HELD_OUT = 94  # speakers of the validation list
LIST = 20_000  # its trials
STEPS = ("imports", "read", "rows of 4,000", "check", "build", "loaders", "ray")


def padded(values: np.ndarray, width: int) -> pa.Array:
    """Numbers as text, with zeros before them."""
    return pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0")


def rows() -> tuple[pa.Table, pa.Table, list[tuple[int, str, str]]]:
    """Utterances, faces, and the trials of the validation list."""
    count = SPEAKERS * VIDEOS * UTTERANCES
    number = np.arange(count)
    people, videos = number // (VIDEOS * UTTERANCES), number // UTTERANCES % VIDEOS
    speaker = pc.binary_join_element_wise("id", padded(people, 5), "")
    session = pc.binary_join_element_wise("video", padded(videos, 6), "")
    file = padded(number % UTTERANCES, 5)
    ids = pc.binary_join_element_wise(speaker, session, file, "/")
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "utterance_id": ids,
            "speaker": speaker,
            "session": session,
            "uri": pc.binary_join_element_wise(pc.binary_join_element_wise("aac", ids, "/"), ".flac", ""),
            "start": np.zeros(count),
            "seconds": np.full(count, 3.0),
            "sample_rate": pa.array(np.full(count, 16000), pa.int32()),
            "split": pa.array(np.where(people < SPEAKERS - HELD_OUT, "train", "validation")),
            "speech_snr": pa.array(rng.uniform(0, 50, count), pa.float32()),
            "speech_clipping": pa.array(rng.uniform(0, 20, count), pa.float32()),
            "speech_dnsmos": pa.nulls(count, pa.float32()),
        }
    )
    first = table.take(np.arange(0, count, UTTERANCES))
    faces = pa.table(
        {
            "face_id": pc.binary_join_element_wise("face", first["utterance_id"], "/"),
            "speaker": first["speaker"],
            "session": first["session"],
            "uri": pc.binary_join_element_wise(pc.binary_join_element_wise("faces", first["uri"], "/"), ".jpg", ""),
        }
    )
    enrol = count - 1 - rng.integers(0, HELD_OUT * VIDEOS * UTTERANCES, LIST)
    same = rng.random(LIST) < 0.5
    per = VIDEOS * UTTERANCES
    test = np.where(same, enrol // per * per, count - HELD_OUT * per) + rng.integers(0, per, LIST)
    names = [ids.take(pa.array(side)).to_pylist() for side in (enrol, test)]
    labels = (people[enrol] == people[test]).astype(int).tolist()
    return table, faces, list(zip(labels, *names, strict=True))


def make(folder: Path) -> None:
    """Write manifest, bank and recordings."""
    import soundfile

    from vgsr.data import manifest as manifests
    from vgsr.teachers import bank as banks

    root = folder / "corpus" / "aac"
    root.mkdir(parents=True)
    one = folder / "one.flac"
    soundfile.write(one, np.random.default_rng(0).standard_normal(48000) * 0.1, 16000)
    for video in range(VIDEOS):
        (folder / "speaker" / f"video{video:06d}").mkdir(parents=True)
        for utterance in range(UTTERANCES):
            (folder / "speaker" / f"video{video:06d}" / f"{utterance:05d}.flac").hardlink_to(one)
    for person in range(SPEAKERS):
        (root / f"id{person:05d}").symlink_to(folder / "speaker")
    utterances, faces, trials = rows()
    report("rows made up")
    manifest = manifests.write(
        folder / "manifest",
        corpus="million",
        root=folder / "corpus",
        synthetic=True,
        utterances=utterances,
        faces=faces,
        trials={"validation": trials},
        problems=[],
    )
    report("manifest written")
    embeddings = np.random.default_rng(0).standard_normal((len(faces), DIMENSION), np.float32)
    banks.write(
        folder / "bank.parquet",
        banks.build(manifest.faces, embeddings, model="m", digest="d", manifest_digest=manifest.digest),
    )
    report("bank written")


def experiment(folder: Path, loaders: int) -> "object":
    """A teacher, quality signals, ECAPA of 64 channels."""
    from vgsr import config

    return config.build(
        {
            "name": "million",
            "corpus": {"manifest": str(folder / "manifest")},
            "teacher": {"bank": str(folder / "bank.parquet")},
            "student": {"backbone": "ecapa", "channels": 64},
            "distill": {"method": "cosine"},
            "quality": {"signals": ["face_norm", "speech_snr"]},
            "train": {"batch": 32, "crop_seconds": 2.0, "loader_processes": loaders},
        }
    )


def run(step: str, folder: Path) -> None:
    """One step, in this process."""
    if step == "make":
        make(folder)
        return
    if step in ("read", "rows of 4,000"):
        from vgsr.data import manifest as manifests

        report("imports")
        found = manifests.read(folder / "manifest")
        report("manifest read")
        if step == "rows of 4,000":
            ids = found.named_trials("validation")["enrol"].to_pylist()[:4000]
            found.rows_of(ids, ["utterance_id", "uri", "start", "seconds"])
            report("4,000 utterances found")
        return
    if step == "ray":
        import vgsr.training.launch
    if step == "check":
        import vgsr.training.check
    import vgsr.training.loop
    from vgsr.data import batches
    from vgsr.training import learner
    from vgsr.training.session import LocalSession

    report("imports")
    if step == "imports":
        return
    loaders = 2 if step == "loaders" else 0
    settings = experiment(folder, loaders)
    if step == "check":
        vgsr.training.check.check(settings)
        report("checked")
        return
    with tempfile.TemporaryDirectory() as runs:
        session = LocalSession(Path(runs))
        built = learner.build(learner.resolve(settings), session)
        report("learner built")
        order = batches.WorkerBatches(len(built.crops), settings.train.batch, settings.seed, 0)
        source = batches.loader(built.crops, order, built.crops.collate, loaders, pin=False)
        batch = next(source)
        assert batch["readable"].all() and batch["has_face"].all(), "the corpus is not as it should be"
        report(f"first batch, {loaders} loaders")
        for process in children():
            report("  its loader", process)


def children() -> list[str]:
    """Processes under this one that have loaded torch: the loaders."""
    found, waiting = [], ["self"]
    while waiting:
        for task in Path("/proc", waiting.pop(), "task").iterdir():
            below = (task / "children").read_text().split()
            waiting += below
            found += [one for one in below if "torch" in Path("/proc", one, "maps").read_text()]
    return found


def report(what: str, process: str = "self") -> None:
    """A line of the table: peak and own memory of a process in MB, seconds since this one began."""
    lines = dict(line.split(":", 1) for line in Path("/proc", process, "status").read_text().splitlines())
    peak, own = (int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmHWM", "RssAnon"))
    print(json.dumps([what, peak, own, time.time() - float(sys.argv[3]), processor(process)]), flush=True)


def processor(process: str) -> float:
    """Seconds of a processor that a process has had."""
    fields = Path("/proc", process, "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()).absolute()
    print(f"{'process':<14} {'moment':<26} {'peak MB':>9} {'own MB':>9} {'seconds':>9} {'CPU s':>7}")
    steps = sys.argv[2].split(",") if len(sys.argv) == 3 else STEPS
    for step in steps if (folder / "bank.parquet").exists() else ("make", *steps):
        command = [sys.executable, __file__, step, str(folder), str(time.time())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for what, peak, own, seconds, busy in map(json.loads, done.stdout.splitlines()):
            print(f"{step:<14} {what:<26} {peak:9.0f} {own:9.0f} {seconds:9.1f} {busy:7.1f}", flush=True)
        if done.returncode:
            print(f"{step:<14} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        run(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
