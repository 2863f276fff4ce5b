"""Files that are there whole or not at all: whoever finds one may trust it, whenever its writer was stopped."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".writing-"


@contextmanager
def written(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, of the same suffix; it takes the place of `file` where nothing was raised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Not mkstemp's, which nobody else may read; and two nodes that share a disk may write the same file.
    staging = file.with_name(f"{STAGING}{secrets.token_hex(4)}-{file.name}")
    try:
        yield staging
        os.replace(staging, file)
    finally:
        staging.unlink(missing_ok=True)


def is_staging(file: Path) -> bool:
    """Whether a file is one that is being written, or was when its writer was killed."""
    return file.name.startswith(STAGING)
