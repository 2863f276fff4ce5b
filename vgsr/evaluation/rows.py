"""Names to rows: how the evaluation finds what a trial list asks for, and how it says what is not there.

In: names that are wanted, names that are known. Out: int64 rows of the known names, -1 where there is none.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.int64]

# Names that a message lists.
SHOWN = 10


def names(column: Sequence[str] | pa.Array | pa.ChunkedArray) -> pa.Array:
    """The names as one Arrow array of strings."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.cast(pa.string()) if isinstance(column, pa.Array) else pa.array(column, pa.string())


def find(wanted: pa.Array, known: pa.Array) -> Rows:
    """Row of each wanted name among the known ones, -1 where it is not among them: int64 [len(wanted)]."""
    return pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy(zero_copy_only=False).astype(np.int64)


def twice(known: pa.Array) -> list[str]:
    """The names that are there more than once."""
    if pc.count_distinct(known, mode="all").as_py() == len(known):
        return []
    counts = pc.value_counts(known)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()


def some(listed: Sequence[str]) -> str:
    """The names for a message: all of a few; of many the first ones, how many more, and where all of them are."""
    if len(listed) <= SHOWN:
        return ", ".join(map(str, listed))
    return (
        f"{', '.join(map(str, listed[:SHOWN]))} and {len(listed) - SHOWN:,} more (`names` of this error has them all)"
    )
