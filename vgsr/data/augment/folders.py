"""Folders of recordings: a folder in, its audio files in an order that is the same on every machine out."""

import os
from collections.abc import Sequence
from pathlib import Path

from vgsr.data.audio import AudioError
from vgsr.data.manifest import Problem

SUFFIXES = (".wav", ".flac")


def listing(folder: str | Path) -> list[Path]:
    """The audio files anywhere under `folder`, sorted by their path in it; none of them is opened."""
    root, found = Path(folder), []
    for place, _, names in os.walk(root):
        below = Path(place).relative_to(root).as_posix() + "/"
        found += [below.removeprefix("./") + name for name in names if name.lower().endswith(SUFFIXES)]
    return [path for path in map(root.joinpath, sorted(found)) if path.is_file()]


def nothing_in(folder: str | Path, problems: Sequence[Problem]) -> AudioError:
    """The error to raise where a folder has no recording that can be used."""
    if not Path(folder).is_dir():
        return AudioError(folder, "no such folder")
    refused = "".join(f"; {problem.uri}: {problem.reason}" for problem in problems[:3])
    return AudioError(folder, f"no usable .wav or .flac in it ({len(problems)} refused{refused})")
