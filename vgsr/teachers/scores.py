"""The teacher's own scores on trials of utterances: a bank and a trial list in, scores and labels out.

This says how well the faces alone tell the trials' people apart; a teacher that is not clearly better than
the student has little to teach. Error rates of these scores are the evaluation's business.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.data.manifest import Manifest
from vgsr.teachers.bank import Bank


@dataclass(frozen=True)
class TrialScores:
    """Cosines [n] (float64) and labels [n] (1 same speaker, 0 not) of the trials that say something.

    Left out and counted: `same_image`, trials whose two sides share an image (a picture compared with itself
    scores 1 whatever the teacher is worth), and `no_face`, trials with a side without any embedded face.
    """

    scores: np.ndarray
    labels: np.ndarray
    same_image: int
    no_face: int


@dataclass(frozen=True)
class _Side:
    """What the teacher knows of one (speaker, session): the images it saw and their direction [d]."""

    images: frozenset[str]
    direction: np.ndarray


def trial_scores(bank: Bank, manifest: Manifest, trials: pa.Table) -> TrialScores:
    """Score `trials` (columns label, enrol, test; utterance ids of `manifest`) by faces alone.

    An utterance stands for the faces of its session, or those of its speaker where its session has none with
    an embedding. The score is the cosine between the means of the unit-length embeddings of the two sides.
    """
    ids = sorted({one for side in ("enrol", "test") for one in trials[side].unique().to_pylist()})
    rows = manifest.rows_of(ids, ["speaker", "session"])
    place = dict(zip(ids, zip(rows["speaker"].to_pylist(), rows["session"].to_pylist(), strict=True), strict=True))
    faces_of = _faces(bank, manifest, rows["speaker"].unique())
    scores, labels, same_image, no_face = [], [], 0, 0
    columns = (trials[name].to_pylist() for name in ("label", "enrol", "test"))
    for label, enrol, test in zip(*columns, strict=True):
        one, other = (faces_of.get(place[u]) or faces_of.get((place[u][0], None)) for u in (enrol, test))
        if one is None or other is None:
            no_face += 1
        elif one.images & other.images:
            same_image += 1
        else:
            scores.append(float(one.direction @ other.direction))
            labels.append(label)
    return TrialScores(np.array(scores, np.float64), np.array(labels, np.int8), same_image, no_face)


def _faces(bank: Bank, manifest: Manifest, speakers: pa.Array) -> dict[tuple[str, str | None], _Side]:
    """Sides by (speaker, session), and by (speaker, None) for all faces of a speaker; of these speakers only."""
    theirs = np.flatnonzero(pc.is_in(bank.table["speaker"], value_set=speakers).to_numpy())
    table = bank.table.select(["face_id", "speaker", "session"]).take(theirs)
    matrix = bank.embeddings.take(theirs).astype(np.float64)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    known = manifest.faces.filter(pc.is_in(manifest.faces["face_id"], value_set=table["face_id"].combine_chunks()))
    images = dict(zip(known["face_id"].to_pylist(), known["uri"].to_pylist(), strict=True))
    columns = (table[name].to_pylist() for name in table.column_names)
    rows: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    names = []
    for row, (face, speaker, session) in enumerate(zip(*columns, strict=True)):
        names.append(images.get(face, face))
        if np.isfinite(unit[row]).all():
            rows[speaker, session].append(row)
            rows[speaker, None].append(row)
    sides = {}
    for key, members in rows.items():
        mean = unit[members].mean(axis=0)
        length = float(np.linalg.norm(mean)) or 1.0
        sides[key] = _Side(frozenset(names[row] for row in members), mean / length)
    return sides
