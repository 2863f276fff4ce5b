"""Where bytes lie: files of this machine and `s3://` objects by the same few calls.

A place is a path or `s3://BUCKET/KEY`. Whatever is read is whole and checked, whatever is written is there whole or not
at all; a store that fails or dawdles is asked again, and then it is said which place could not be read.
"""

from vgsr.storage.access import (
    delete,
    filesystem,
    get,
    listing,
    local,
    names,
    put,
    put_bytes,
    read_bytes,
    stat,
    written,
)
from vgsr.storage.cache import room, size
from vgsr.storage.place import S3_SETTINGS, Entry, Place, StorageError, inside, join, remote, without_secrets
from vgsr.storage.small import read_json, read_small

__all__ = [
    "S3_SETTINGS",
    "Entry",
    "Place",
    "StorageError",
    "delete",
    "filesystem",
    "get",
    "inside",
    "join",
    "listing",
    "local",
    "names",
    "put",
    "put_bytes",
    "read_bytes",
    "read_json",
    "read_small",
    "remote",
    "room",
    "size",
    "stat",
    "without_secrets",
    "written",
]
