"""Places of both kinds, and waits that tests can afford."""

import pytest

from vgsr.storage import retry


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """The same number of tries, a hundredth of the waits between them."""
    monkeypatch.setattr(retry, "WAITS", tuple(wait / 100 for wait in retry.WAITS))


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    """The place of an empty folder: on this machine, and on S3."""
    return str(tmp_path / "root") if request.param == "local" else request.getfixturevalue("s3").place


@pytest.fixture
def cached(tmp_path):
    """What the cache of a test has: name → bytes; without its account of the sizes."""
    folder = tmp_path / "cache"
    return lambda: {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".used"}
