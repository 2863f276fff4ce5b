"""Faces out of videos: videos of recordings in, frames of them as faces out, and a problem for each that is damaged.

Only the videos' headers are read here; whoever looks at a face reads the frame (`vgsr.teachers.frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vgsr.corpora.registry import CorpusError
from vgsr.corpora.rows import Face
from vgsr.corpora.scan import map_with_progress
from vgsr.data.manifest import Problem
from vgsr.teachers import frames
from vgsr.teachers.bank import BankError


@dataclass(frozen=True)
class Film:
    """A video of a speaker; its session is that of the recording it shows."""

    uri: str
    speaker: str
    session: str


def faces(root: Path, films: Sequence[Film], count: int) -> tuple[list[Face], list[Problem]]:
    """`count` frames of each video, evenly spread (one: its middle). CorpusError on a count that is none."""
    if not isinstance(count, int) or count < 0:
        raise CorpusError(f"frames={count}: must be how many frames of a video are faces, 0 for none")

    def look(film: Film) -> float | Problem:
        try:
            return frames.length(root / film.uri)
        except BankError as error:
            return Problem(film.uri, str(error))

    found, problems = [], []
    for film, seen in zip(films, map_with_progress(look, films if count else (), "looking at videos"), strict=False):
        if isinstance(seen, Problem):
            problems.append(seen)
            continue
        for number in range(count):
            uri = frames.at(film.uri, seen * (number + 0.5) / count)
            found.append(Face(uri, film.speaker, film.session, uri))
    return found, problems
