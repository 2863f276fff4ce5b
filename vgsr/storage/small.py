"""Small files of facts: a place in, all of it out, or a sentence about why it can be no such file."""

import json
from typing import Any

from vgsr.storage import access
from vgsr.storage.place import Place, StorageError

MOST = 1 << 26  # bytes


def read_small(place: Place, most: int = MOST) -> bytes:
    """The content of a file that is small if it is what it should be; StorageError for more than `most` bytes."""
    found = access.stat(place)
    if found is not None and found.size > most:
        raise StorageError(f"{place}: {found.size:,} bytes; no such file has more than {most:,}")
    return access.read_bytes(place)


def from_json(content: str | bytes) -> Any:
    """The values in a JSON text; ValueError where it is none, or one that no reader of it could hold."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(place: Place, most: int = MOST) -> dict[str, Any]:
    """The JSON mapping in a small file; StorageError as `read_small`, ValueError where there is none in it."""
    found = from_json(read_small(place, most))
    if not isinstance(found, dict):
        raise ValueError(f"no mapping of names, but {type(found).__name__}")
    return found
