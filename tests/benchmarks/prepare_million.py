"""What it takes to prepare a corpus of VoxCeleb2's size, speech signals apart: seconds and memory. Run by hand:

    python tests/benchmarks/prepare_million.py FOLDER [UTTERANCES]

Makes FOLDER/vox2 with that many utterances (1.2 million where it is not said) of 5,994 speakers, eight a video, and as
many pictures, unless it is there already; prepares it in a process of its own, with all faces and without measuring;
prints seconds, on the clock and of the processors, and the peak of resident memory (VmHWM). The files are hard links
to a few short recordings, so what is read of them is warm: a cold disk takes longer. Remove FOLDER afterwards.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SPEAKERS, PER_VIDEO, LINKS = 5994, 8, 60_000  # ext4 takes 65,000 links to a file


def make(root: Path, count: int) -> None:
    """The tree in the published layout, converted to wav."""
    import numpy as np
    import soundfile

    originals = root.parent / "originals"
    originals.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(-(-count // LINKS)):
        soundfile.write(originals / f"{number}.wav", 0.1 * rng.standard_normal(16000 + number), 16000)
        (originals / f"{number}.jpg").write_bytes(b"a picture")
    videos = -(-count // SPEAKERS // PER_VIDEO)
    for number in range(count):
        speaker, place = number % SPEAKERS, number // SPEAKERS
        video = f"video{place // PER_VIDEO % videos:06d}"
        part = "test" if speaker % 50 == 0 else "dev"
        for kind, ending in (("wav", "wav"), ("jpg", "jpg")):
            folder = root / part / kind / f"id{speaker:05d}" / video
            if place % PER_VIDEO == 0:
                folder.mkdir(parents=True)
            os.link(originals / f"{number // LINKS}.{ending}", folder / f"{place % PER_VIDEO:05d}.{ending}")


def prepare(root: Path, out: Path) -> None:
    """Prepare the tree and say what came out."""
    from vgsr import corpora

    began = time.monotonic()
    report = corpora.prepare("voxceleb2", root, out, measure=False, faces_per_video=0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    for count in report.counts:
        print(f"{count.split}: {count.speakers:,} speakers, {count.utterances:,} utterances, {count.faces:,} faces")
    print(f"{len(report.problems):,} problems; trials {report.trials}")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(f"{time.monotonic() - began:.1f} s on the clock, {used.ru_utime + used.ru_stime:.1f} s of processors")
    print(f"peak {int(status['VmHWM'].split()[0]) / 1e6:.2f} GB resident")


def main(folder: Path, count: int) -> None:
    """Make the tree where there is none, and prepare it in another process."""
    root = folder / "vox2"
    if not root.exists():
        began = time.monotonic()
        make(root, count)
        print(f"{count:,} utterances and pictures linked in {time.monotonic() - began:.0f} s", flush=True)
    subprocess.run([sys.executable, __file__, str(folder), "prepare"], check=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2:] == ["prepare"]:
        prepare(place / "vox2", place / "manifest")
    else:
        main(place, int(sys.argv[2]) if len(sys.argv) > 2 else 1_200_000)
