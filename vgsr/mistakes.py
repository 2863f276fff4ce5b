"""Errors for people: what VGSR itself raises is one message and exit status 2, anything else keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def told(console: Console) -> Iterator[None]:
    """Print an error of ours, whose text says what to do, and exit with 2; let every other one through."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("vgsr."):
            raise
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from error
