"""When several workers, whose clocks differ, ask or save together: rank 0's clock, told in batches.

In: batches as they pass, seconds that checkpoints took. Out: after which batch to ask next, and whether a checkpoint is
due.
"""

import time


class Rhythm:
    """The clock of one attempt of a run. Every worker counts batches; only what rank 0 reads from its clock is used."""

    # A notice of a spot machine comes 30 s (GCP) to 120 s (AWS) before its end; asking takes some milliseconds.
    ASK_SECONDS = 2.0
    # What a resize or a lost node costs at most, unless checkpoints are slow: they may take a fiftieth of the time.
    CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 30.0, 0.02

    def __init__(self) -> None:
        self._asked = self._saved = time.monotonic()
        self._passed, self._wait = 0, 1  # batches since it was asked last, and until it is asked next
        self._took = 0.0  # seconds of the last checkpoint

    def is_time(self) -> bool:
        """A batch has passed: whether to ask now."""
        self._passed += 1
        return self._passed >= self._wait

    @property
    def pause(self) -> int:
        """Batches until asking again, at the pace since the last time; at least 1."""
        elapsed = max(time.monotonic() - self._asked, 1e-6)
        return max(1, int(self.ASK_SECONDS * self._passed / elapsed))

    def rest(self, pause: int) -> None:
        """Ask again after `pause` batches."""
        self._asked, self._passed, self._wait = time.monotonic(), 0, pause

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due by the clock."""
        interval = max(self.CHECKPOINT_SECONDS, self._took / self.CHECKPOINT_SHARE)
        return time.monotonic() - self._saved > interval

    def saved(self, seconds: float) -> None:
        """A checkpoint was made, which took so long."""
        self._saved, self._took = time.monotonic(), seconds
