"""The way every corpus goes: headers, split by speaker, cut, speech quality, faces, trials, manifest.

In: the name of a corpus and the folder that holds it. Out: its manifest, here or on S3, and a `Report` of it. Rows
stay Arrow columns from the reader to the file, so that VoxCeleb2 with a million faces needs under 1 GB.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vgsr import storage
from vgsr.config import nearest
from vgsr.corpora import scan
from vgsr.corpora.published import Compared, compare, insist
from vgsr.corpora.registry import Corpus, CorpusError, Layout, Trials, find
from vgsr.corpora.rows import Columns, Face, Utterance, gather, printable
from vgsr.corpora.splits import check_shares, split_speakers
from vgsr.data import dnsmos as listener
from vgsr.data import manifest, recordings, tables
from vgsr.data.checks import SPLITS
from vgsr.data.manifest import Manifest, Problem
from vgsr.storage import Place
from vgsr.teachers import bank, weights


@dataclass(frozen=True)
class Count:
    """One split in numbers."""

    split: str
    speakers: int
    utterances: int
    hours: float
    faces: int


@dataclass(frozen=True)
class Report:
    """What `prepare` made. counts: one a split; trials: genuine and nontarget trials of each list; bank: the
    teacher bank, for a corpus that brings one; published: the counts of a corpus whose authors publish them."""

    manifest: Manifest
    counts: tuple[Count, ...]
    trials: dict[str, tuple[int, int]]
    problems: tuple[Problem, ...]
    bank: str | None
    published: tuple[Compared, ...]


def prepare(
    name: str,
    root: str | Path | None,
    out: Place,
    *,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    dnsmos: bool = False,
    measure: bool = True,
    strict: bool = False,
    **options: Any,
) -> Report:
    """Read corpus `name` under `root` and write its manifest to the folder `out`, here or on S3.

    validation and test are shares of the speakers (None: the corpus's own); the test share is not for a corpus that
    says itself who tests. A corpus with `needs_root` False makes its recordings itself, under `out`; its `root` is
    None. `dnsmos` also rates every utterance by DNSMOS, which takes about half a second of a core each, and whose
    last digits (hence the manifest's digest) may differ between processors; apart from that the result depends on
    the files and the seed only. Without `measure` no audio is decoded and the speech signals stay unknown, for
    `vgsr measure` to fill in on many cores. `strict`: where a count differs from the published one, nothing is
    written. Further options are the reader's own. Raises CorpusError, ManifestError, WeightError, StorageError.
    """
    corpus = find(name)
    if dnsmos and not measure:
        raise CorpusError("DNSMOS is measured, and nothing is to be: leave out one of --dnsmos and --unmeasured")
    shares = {
        "validation": corpus.validation if validation is None else validation,
        "test": corpus.test if test is None else test,
    }
    check_shares(**shares)
    _check_options(corpus, options)
    if storage.stat(storage.join(out, "shards", "index.parquet")) is not None:
        raise CorpusError(f"{out}: holds the shards of a manifest; choose another folder, or remove that one first")
    rate = partial(listener.overall, listener.load(weights.locate(weights.DNSMOS))) if dnsmos else None
    with _read(corpus, root, out, seed, options) as layout:
        if test and "test" in layout.splits.values():
            raise CorpusError(f"corpus {name!r} says itself who tests: leave out the share of test speakers")
        problems = list(layout.problems)
        utterances = gather(layout.utterances, Utterance, problems)
        faces = gather(layout.faces, Face, problems)
        layout = replace(layout, utterances=(), faces=())  # so that no more than one copy of the rows is held

        utterances, unreadable = scan.headers(layout.root, utterances, layout.shortest)
        split = split_speakers(
            utterances.column("speaker").unique().to_pylist(),
            **shares,
            seed=seed,
            test_first=layout.test_first,
            fixed=layout.splits,
        )
        utterances = _placed(utterances, split)
        heard = gather(layout.cut(utterances), Utterance, problems)
        if strict and measure and layout.published:  # a corpus that is incomplete is better told before hours of work
            lists, _, incomplete = _lists(layout, heard, seed)
            told = [*_listed(incomplete), *_listed([*problems, *unreadable])]
            insist(name, compare(layout.published, utterances, lists), told)
        inaudible: list[Problem] = []
        if measure:
            heard, inaudible = scan.signals(layout.root, heard, rate)
            lost = [part for problem in inaudible for part in recordings.parts(problem.uri)]
            if lost and layout.published:
                unheard = pc.is_in(utterances.column("uri"), value_set=pa.array(lost, pa.string()))
                utterances = utterances.where(pc.invert(unheard))
        faces, invisible = scan.pictures(layout.root, faces, heard.column("speaker").unique())
        lists, enrolments, incomplete = _lists(layout, heard, seed)
        problems = _listed([*problems, *unreadable, *inaudible, *invisible, *incomplete])
        compared = compare(layout.published, utterances, lists)
        if strict:
            insist(name, compared, list(dict.fromkeys([*_listed(incomplete), *problems])))
        del utterances
        if storage.remote(out) and not corpus.needs_root:
            for uri in heard.column("uri").to_pylist():
                storage.put(layout.root / uri, storage.join(out, uri))
        written = manifest.write(
            out,
            corpus=name,
            root=layout.root if corpus.needs_root else out,
            synthetic=not corpus.needs_root,
            utterances=heard.table,
            faces=faces.table,
            trials=lists,
            problems=problems,
            enrolments=enrolments,
        )
        counts = _counts(heard, faces)
    taught = None
    if layout.teach:
        taught = storage.join(out, "banks", f"{name}.parquet")
        bank.write(taught, layout.teach(written))
    return Report(written, counts, _trial_counts(written), tuple(problems), taught, compared)


def _check_options(corpus: Corpus, options: dict[str, Any]) -> None:
    for option in options:
        if option not in corpus.options:
            raise CorpusError(f"corpus {corpus.name!r} has no option {option!r}{nearest(option, corpus.options)}")


@contextmanager
def _read(corpus: Corpus, root: str | Path | None, out: Place, seed: int, options: dict[str, Any]) -> Iterator[Layout]:
    """What the reader finds under `root`, or makes: under `out`, or in a passing folder where that is on S3."""
    if corpus.needs_root:
        if root is None:
            raise CorpusError(f"corpus {corpus.name!r} needs the folder that holds it")
        if storage.remote(str(root)):
            raise CorpusError(f"{root}: a corpus is read from this machine; only its manifest may go to S3")
        if not storage.remote(out) and Path(out).absolute().is_relative_to(Path(root).absolute()):
            raise CorpusError(f"{out}: lies inside the corpus {root}; choose a folder outside it for the manifest")
        yield corpus.reader(Path(root), **options)
        return
    if root is not None:
        raise CorpusError(f"corpus {corpus.name!r} is made, not read: give no root, only where it goes")
    if storage.remote(out):
        with tempfile.TemporaryDirectory() as passing:
            yield corpus.reader(Path(passing), seed=seed, **options)
    else:
        yield corpus.reader(Path(out), seed=seed, **options)


def _placed(utterances: Columns[Utterance], split: dict[str, str]) -> Columns[Utterance]:
    """The utterances, each in the split of its speaker."""
    names, splits = pa.array(split.keys(), pa.string()), pa.array(split.values(), pa.string())
    return utterances.filled(
        split=splits.take(pc.index_in(utterances.column("speaker"), value_set=names).combine_chunks())
    )


def _lists(
    layout: Layout, heard: Columns[Utterance], seed: int
) -> tuple[Trials, dict[str, list[tuple[str, str]]], list[Problem]]:
    """The trial lists that have any trial, and their enrolments.

    One that names what cannot be used is left out, which is a problem: without those trials it would be another list.
    """
    made, enrolments = layout.lists(heard, seed), layout.enrolments(heard)
    ids = heard.column("utterance_id").combine_chunks()
    lists: Trials = {}
    problems = []
    for name, rows in made.items():
        table = tables.pairs(rows, tables.TRIALS)
        known = pa.concat_arrays([ids, pa.array({enrol for enrol, _ in enrolments.get(name, ())}, pa.string())])
        lost = [pc.is_null(pc.index_in(table[side], value_set=known)) for side in ("enrol", "test")]
        count = pc.sum(pc.or_(*lost)).as_py() or 0
        if count:
            gone = pa.chunked_array([*table["enrol"].filter(lost[0]).chunks, *table["test"].filter(lost[1]).chunks])
            names = gone.unique()
            reason = f"{count:,} of its {len(table):,} trials name one of {len(names):,} utterances that cannot be used"
            problems.append(Problem(f"trial list {name}", f"{reason}, such as {names[0]}; the list is left out"))
        elif len(table):
            lists[name] = table
    return lists, {name: pairs for name, pairs in enrolments.items() if name in lists}, problems


def _listed(problems: list[Problem]) -> list[Problem]:
    """Each problem once, by its uri, in words that can be printed."""
    told = {Problem(printable(problem.uri), printable(problem.reason)) for problem in problems}
    return sorted(told, key=lambda problem: (problem.uri, problem.reason))


def _counts(utterances: Columns[Utterance], faces: Columns[Face]) -> tuple[Count, ...]:
    speakers = utterances.column("speaker")
    places = pc.index_in(faces.column("speaker"), value_set=speakers.combine_chunks())
    seen = utterances.column("split").take(places)
    counts = []
    for split in SPLITS:
        rows = utterances.where(pc.equal(utterances.column("split"), split))
        hours = (pc.sum(rows.column("seconds")).as_py() or 0.0) / 3600
        pictured = pc.sum(pc.equal(seen, split)).as_py() or 0
        counts.append(Count(split, len(rows.column("speaker").unique()), len(rows), hours, pictured))
    return tuple(counts)


def _trial_counts(made: Manifest) -> dict[str, tuple[int, int]]:
    genuine = {name: pc.sum(table["label"]).as_py() for name, table in made.trials.items()}
    return {name: (genuine[name], len(table) - genuine[name]) for name, table in made.trials.items()}
