"""The step every corpus shares: the files themselves are looked at.

In: the utterances and faces a reader found. Out: those that can be used, with length, rate and quality signals, and
a `Problem` for each of the others. The files are read by a pool of threads, one a core; the results keep the
order given.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vgsr import storage
from vgsr.corpora.rows import Columns, Face, Utterance
from vgsr.data import recordings, speech
from vgsr.data.audio import AudioError
from vgsr.data.manifest import Problem
from vgsr.teachers import frames

OVERSHOOT = 0.5  # s, as in Kaldi's extract-segments
BATCH = 2048  # items in the pool at once: a million waiting ones would take a gigabyte
SIGNALS = ("speech_snr", "speech_clipping", "speech_dnsmos")
SHARE = 16  # items that a thread takes at once: to hand one over costs as much as to read a header


class Heard(NamedTuple):
    """The speech signals of an utterance, None where it cannot be used; what is read for it, in s; what is lost."""

    signals: dict[str, float | None] | None
    uri: str
    seconds: float
    problems: list[Problem]


T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_with_progress(function: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    """`function` of each item, in order, by a pool of threads, with a progress bar on stderr."""
    return list(stream(function, items, len(items), title))


def stream(function: Callable[[T], R], items: Iterable[T], count: int, title: str) -> Iterator[R]:
    """`map_with_progress` for any number of items: neither they nor the results are held."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ThreadPoolExecutor(cores())
    source = iter(items)

    def work(share: Sequence[T]) -> list[R]:
        return [function(item) for item in share]

    console = Console(stderr=True)
    # Where nobody looks, a bar that vanishes would leave empty lines.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=count)
        try:
            while batch := list(islice(source, BATCH)):
                shares = [batch[start : start + SHARE] for start in range(0, len(batch), SHARE)]
                for results in pool.map(work, shares):
                    yield from results
                    progress.advance(task, len(results))
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt does not wait for what has not begun


def headers(root: Path, utterances: Columns[Utterance], shortest: float) -> tuple[Columns[Utterance], list[Problem]]:
    """Length and rate of every file from its header; missing, unreadable, empty ones and those under `shortest` s are
    problems.

    Of several files with the same utterance id the first is kept. An utterance that has a length already is a part of
    its recording: what it has past the end, up to OVERSHOOT s, is cut off, and with more of that it is a problem.
    """
    found, problems = _first(utterances)

    def look(part: tuple[str, str, float, float]) -> tuple[float, int] | Problem:
        name, uri, start, length = part
        if recordings.JOINT in uri and os.path.lexists(os.path.join(root, uri)):
            return Problem(uri, f"its name holds {recordings.JOINT}, which stands between joined recordings; rename it")
        try:
            info = recordings.probe_loose(str(root), uri)
        except AudioError as error:
            return Problem(uri, error.reason)
        if start + length > info.seconds + OVERSHOOT:
            return Problem(uri, f"{name} ends at {start + length:.2f} s, the recording at {info.seconds:.2f} s")
        seconds = min(length or info.seconds, max(0.0, info.seconds - start))
        if seconds < shortest:
            return Problem(uri, f"too short ({seconds:.2f} s; at least {shortest:g} s)")
        return seconds, info.sample_rate

    seconds, rates, good = np.zeros(len(found)), np.zeros(len(found), np.int32), np.zeros(len(found), bool)
    parts = zip(*(_items(found, name) for name in ("utterance_id", "uri", "start", "seconds")), strict=True)
    for row, result in enumerate(stream(look, parts, len(found), "reading headers")):
        if isinstance(result, Problem):
            problems.append(result)
        else:
            seconds[row], rates[row] = result
            good[row] = True
    return found.filled(seconds=pa.array(seconds), sample_rate=pa.array(rates)).where(pa.array(good)), problems


def signals(
    root: Path, utterances: Columns[Utterance], rate: speech.Rate | None = None
) -> tuple[Columns[Utterance], list[Problem]]:
    """Decode every utterance and measure its SNR and clipping; what cannot be decoded becomes a problem.

    Of a joined recording that is for training or validation, only the parts that cannot be decoded are left out.
    `rate` also rates each waveform [T] (16 kHz) as a listener would; without it `speech_dnsmos` stays None.
    """

    def listen(spoken: tuple[str, float, float, str]) -> Heard:
        uri, start, length, split = spoken
        lost: list[Problem] = []
        try:
            wave = recordings.loose(str(root), uri, start, length)
        except AudioError as error:
            if recordings.JOINT not in uri or split == "test":
                return Heard(None, uri, length, [Problem(uri, error.reason)])
            uri, lost = _decodable(root, uri)
            if not uri:
                return Heard(None, uri, length, lost)
            length, wave = recordings.probe_loose(str(root), uri).seconds, recordings.loose(str(root), uri)
        heard = speech.measure(wave, rate)
        return Heard(heard, uri, length, lost if heard else [*lost, Problem(uri, speech.SILENT)])

    measured = {name: np.full(len(utterances), np.nan) for name in SIGNALS}
    good, problems, mended = np.zeros(len(utterances), bool), [], {}
    spoken = zip(*(_items(utterances, name) for name in ("uri", "start", "seconds", "split")), strict=True)
    for row, (heard, uri, length, lost) in enumerate(
        stream(listen, spoken, len(utterances), "measuring speech quality")
    ):
        problems += lost
        good[row] = heard is not None
        if heard and lost:
            mended[row] = uri, length
        for name, value in (heard or {}).items():
            measured[name][row] = np.nan if value is None else value
    columns: dict[str, Any] = {name: _known(values) for name, values in measured.items()}
    if mended:
        kept = zip(*(utterances.column(name).to_pylist() for name in ("uri", "seconds")), strict=True)
        uris, lengths = zip(*(mended.get(row, each) for row, each in enumerate(kept)), strict=True)
        columns |= {"uri": pa.array(uris, pa.string()), "seconds": pa.array(lengths, pa.float64())}
    return utterances.filled(**columns).where(pa.array(good)), problems


def _decodable(root: Path, uri: str) -> tuple[str, list[Problem]]:
    """What is left of a joined recording without the parts that cannot be decoded, and those."""
    left, problems = [], []
    for part in recordings.parts(uri):
        try:
            recordings.loose(str(root), part)
            left.append(part)
        except AudioError as error:
            problems.append(Problem(part, error.reason))
    return recordings.joined(left), problems


def pictures(root: Path, faces: Columns[Face], speakers: pa.Array) -> tuple[Columns[Face], list[Problem]]:
    """The faces of `speakers` whose file is there and not empty; the teacher looks into the pictures.

    A uri with a scheme (`bank://`) is no file and is kept as it is.
    """
    faces = faces.ordered("face_id", "uri")
    recorded = pc.is_in(faces.column("speaker"), value_set=speakers)
    problems = [
        Problem(face.uri, f"speaker {face.speaker} has no recording that can be used")
        for face in faces.where(pc.invert(recorded))
    ]
    faces = faces.where(recorded)

    def look(uri: str) -> str | None:
        if uri.startswith("bank://"):
            return None
        try:
            storage.inside(root, uri)
        except storage.StorageError as error:
            return str(error)
        try:
            return None if os.stat(os.path.join(root, frames.parted(uri)[0])).st_size else "empty file"
        except OSError:
            return "no such file"

    good = np.ones(len(faces), bool)
    looked = stream(look, _items(faces, "uri"), len(faces), "looking for faces")
    for row, reason in enumerate(looked):
        if reason:
            problems.append(Problem(faces.column("uri")[row].as_py(), reason))
            good[row] = False
    return faces.where(pa.array(good)), problems


def _first(utterances: Columns[Utterance]) -> tuple[Columns[Utterance], list[Problem]]:
    """The utterances sorted by id, without those whose id has come before."""
    utterances = utterances.ordered("utterance_id", "uri")
    table = utterances.table
    ids = table["utterance_id"]
    again = np.zeros(len(table), bool)
    again[1:] = pc.equal(ids[1:], ids[:-1]).to_numpy()
    problems, kept = [], 0
    for row in np.flatnonzero(again).tolist():
        kept = row - 1 if not again[row - 1] else kept
        name, used = ids[row].as_py(), table["uri"][kept].as_py()
        problems.append(Problem(table["uri"][row].as_py(), f"second recording of utterance {name}; {used} is used"))
    return utterances.where(pa.array(~again)), problems


def _items(rows: Columns[Any], name: str) -> Iterator[Any]:
    """The values of one field, a batch of them as objects at a time."""
    batches = rows.table.select([name]).to_batches(BATCH)
    return chain.from_iterable(batch.column(0).to_pylist() for batch in batches)


def _known(values: np.ndarray) -> pa.Array:
    """Quality signals [rows] as a column, null where they are NaN."""
    unknown = np.isnan(values)
    return pa.array(np.where(unknown, 0, values).astype(np.float32), mask=unknown)
