"""Waiting for an MLflow server that does not answer: long, but not for ever, and with nothing lost."""

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from vgsr import tracking
from vgsr.tracking import Outbox, Tracker

Result = TypeVar("Result")

PATIENCE = 600.0  # seconds without an answer
TOLD = 30.0  # seconds between two lines about it
AGAIN = 5.0  # seconds between two tries
PAUSE = 0.2  # seconds
OF_MLFLOW = ("mlflow", "requests", "urllib3", "sqlalchemy")  # whose errors may be those of a server that was away
TRY_LATER = 75  # exit status of a search that only has to be called again, EX_TEMPFAIL of sysexits.h


def settle(outbox: Outbox, folder: str, console: Console) -> None:
    """Wait until MLflow has all that the outbox keeps in `folder`; exits with TRY_LATER when it takes none of it."""
    left, waited = outbox.wait(AGAIN), _Waiting(console)
    while left:
        time.sleep(PAUSE)  # an outbox that has given up is not waited for by `wait`
        before, left = left, outbox.wait(AGAIN)
        if left < before:
            waited = _Waiting(console)
        if left and waited.in_vain(f"MLflow has yet to take {left:,} events ({outbox.trouble or 'it is slow'})"):
            console.print(
                f"{left:,} events are kept in {folder}; the same command sends them and goes on.",
                style="red",
                soft_wrap=True,
            )
            raise SystemExit(TRY_LATER)


def insist(step: Callable[[], Result], tracker: Tracker, console: Console) -> Result:
    """What `step` returns, which asks MLflow and may be called again; as long as the server is not there, it is.

    An error that is not of MLflow is raised, and so is one of a server that answers, the second time. Exits with
    TRY_LATER when it does not answer for PATIENCE seconds.
    """
    waited, answered = _Waiting(console), False
    while True:
        try:
            return step()
        except Exception as error:
            why = _unreachable(tracker)
            if not why and (answered or type(error).__module__.partition(".")[0] not in OF_MLFLOW):
                raise
            answered = not why
            if why and waited.in_vain(why):
                console.print("The same command goes on from here.", style="red")
                raise SystemExit(TRY_LATER) from error
            time.sleep(AGAIN)


def _unreachable(tracker: Tracker) -> str:
    """Why the tracking store cannot be asked; empty when it can."""
    try:
        tracking.connect(tracker.uri)
    except tracking.TrackingError as error:
        return str(error)
    return ""


class _Waiting:
    """How long it has been waited for an answer, said now and then."""

    def __init__(self, console: Console) -> None:
        self._console, self._since, self._told = console, time.monotonic(), 0.0

    def in_vain(self, why: str) -> bool:
        """Whether it has been long enough."""
        waited = time.monotonic() - self._since
        if waited >= self._told:
            self._told = waited + TOLD
            self._console.print(f"{why}; waiting, {waited:.0f} of {PATIENCE:.0f} s", style="red", soft_wrap=True)
        return waited > PATIENCE
