"""Where bytes lie: files of this machine and `s3://` objects by the same few calls.

A place is a path or `s3://BUCKET/KEY`. Whatever is read is whole and checked, whatever is written is there whole or not
at all; a store that fails or dawdles is asked again, and then it is said which place could not be read.
"""

from vgsr.storage.places import (
    Entry,
    StorageError,
    delete,
    join,
    listing,
    local,
    put,
    put_bytes,
    read_bytes,
    remote,
    stat,
    written,
)

__all__ = [
    "Entry",
    "StorageError",
    "delete",
    "join",
    "listing",
    "local",
    "put",
    "put_bytes",
    "read_bytes",
    "remote",
    "stat",
    "written",
]
