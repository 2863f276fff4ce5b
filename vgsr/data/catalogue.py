"""Where a million recordings lie, small enough for every process of a training: utterances in, one row at a time out.

Utterances next to each other in a manifest share folders, file names, beginnings and often lengths: each is kept once
in a block of rows, and a row says by two bytes which of them it has.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 1 << 16  # rows: as many as two bytes count


@dataclass(frozen=True, eq=False)
class Catalogue:
    """`uri`, `start` and `seconds` of utterances; a uri is its folder (null: none) and the name after the stroke."""

    folder: pa.ChunkedArray
    name: pa.ChunkedArray
    start: pa.ChunkedArray
    seconds: pa.ChunkedArray

    @staticmethod
    def of(utterances: pa.Table) -> "Catalogue":
        """Of rows of a manifest."""
        blocks = [
            [_once(column) for column in (*_halves(batch["uri"]), batch["start"], batch["seconds"])]
            for batch in utterances.select(["uri", "start", "seconds"]).to_batches(BLOCK)
        ]
        types = (pa.string(), pa.string(), pa.float64(), pa.float64())
        columns = zip(*blocks, strict=True) if blocks else [[]] * len(types)
        return Catalogue(
            *(
                pa.chunked_array(list(parts), pa.dictionary(pa.uint16(), each))
                for parts, each in zip(columns, types, strict=True)
            )
        )

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, row: int) -> tuple[str, float, float]:
        """uri, start and seconds of a row."""
        folder, name = self.folder[row].as_py(), self.name[row].as_py()
        uri = name if folder is None else f"{folder}/{name}"
        return uri, self.start[row].as_py(), self.seconds[row].as_py()


def _halves(uris: pa.Array) -> tuple[pa.Array, pa.Array]:
    """What stands before the last stroke of each (null where there is none), and what stands behind it."""
    parts = pc.split_pattern(uris, "/", max_splits=1, reverse=True)
    texts, ends = parts.flatten(), pc.cumulative_sum(pc.list_value_length(parts))
    single = pc.equal(pc.list_value_length(parts), 1)
    first = pc.subtract(ends, pc.list_value_length(parts))
    return pc.if_else(single, None, texts.take(first)), texts.take(pc.subtract(ends, 1))


def _once(column: pa.Array) -> pa.DictionaryArray:
    found = column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(found.indices.cast(pa.uint16()), found.dictionary)
