"""The catalogue gives back what was put in, and is small."""

import pickle

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data.catalogue import BLOCK, Catalogue

names = st.text(st.sampled_from("ab/|é."), max_size=8)


def table(uris, start=None, seconds=None):
    count = len(uris)
    return pa.table(
        {
            "uri": pa.array(uris, pa.string()),
            "start": np.zeros(count) if start is None else np.array(start, float),
            "seconds": np.ones(count) if seconds is None else np.array(seconds, float),
        }
    )


@given(st.lists(st.tuples(names, st.floats(0, 99), st.floats(0, 99))), st.integers(0, 9))
def test_every_row_comes_back(rows, cut):
    uris, start, seconds = zip(*rows, strict=True) if rows else ((), (), ())
    whole = table(uris, start, seconds)
    for source in (whole, pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])):
        made = Catalogue.of(source)
        assert [made[row] for row in range(len(made))] == rows


def test_a_corpus_is_a_few_bytes_a_row():
    count = 2 * BLOCK + 5
    uris = [f"aac/id{row // 200:05d}/video{row // 8:06d}/{row % 8:05d}.m4a" for row in range(count)]
    made = Catalogue.of(table(uris))
    assert all(made[row] == (uris[row], 0.0, 1.0) for row in (0, BLOCK - 1, BLOCK, count - 1))
    assert len(pickle.dumps(made)) < 15 * count < len("".join(uris))
