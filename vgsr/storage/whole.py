"""Files that are there whole or not at all: whoever finds one may trust it, whenever its writer was stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, of the same suffix; it takes the place of `file` where nothing was raised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{os.getpid()}.{file.name}")  # not mkstemp's, which nobody else may read
    try:
        yield staging
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)
