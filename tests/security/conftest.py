"""What hostile files are made of, and how it is seen that they did nothing."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest


class Bomb:
    """Pickled, it writes `flag` when it is loaded."""

    def __init__(self, flag):
        self.flag = str(flag)

    def __reduce__(self):
        return os.system, (f"echo run > {self.flag}",)


@pytest.fixture
def flag(tmp_path):
    """A file that code in a hostile file would write; it must not be there at the end."""
    place = tmp_path / "it-ran"
    yield place
    assert not place.exists()


@pytest.fixture
def bomb(flag):
    """An object whose unpickling writes `flag`."""
    return Bomb(flag)


@pytest.fixture
def bounded():
    """Within it this process may take no more than so many MB of memory beyond what it has."""

    @contextmanager
    def limit(megabytes=700):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    return limit
