"""Scores of a trial list from embeddings.

In: one embedding an utterance, the utterance ids, and a trial table (label, enrol, test).
Out: one score a trial, float64, in the order of the table.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.evaluation.metrics import Floats

# Trials scored at once: two blocks of 16,384 × 192 float64 are 50 MB.
BLOCK = 16_384
# Ids named in an error message.
SHOWN = 5


class ScoringError(Exception):
    """Embeddings that do not fit the trial list."""


def cosine_scores(embeddings: npt.NDArray[np.floating], ids: Sequence[str], trials: pa.Table) -> Floats:
    """Cosine of the two embeddings of each trial, in [-1, 1]: float64 [T].

    embeddings [N, d] of the utterances ids [N]; trials with columns `enrol` and `test` [T]. Sums run in
    float64 whatever the embeddings' type. Utterances that no trial names are ignored. Raises ScoringError on
    ids that do not match the rows or are given twice, on trials that name an utterance without an embedding,
    and on embeddings in use that are zero or not finite.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or len(embeddings) != len(ids):
        raise ScoringError(f"embeddings {embeddings.shape} for {len(ids):,} ids: expected one row an id, [N, d]")
    enrol, test = _rows(ids, trials)
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
    used = np.unique(np.append(enrol, test))
    bad = used[~(np.isfinite(norms[used]) & (norms[used] > 0))]
    if len(bad):
        raise ScoringError(
            f"{len(bad):,} of {len(used):,} embeddings are zero or not finite and have no cosine: "
            f"{_some([ids[row] for row in bad[:SHOWN]], len(bad))}. Look for silent or broken recordings"
        )
    scores = np.empty(len(enrol))
    for start in range(0, len(enrol), BLOCK):
        left, right = enrol[start : start + BLOCK], test[start : start + BLOCK]
        product = np.einsum("td,td->t", embeddings[left], embeddings[right], dtype=np.float64)
        scores[start : start + BLOCK] = product / (norms[left] * norms[right])
    return scores.clip(-1.0, 1.0)


def _rows(ids: Sequence[str], trials: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Embedding rows of the enrolment and test utterances: two int64 [T]."""
    known = pa.array(ids, pa.string())
    if len(pc.unique(known)) != len(known):
        counts = pc.value_counts(known)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        raise ScoringError(
            f"{len(twice):,} utterances have more than one embedding: {_some(twice[:SHOWN], len(twice))}"
        )
    absent = [name for name in ("enrol", "test") if name not in trials.column_names]
    if absent:
        raise ScoringError(f"the trial table lacks {', '.join(absent)}; it has {', '.join(trials.column_names)}")
    named = pa.chunked_array(
        [chunk for name in ("enrol", "test") for chunk in trials[name].cast(pa.string()).chunks], pa.string()
    )
    rows = pc.index_in(named, value_set=known)
    if rows.null_count:
        missing = pc.unique(named.filter(pc.is_null(rows))).to_pylist()
        raise ScoringError(
            f"{len(missing):,} utterances of the trials have no embedding: {_some(missing[:SHOWN], len(missing))}"
        )
    both = rows.to_numpy().astype(np.int64)
    return both[: trials.num_rows], both[trials.num_rows :]


def _some(names: list[str], count: int) -> str:
    return ", ".join(str(name) for name in names) + (", …" if count > len(names) else "")
