"""Patience with S3: what may pass is tried again after a wait, what will not pass is reported at once.

What comes in: one operation, from its first request to the last byte of its reply. What goes out: its result, or a
StorageError that says what failed and after how many tries. botocore's own retries are no part of this: they see a
request but not the body that is read after it, and give up within two seconds.
"""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from vgsr.storage.place import S3_SETTINGS, StorageError, without_secrets

TRIES = 6
TIMEOUT = 30.0  # seconds without a byte
WAITS = (0.1, 0.5, 2.0, 8.0, 20.0)  # seconds before the second try, the third, …; later ones wait as long as the last
BROKEN = (  # bodies and replies that were cut or spoilt
    FlexibleChecksumError,
    HTTPError,
    IncompleteReadError,
    ResponseParserError,
    ResponseStreamingError,
)
PASSING = (*BROKEN, HTTPClientError, ConnectionError)  # and connections that were not made or held
PASSING_CODES = {  # error codes of S3 that come with a 4xx status and yet pass
    "BadDigest",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "ThrottlingException",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
MISSING_CODES = {"404", "NoSuchKey", "NotFound"}

_log = logging.getLogger(__name__)
T = TypeVar("T")


def tries() -> int:
    """How often an operation is tried: `$VGSR_S3_TRIES`, or 6."""
    return max(1, int(_setting("VGSR_S3_TRIES", TRIES)))


def timeout() -> float:
    """Seconds to wait for a connection, and for each next byte: `$VGSR_S3_TIMEOUT`, or 30."""
    return _setting("VGSR_S3_TIMEOUT", TIMEOUT)


def patiently(place: str, verb: str, operation: Callable[[], T]) -> T:
    """The result of an operation, tried again while its failure may pass; `verb` is what failed: "read", "written".

    The waits grow by a factor of four or so, and each is drawn from its upper half, lest all workers come back at once.
    """
    began, allowed = time.monotonic(), tries()
    for tried in range(1, allowed + 1):
        try:
            return operation()
        except (BotoCoreError, ClientError, ResponseParserError, HTTPError) as error:
            if tried == allowed or not _passes(error):
                spent = f" after {tried} tries in {time.monotonic() - began:.0f} s" if tried > 1 else ""
                # `from None`: what botocore says may hold the request, and so the credentials of it.
                raise StorageError(f"{place}: not {verb}{spent}: {_said(error)}") from None
            wait = WAITS[min(tried, len(WAITS)) - 1] * random.uniform(0.5, 1)
            level = logging.WARNING if wait >= 1 else logging.INFO
            text = without_secrets(
                f"{place}: not {verb} yet, {_said(error).partition(';')[0]}; trying again in {wait:.1f} s"
            )
            _log.log(level, "%s", text)
        time.sleep(wait)
    raise AssertionError("not reached")


def missing(error: ClientError) -> bool:
    """Whether S3 said for certain that there is no such object."""
    return code(error) in MISSING_CODES


def code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _passes(error: Exception) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code(error) in PASSING_CODES or status == 429 or (status >= 500 and status != 501)
    return isinstance(error, PASSING)


def _said(error: Exception) -> str:
    """A failure in our words, with the settings where they may be what is wrong."""
    if isinstance(error, ReadTimeoutError):
        said = f"no answer for {timeout():g} s"
    elif isinstance(error, BROKEN):
        return str(error)
    elif not isinstance(error, ClientError):
        said = str(error).rstrip(".")
    elif missing(error):
        return "there is no such object"
    elif code(error) == "NoSuchBucket":
        said = "the bucket does not exist"
    elif code(error) in ("403", "AccessDenied"):
        said = "access denied"
    else:
        said = f"{code(error)}, {error.response.get('Error', {}).get('Message') or 'no more was said'}"
    return f"{said}; {S3_SETTINGS}"


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise StorageError(f"{name}={text}: a number above 0 is needed")
    return value
