"""A thread that writes to a remote server for a process that must not wait for it."""

import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Mailbox:
    """Writes, done in order in a thread of their own: a slow server never holds a search up.

    Each write is tried again for about a minute; what still fails is reported by `close` and in the log, and does
    not stop training.
    """

    WAITS = (1, 2, 4, 8, 16, 30)

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self.lost: list[str] = []
        self._thread = threading.Thread(target=self._run, name="mailbox", daemon=True)
        self._thread.start()

    def put(self, write: Callable[[], None]) -> None:
        """Queue one write."""
        self._queue.put(write)

    def close(self) -> list[str]:
        """Wait until everything is written; the errors of what could not be."""
        self._queue.put(None)
        self._thread.join()
        return self.lost

    def _run(self) -> None:
        while (write := self._queue.get()) is not None:
            for wait in (*self.WAITS, None):
                try:
                    write()
                    break
                except Exception as error:  # any failure of a remote server: try again, then report
                    log.warning("a write is tried again: %s", error)
                    if wait is None:
                        self.lost.append(str(error))
                    else:
                        time.sleep(wait)
