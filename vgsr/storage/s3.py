"""Objects on S3 by boto3: sizes and stamps, ranges, whole downloads and uploads, each tried again with patience.

What comes in: `s3://BUCKET/KEY`. What goes out: all the bytes that were asked for, or a StorageError. The server, the
region and the credentials are boto3's settings (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, …).
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError, IncompleteReadError

from vgsr.storage import retry
from vgsr.storage.place import Entry, StorageError, bucket_and_key, object_of
from vgsr.storage.retry import patiently

CHUNK = 1 << 20
PAGE = 1000  # objects in one page of a listing, the most that S3 gives
CONNECTIONS = 32
PARTS = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=4)
PART_TRIES = 3


class ChangedError(StorageError):
    """An object that is no longer the one that was asked for."""


def stat(place: str) -> Entry | None:
    """Size and ETag of an object; None where S3 says that there is none."""
    named = object_of(place)

    def once() -> Entry | None:
        try:
            return _entry(_client().head_object(**named))
        except ClientError as error:
            if retry.missing(error):
                return None
            raise

    return patiently(place, "read", once)


def listing(place: str) -> dict[str, Entry]:
    """The objects under a prefix: relative key → entry, sorted; empty where there is none."""
    asked = _under(place)
    prefix, found = asked["Prefix"], {}
    while True:
        page: dict[str, Any] = patiently(place, "listed", lambda: _client().list_objects_v2(**asked))
        for item in page.get("Contents", []):
            name = item["Key"].removeprefix(prefix)
            if name and not name.endswith("/"):  # else a folder that some other tool has marked
                found[name] = Entry(item["Size"], item["ETag"].strip('"'))
        if not page.get("IsTruncated"):
            return dict(sorted(found.items()))
        asked["ContinuationToken"] = page["NextContinuationToken"]


def names(place: str) -> list[str]:
    """What lies directly under a prefix, objects and what would be folders, sorted; the first page of it."""
    asked = _under(place)
    page = patiently(place, "listed", lambda: _client().list_objects_v2(**asked, Delimiter="/"))
    keys = [item["Key"] for item in page.get("Contents", [])]
    keys += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
    return sorted(filter(None, (key.removeprefix(asked["Prefix"]).rstrip("/") for key in keys)))


def read_bytes(place: str, start: int = 0, length: int | None = None) -> bytes:
    """The whole content, or at most `length` bytes from `start`, by one request."""
    asked = object_of(place)
    if length == 0:
        return b""
    if start or length is not None:
        asked["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"

    def once() -> bytes:
        try:
            reply = _client().get_object(**asked)
        except ClientError as error:
            if retry.code(error) == "InvalidRange":  # it starts behind the end
                return b""
            raise
        content = reply["Body"].read()  # boto3 holds it against Content-Length
        if "Range" in asked and not reply.get("ContentRange", "").startswith(f"bytes {start}-"):
            content = content[start:][:length]  # a server that knows no ranges sends the whole
        return content

    return patiently(place, "read", once)


def download(place: str, entry: Entry, target: BinaryIO) -> None:
    """Write the content of exactly this entry to a file; what has broken off goes on where it broke off.

    ChangedError where the object is another one by now.
    """
    named = object_of(place)

    def once() -> None:
        asked = {**named, "IfMatch": f'"{entry.stamp}"'}
        had = target.tell()
        if had:
            asked["Range"] = f"bytes={had}-"
        try:
            reply = _client().get_object(**asked)
        except ClientError as error:
            if retry.code(error) in ("PreconditionFailed", "412"):
                raise ChangedError(f"{place}: it was written anew while it was read") from None
            raise
        if _entry(reply).stamp != entry.stamp:  # a server that knows no conditions
            raise ChangedError(f"{place}: it was written anew while it was read")
        if had and not reply.get("ContentRange", "").startswith(f"bytes {had}-"):
            target.seek(0)
        try:
            while chunk := reply["Body"].read(CHUNK):
                target.write(chunk)
        except FlexibleChecksumError:  # nobody knows which of the bytes are wrong
            target.seek(0)
            raise
        if target.tell() != entry.size:
            raise IncompleteReadError(actual_bytes=target.tell(), expected_bytes=entry.size)

    if entry.size:
        patiently(place, "read", once)


def upload(file: Path, place: str) -> None:
    """Make a file the content of a place, in parts where it is large; S3 shows all of it or nothing.

    boto3 sends a checksum along, by which S3 refuses what has changed on the way.
    """
    named = object_of(place)

    def once() -> None:
        with file.open("rb") as content:
            _client(PART_TRIES).upload_fileobj(content, **named, Config=PARTS)

    patiently(place, "written", once)


def put_bytes(content: bytes, place: str) -> None:
    """Make bytes the content of a place."""
    named = object_of(place)
    patiently(place, "written", lambda: _client().put_object(**named, Body=content))


def delete(place: str) -> None:
    """Remove an object; nothing happens where there is none."""
    named = object_of(place)
    patiently(place, "deleted", lambda: _client().delete_object(**named))


def _under(place: str) -> dict[str, Any]:
    """The question for what lies under a place."""
    bucket, key = bucket_and_key(place)
    return {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else "", "MaxKeys": PAGE}


def _entry(reply: dict[str, Any]) -> Entry:
    return Entry(reply["ContentLength"], reply["ETag"].strip('"'))


def _client(attempts: int = 1) -> Any:
    """This process' client for the settings of the moment; it may be used by several threads."""
    settings = tuple(sorted((name, text) for name, text in os.environ.items() if name.startswith("AWS_")))
    return _client_for(settings, retry.timeout(), attempts)


@lru_cache(maxsize=8)
def _client_for(settings: tuple[tuple[str, str], ...], timeout: float, attempts: int) -> Any:
    return boto3.session.Session(region_name=dict(settings).get("AWS_REGION")).client(
        "s3",
        config=Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": attempts},
        ),
    )


os.register_at_fork(after_in_child=_client_for.cache_clear)  # two processes must not talk on one connection
