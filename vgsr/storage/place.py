"""What a place is: a path of this machine, or `s3://BUCKET/KEY`; and what is said where one fails.

In go what a user or a table names, out come the bucket and the key, or a sentence without secrets.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

Place = str | Path

# In a uri, or in one of those that `|` joins: a step up, the root of the disk, a scheme, a control character. The same
# for Python's expressions and for Arrow's.
OUTSIDE_PATTERN = r"(^|[|/\\])\.\.([|/\\]|#t=|$)|(^|\|)[/\\]|://|[\x00-\x1f\x7f]"
OUTSIDE = re.compile(OUTSIDE_PATTERN)

S3_SETTINGS = (
    "credentials are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN) or AWS_PROFILE, "
    "the server from AWS_ENDPOINT_URL, its region from AWS_REGION"
)


class StorageError(Exception):
    """A place that cannot be read or written; the text names it, without secrets, and says what was tried."""

    def __init__(self, text: str):
        super().__init__(without_secrets(text))


@dataclass(frozen=True)
class Entry:
    """A file or object: its size in bytes, and a stamp that changes when its content does."""

    size: int
    stamp: str


def remote(place: Place) -> bool:
    """Whether the place is on S3. StorageError where it is of a kind that VGSR does not know."""
    text = str(place)
    if text.startswith("s3://"):
        return True
    if text.startswith("s3:/"):
        raise StorageError(f"{text}: an object is named s3://BUCKET/KEY, with two strokes")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise StorageError(f"{text}: a place is a path or s3://BUCKET/KEY")
    return False


def join(place: Place, *names: str) -> str:
    """A place under another."""
    return "/".join([str(place).rstrip("/"), *names])


def inside(root: Place, name: str) -> str:
    """The place of what somebody's table calls `name`, under the place `root`: a path of names, without a step out.

    StorageError for an absolute path, a scheme, `..` and control characters: whoever points at a corpus says by its
    root where may be read, and no row of it says otherwise. What links in a folder of recordings point at is its
    owner's business (many corpora are links), and not looked at.
    """
    if OUTSIDE.search(name) or name in ("", "."):
        raise StorageError(
            f"{name[:200]!r}: not a path under {root}; absolute paths, schemes and '..' are not followed"
        )
    return join(root, name)


def bucket_and_key(place: Place) -> tuple[str, str]:
    """The two halves of `s3://BUCKET/KEY`; the key is taken as it is typed, nothing in it is an escape."""
    bucket, _, key = str(place).removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", bucket):
        raise StorageError(f"{place}: no bucket is called so; a place on S3 is s3://BUCKET/KEY, and {S3_SETTINGS}")
    return bucket, key


def object_of(place: Place) -> dict[str, str]:
    """A place as boto3 names an object: Bucket and Key."""
    bucket, key = bucket_and_key(place)
    if not key:
        raise StorageError(f"{place}: a bucket, not an object in it")
    return {"Bucket": bucket, "Key": key}


def without_secrets(text: str) -> str:
    """A text without the keys that an S3 place or the environment may hold."""
    text = re.sub(r"(?<=s3://)[^@\s]*:[^@\s]*@", "***@", text)
    text = re.sub(r"((?:secret|access)_key|session_token)=[^&\s'\"]*", r"\1=***", text)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    return text
