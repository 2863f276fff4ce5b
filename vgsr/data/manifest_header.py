"""What `manifest.json` may say: each of its values in, the same out, or why no manifest has such a one.

A header may come from anybody. It says where recordings are read from (`root`) and which tables lie beside it.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from vgsr.data.checks import ManifestError, named

HEADER = "manifest.json"
TABLES = ("utterances.parquet", "faces.parquet", "problems.parquet")
LISTS = ("trials", "enrolments")
MOST = 1 << 24  # bytes
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_root(root: object) -> str:
    """Where the corpus lies: anywhere that its owner says, but in plain words, and a relative one is in the folder."""
    if not isinstance(root, str) or not root or CONTROL.search(root):
        raise ValueError(f"its root is {str(root)[:100]!r}, which is no folder")
    absolute = root.startswith(("/", "s3://"))
    if ("://" in root and not root.startswith("s3://")) or (not absolute and ".." in PurePosixPath(root).parts):
        raise ValueError(f"its root is {root[:100]!r}: a path in its folder, an absolute one, or s3://BUCKET/KEY")
    return root


def checked_digest(digest: object) -> str:
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"a digest is {str(digest)[:100]!r}, not 64 hexadecimal digits")
    return digest


def checked_files(place: str, files: Any) -> dict[str, str | None]:
    """The tables that a header names, which are those that a manifest has; ManifestError for any other."""
    found: dict[str, str | None] = {}
    for name, digest in dict(files).items():
        kind, _, rest = name.removesuffix(".parquet").partition("/")
        if not name.endswith(".parquet") or (rest and kind not in LISTS) or (not rest and name not in TABLES):
            raise ManifestError(f"{place}: refused: {HEADER} names a table {name[:200]!r}, which no manifest has")
        if rest:
            named(f"{place}: refused: {HEADER} names a trial list", rest)
        found[name] = None if digest is None else checked_digest(digest)
    if lacking := [name for name in TABLES if name not in found]:
        raise ValueError(f"{HEADER} does not name {lacking[0]}")
    return found
