"""How fast whole corpora are worked on: faces, speech quality, DNSMOS, embeddings; in one process, by 1 and 2 actors.

    RAY_ADDRESS=local python tests/benchmarks/extraction.py MANIFEST MODEL [ROWS] [ROUNDS]

The first ROWS faces and utterances (a quarter of them for DNSMOS) are worked on ROUNDS times in each way; medians. The
start (of actors and what they load, with the cluster running already) is what passes before the first part is begun;
it is told apart, and what is over it is the throughput. That of the cluster itself is measured once.
"""

import statistics
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from vgsr import speaker
from vgsr.corpora.scan import cores
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.extraction import parts, pool
from vgsr.extraction.actor import Worker
from vgsr.extraction.faces import Faces
from vgsr.extraction.parts import Part, Work
from vgsr.extraction.speech import Speech
from vgsr.extraction.students import FILES, Students
from vgsr.fetch import checkpoint
from vgsr.teachers import weights
from vgsr.teachers.extract import teacher_files

PART = 8  # rows: with few rows, the last parts would leave one of two actors idle


def main(place: str, model: str, rows: int = 256, rounds: int = 3) -> None:
    """Print the table."""
    parts.PART = PART
    student = speaker.load(checkpoint(model))
    files = {name: (student.folder / name).read_bytes() for name in FILES}
    dnsmos = weights.locate(weights.DNSMOS).read_bytes()
    works: list[tuple[str, Work, int]] = [
        ("teacher bank (faces)", Faces(teacher_files(), "benchmark"), rows),
        ("speech quality", Speech(None), rows),
        ("DNSMOS", Speech(dnsmos), rows // 4),
        ("student embeddings", Students(files, student.digest), rows),
    ]
    begun = time.monotonic()
    pool.room(gpu=False)
    console, table = Console(width=100), Table("work", "way", "rows/s", "audio s/s", "start s", "against 1 actor")
    console.print(f"the cluster starts in {time.monotonic() - begun:.1f} s; {cores()} cores; parts of {PART} rows")
    for name, work, count in works:
        with tempfile.TemporaryDirectory() as folder:
            corpus = first(manifests.read(place), count, folder)
            seconds = 0.0 if isinstance(work, Faces) else sum(corpus.utterances["seconds"].to_pylist())
            one = 0.0
            for way, actors in ((f"this process, {cores()} threads", 0), ("1 actor", 1), ("2 actors", 2)):
                figures = [timed(work, corpus, actors) for _ in range(rounds)]
                start, took = (statistics.median(column) for column in zip(*figures, strict=True))
                one = took if actors == 1 else one
                audio = f"{seconds / took:.1f}" if seconds else "–"
                gain = f"{one / took:.2f}" if actors else ""
                table.add_row(name, way, f"{count / took:.1f}", audio, f"{start:.1f}", gain)
    console.print(table)


def first(whole: Manifest, count: int, folder: str) -> Manifest:
    """The first rows of a manifest."""
    return manifests.write(
        folder,
        corpus=whole.corpus,
        root=whole.location,
        synthetic=whole.synthetic,
        utterances=whole.utterances.slice(0, count),
        faces=whole.faces.slice(0, count),
        trials={},
        problems=[],
    )


def timed(work: Work, corpus: Manifest, actors: int) -> tuple[float, float]:
    """Seconds until the first part is begun, and seconds from there to the last part's end."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        todo = parts.cut(work.key, work.rows(corpus))
        ends = list(finished(work, corpus, folder, todo, actors))
        start = min(end - took for end, took in ends) - begun
        return start, max(end for end, _ in ends) - begun - start


def finished(work: Work, corpus: Manifest, folder: str, todo: list[Part], actors: int):  # type: ignore[no-untyped-def]
    """When each part was finished, and what it took."""
    if actors:
        for summary in pool._on_ray(work, corpus.place, folder, todo, actors, False, Console()):
            yield time.monotonic(), summary.seconds
    else:
        worker = Worker(work, corpus, folder, cores(), False)
        for part in todo:
            took = worker.part(part).seconds
            yield time.monotonic(), took


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
