"""pyarrow's file system on S3, with our patience and our time-outs, wherever it is unpickled."""

import os
from collections.abc import Callable
from typing import Any

from pyarrow import fs

from vgsr.storage import retry

# Amazon's library waits 25 ms and doubles it each time, so with some tries more its waits add up to about ours.
MORE_TRIES = 4


class _Patient(fs.S3FileSystem):
    """pyarrow forgets the retry strategy of a file system that it pickles, and the credentials are the node's own.

    It counts the tries after the first. Not the "standard" strategy: that one has a budget of retries for the whole
    process, and once a lasting share of failures has spent it, gives up at the first.
    """

    def __init__(self, settings: dict[str, Any], tries: int):
        super().__init__(**settings, retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=tries - 1 + MORE_TRIES))
        self.settings, self.tries = settings, tries

    def __reduce__(self) -> tuple[Callable[..., "_Patient"], tuple[dict[str, Any], int]]:
        return _Patient, (self.settings, self.tries)


def filesystem() -> fs.S3FileSystem:
    """The file system of the S3 server that the environment names."""
    settings: dict[str, Any] = {"connect_timeout": retry.timeout(), "request_timeout": retry.timeout()}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        settings["scheme"], _, settings["endpoint_override"] = endpoint.rstrip("/").rpartition("://")
    if region:
        settings["region"] = region
    return _Patient(settings, retry.tries())
