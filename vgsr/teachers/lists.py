"""Lists of rows that many share: for each of a million utterances the faces it may draw from, in a few flat arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Lists:
    """For each of n owners a list of rows; owners of one session share one list, and the last list is empty.

    of: `[n]`, the list of each owner; starts: `[lists + 1]`, list i is `rows[starts[i]:starts[i + 1]]`.
    """

    of: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, owner: int) -> np.ndarray:
        """The rows `[k]` (int64) of one owner."""
        return self.members(self.of[owner])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[owner] for owner in range(len(self)))

    def members(self, number: int) -> np.ndarray:
        """The rows `[k]` (int64) of one list."""
        return self.rows[self.starts[number] : self.starts[number + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Rows in each list `[lists]`; each owner has `lengths[of]`."""
        return np.diff(self.starts)


def grouped(keys: np.ndarray, rows: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """`starts` and `rows` of a list for each of `groups` keys, and of an empty one; rows stay in their order."""
    order = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=groups)
    return np.concatenate([[0], np.cumsum(counts), [len(rows)]]).astype(np.int64), rows[order].astype(np.int64)
