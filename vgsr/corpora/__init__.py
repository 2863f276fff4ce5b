"""Corpora: a published layout in, a manifest out.

Each corpus is one file with one registered reader; `prepare` is the way all of them go: headers, split by
speaker, cut, speech quality, trials, manifest.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from vgsr.config import nearest
from vgsr.corpora import avspeech, folder, ravdess, scan, synthetic
from vgsr.corpora.registry import CORPORA, Corpus, CorpusError, find
from vgsr.corpora.splits import check_shares, split_speakers
from vgsr.data import dnsmos as listener
from vgsr.data import manifest
from vgsr.data.checks import SPLITS
from vgsr.data.manifest import Manifest, Problem
from vgsr.teachers import bank, weights

__all__ = ["CORPORA", "Corpus", "CorpusError", "Report", "find", "prepare"]

READERS = (avspeech, folder, ravdess, synthetic)  # importing them has filled CORPORA


@dataclass(frozen=True)
class Report:
    """What `prepare` made. counts: one a split; trials: genuine and nontarget trials of each list; bank: the
    teacher bank, for a corpus that brings one."""

    manifest: Manifest
    counts: tuple["Count", ...]
    trials: dict[str, tuple[int, int]]
    problems: tuple[Problem, ...]
    bank: Path | None


@dataclass(frozen=True)
class Count:
    """One split in numbers."""

    split: str
    speakers: int
    utterances: int
    hours: float
    faces: int


def prepare(
    name: str,
    root: str | Path | None,
    out: str | Path,
    *,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    dnsmos: bool = False,
    **options: Any,
) -> Report:
    """Read corpus `name` under `root` and write its manifest to the folder `out`.

    validation and test are shares of the speakers (None: the corpus's own). A corpus with `needs_root`
    False makes its recordings itself, under `out`; its `root` is None. `dnsmos` also rates every utterance
    by DNSMOS, which takes about half a second of a core each, and whose last digits (hence the manifest's
    digest) may differ between processors; apart from that the result depends on the files and the seed
    only. Further options are the reader's own. Raises CorpusError, ManifestError, WeightError.
    """
    corpus = find(name)
    out = Path(out)
    validation = corpus.validation if validation is None else validation
    test = corpus.test if test is None else test
    check_shares(validation, test)
    for option in options:
        if option not in corpus.options:
            raise CorpusError(f"corpus {name!r} has no option {option!r}{nearest(option, corpus.options)}")
    if corpus.needs_root:
        if root is None:
            raise CorpusError(f"corpus {name!r} needs the folder that holds it")
        if out.absolute().is_relative_to(Path(root).absolute()):
            raise CorpusError(f"{out}: lies inside the corpus {root}; choose a folder outside it for the manifest")
        layout = corpus.reader(Path(root), **options)
    else:
        if root is not None:
            raise CorpusError(f"corpus {name!r} is made, not read: give no root, only where it goes")
        layout = corpus.reader(out, seed=seed, **options)
    rate = partial(listener.overall, listener.load(weights.locate(weights.DNSMOS))) if dnsmos else None
    utterances, problems = scan.headers(layout.root, layout.utterances)
    split = split_speakers(
        (u.speaker for u in utterances),
        validation=validation,
        test=test,
        seed=seed,
        test_first=layout.test_first,
    )
    placed = layout.cut([replace(u, split=split[u.speaker]) for u in utterances])
    heard, inaudible = scan.signals(layout.root, placed, rate)
    faces, invisible = scan.pictures(layout.root, layout.faces, {u.speaker for u in heard})
    lists = {key: rows for key, rows in layout.lists(heard, seed).items() if rows}
    problems = sorted({*layout.problems, *problems, *inaudible, *invisible}, key=lambda p: (p.uri, p.reason))
    written = manifest.write(
        out,
        corpus=name,
        root=layout.root,
        synthetic=not corpus.needs_root,
        utterances=[asdict(u) for u in heard],
        faces=[asdict(f) for f in faces],
        trials=lists,
        problems=problems,
    )
    taught = None
    if layout.teach:
        taught = out / "banks" / f"{name}.parquet"
        bank.write(taught, layout.teach(written))
    return Report(written, _counts(written), _trial_counts(written), tuple(problems), taught)


def _counts(made: Manifest) -> tuple[Count, ...]:
    split_of = dict(zip(made.utterances["speaker"].to_pylist(), made.utterances["split"].to_pylist(), strict=True))
    faces = Counter(split_of[speaker] for speaker in made.faces["speaker"].to_pylist())
    counts = []
    for split in SPLITS:
        rows = made.split(split)
        hours = sum(rows["seconds"].to_pylist()) / 3600
        counts.append(Count(split, len(rows["speaker"].unique()), len(rows), hours, faces[split]))
    return tuple(counts)


def _trial_counts(made: Manifest) -> dict[str, tuple[int, int]]:
    genuine = {name: pc.sum(table["label"]).as_py() for name, table in made.trials.items()}
    return {name: (genuine[name], len(table) - genuine[name]) for name, table in made.trials.items()}
