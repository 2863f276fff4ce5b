"""Other systems beside ours: a file of their embeddings or of their scores in, figures under our protocol out.

Whatever made the file (Resemblyzer, WeSpeaker, a service), trials and utterances are found by name, and none
may be missing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vgsr.data.manifest import Manifest
from vgsr.evaluation import protocol, rows, score_files, system
from vgsr.evaluation.embedding import of_lists
from vgsr.evaluation.embedding_files import read_embeddings
from vgsr.evaluation.lists import VALIDATION, some_test_lists
from vgsr.evaluation.score_files import ScoreFileError
from vgsr.evaluation.scoring import ScoringError
from vgsr.evaluation.system import Embed, Scoring, Tested
from vgsr.storage import parquet


def evaluate(
    file: Path,
    manifest: Manifest,
    lists: Sequence[str],
    how: Scoring,
    background: Manifest,
    p_targets: Sequence[float],
    form: str | None = None,
    namesakes: bool = False,
) -> list[Tested]:
    """The system that made `file` on trial lists of a manifest; without names on every test list.

    Embeddings are scored as `how` says, `background` giving the cohort and the calibration. Scores are taken as they
    are (`form`: the columns of a text, where they cannot be told); without names, on each list that they cover.
    namesakes: of the cohort, see `overlap.refuse`. ScoringError and ScoreFileError list what is missing.
    """
    names = some_test_lists(manifest, lists)
    if holds_embeddings(file):
        return system.test(_system(file, how, background), manifest, names, p_targets, namesakes)
    if not how.plain:
        raise ScoreFileError(
            f"{file}: scores are taken as they are; to normalise or weigh them give embeddings instead"
        )
    table = score_files.read(file, form)
    if not lists:
        names = [name for name in names if _covers(table, manifest.named_trials(name))] or names[:1]
    return [system.test_scores(table, f"scores of {file.name}", manifest, name, p_targets) for name in names]


def holds_embeddings(file: Path) -> bool:
    """Whether a file is one of embeddings: .npz, .ark, or Parquet with a column of them."""
    if file.suffix == ".parquet":
        try:
            with parquet.opened(file) as source:
                return "embedding" in source.schema_arrow.names
        except (OSError, pa.ArrowException) as error:
            raise ScoreFileError(f"{file}: cannot be read ({error})") from error
    return file.suffix in (".npz", ".ark")


def _system(file: Path, how: Scoring, background: Manifest) -> system.System:
    embed, ids = _embedder(file)
    held_out = set(of_lists(background, [VALIDATION])) if VALIDATION in background.trials else set()
    if how.plain and not held_out <= ids:  # scores alone need no more than the trials' own utterances
        return system.System(embed, how, protocol.PLAIN)
    return system.prepare(embed, how, background)


def _embedder(file: Path) -> tuple[Embed, set[str]]:
    known, vectors = read_embeddings(file)
    names = rows.names(known)

    def embed(manifest: Manifest, ids: Sequence[str]) -> np.ndarray:
        found = rows.find(rows.names(ids), names)
        if missing := [ids[place] for place in np.flatnonzero(found < 0).tolist()]:
            raise ScoringError(
                f"{file}: {len(missing):,} of {len(ids):,} utterances of {manifest.corpus} have no embedding in it: "
                f"{rows.some(missing)}",
                missing,
            )
        return vectors[found]

    return embed, set(known)


def _covers(table: pa.Table, trials: pa.Table) -> bool:
    """Whether every trial of a list is among those of a score table."""
    pairs = set(zip(table["enrol"].to_pylist(), table["test"].to_pylist(), strict=True))
    return all(pair in pairs for pair in zip(trials["enrol"].to_pylist(), trials["test"].to_pylist(), strict=True))
