"""The step every corpus shares: the files themselves are looked at.

In: the utterances and faces a reader found. Out: those that can be used, with length, rate and quality signals, and
a `Problem` for each of the others. The files are read by a pool of threads, one a core; the results keep the
order given.
"""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vgsr.corpora.registry import Face, Rows, Utterance
from vgsr.data import audio
from vgsr.data.clipping import headroom
from vgsr.data.manifest import Problem
from vgsr.data.snr import wada_snr

SHORTEST = 0.5  # s
BATCH = 2000  # items in the pool at once: a million waiting ones would take a gigabyte

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_with_progress(function: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    """`function` of each item, in order, by a pool of threads, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ThreadPoolExecutor(cores())
    results: list[R] = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=len(items))
        try:
            for start in range(0, len(items), BATCH):
                for result in pool.map(function, items[start : start + BATCH]):
                    results.append(result)
                    progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt does not wait for what has not begun
    return results


def headers(root: Path, utterances: Rows) -> tuple[list[Utterance], list[Problem]]:
    """Length and rate of every file from its header; missing, unreadable, empty, short ones are problems.

    Of several files with the same utterance id the first is kept.
    """
    first: dict[str, Utterance] = {}
    problems = []
    for utterance in sorted(utterances, key=lambda u: (u.utterance_id, u.uri)):
        kept = first.setdefault(utterance.utterance_id, utterance)
        if kept is not utterance:
            reason = f"second recording of utterance {utterance.utterance_id}; {kept.uri} is used"
            problems.append(Problem(utterance.uri, reason))

    def look(utterance: Utterance) -> Utterance | Problem:
        try:
            info = audio.probe(root / utterance.uri)
        except audio.AudioError as error:
            return Problem(utterance.uri, error.reason)
        if info.seconds < SHORTEST:
            return Problem(utterance.uri, f"too short ({info.seconds:.2f} s; at least {SHORTEST} s)")
        return replace(utterance, seconds=info.seconds, sample_rate=info.sample_rate)

    return _sorted_out(map_with_progress(look, list(first.values()), "reading headers"), problems)


def signals(
    root: Path, utterances: Rows, rate: Callable[[np.ndarray], float] | None = None
) -> tuple[list[Utterance], list[Problem]]:
    """Decode every utterance and measure its SNR and clipping; what cannot be decoded becomes a problem.

    `rate` also rates each waveform [T] (16 kHz) as a listener would; without it `speech_dnsmos` stays None.
    """

    def listen(utterance: Utterance) -> Utterance | Problem:
        try:
            wave = audio.read(root / utterance.uri, utterance.start, utterance.seconds)
        except audio.AudioError as error:
            return Problem(utterance.uri, error.reason)
        if not wave.any():
            return Problem(utterance.uri, "digital silence: every sample is 0")
        return replace(
            utterance,
            speech_snr=_known(wada_snr(wave)),
            speech_clipping=_known(headroom(wave)),
            speech_dnsmos=_known(rate(wave)) if rate else None,
        )

    return _sorted_out(map_with_progress(listen, utterances, "measuring speech quality"), [])


def pictures(root: Path, faces: Sequence[Face], speakers: Collection[str]) -> tuple[list[Face], list[Problem]]:
    """The faces of `speakers` whose file is there and not empty; the teacher looks into the pictures.

    A uri with a scheme (`bank://`) is no file and is kept as it is.
    """
    kept, problems = [], []
    for face in sorted(faces, key=lambda f: f.face_id):
        path = root / face.uri
        if face.speaker not in speakers:
            problems.append(Problem(face.uri, f"speaker {face.speaker} has no recording that can be used"))
        elif "://" in face.uri or (path.is_file() and path.stat().st_size > 0):
            kept.append(face)
        else:
            problems.append(Problem(face.uri, "empty file" if path.is_file() else "no such file"))
    return kept, problems


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _sorted_out(
    results: Sequence[Utterance | Problem], problems: list[Problem]
) -> tuple[list[Utterance], list[Problem]]:
    kept = [result for result in results if isinstance(result, Utterance)]
    return kept, problems + [result for result in results if isinstance(result, Problem)]
