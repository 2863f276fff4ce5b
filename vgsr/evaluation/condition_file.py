"""The conditions of a corpus as a file that is written once, shared and used again: the same for every system.

One Parquet table (`conditions.DRAWS`) whose header has the seed, the digests of the manifest, of its trial lists and of
every recording, and a digest over all of that and the table: figures with one digest were measured on the same samples.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr.data.manifest import Manifest
from vgsr.evaluation import conditions, embedding, protocol, rows
from vgsr.evaluation.conditions import ALL, CLEAN, DRAWS, Condition
from vgsr.evaluation.disturbances import REVERBERATION, Disturbances
from vgsr.storage import parquet, whole
from vgsr.storage.small import from_json

FORMAT = 1
_KEY = b"vgsr.conditions"


class ConditionsError(Exception):
    """A file of conditions that does not fit the corpus, the recordings, or what is asked; the text says which."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """What happens to each utterance of some trial lists; `digest` (SHA-256) is over all of it, paths apart."""

    path: Path
    seed: int
    digest: str
    disturbances: Disturbances
    draws: pa.Table

    @property
    def all(self) -> tuple[Condition, ...]:
        """The conditions there are, in the order of `conditions.ALL`."""
        drawn = set(pc.unique(self.draws["condition"]).to_pylist())
        return tuple(one for one in ALL if one == CLEAN or one.name in drawn)

    def disturbed(self, condition: Condition) -> embedding.Disturb:
        """See `conditions.disturbed`."""
        return conditions.disturbed(self.draws, condition, self.disturbances)

    def notes(self) -> list[str]:
        """Lines for a person: what is left out, and how many utterances are too short to be cut."""
        there = {one.kind for one in self.all}
        lines = [*self.disturbances.left_out]
        lines += [
            f"{kind}: not among the conditions of {self.path}" for kind in self.disturbances.of if kind not in there
        ]
        for one in self.all:
            if one.kind == "duration":
                lengths = self.draws.filter(pc.equal(self.draws["condition"], one.name))["seconds"]
                if short := pc.sum(pc.less(lengths, one.level)).as_py():
                    lines.append(f"{one.name}: {short:,} of {len(lengths):,} utterances are shorter and stay whole")
        return lines


def prepare(
    corpus: Manifest,
    lists: Sequence[str],
    disturbances: Disturbances,
    *,
    file: Path | None,
    folder: Path,
    seed: int | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Conditions:
    """The conditions of the utterances of trial lists: those in `file` where there are some, else drawn and written.

    Without a `file` they lie in `folder`, under a name made of what they depend on. The seed is 0 unless given.
    ConditionsError when those in the file are of another corpus, another seed, other recordings or other utterances.
    """
    ids = embedding.of_lists(corpus, lists)
    known = {kind: [asdict(one) for one in found] for kind, found in sorted(disturbances.of.items())}
    header = {
        "format": FORMAT,
        "corpus": corpus.digest,
        "trials": {name: protocol.of_list(corpus, name).digest for name in sorted(lists)},
        "seed": seed or 0,
        "recordings": known,
    }
    if file is None:
        key = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
        file = folder / f"{corpus.corpus}-{key[:12]}.parquet"
    if not file.exists():
        seconds = corpus.rows_of(ids, ["seconds"])["seconds"].to_pylist()
        drawn = conditions.draw(dict(zip(ids, seconds, strict=True)), seed or 0, disturbances, advance)
        _write(file, drawn, header)
    found, draws = _read(file)
    if found["corpus"] != corpus.digest:
        raise ConditionsError(
            f"{file}: conditions of another corpus (digest {found['corpus'][:12]}; {corpus.place} has "
            f"{corpus.digest[:12]}): give another --conditions"
        )
    if seed is not None and found["seed"] != seed:
        raise ConditionsError(
            f"{file}: drawn with seed {found['seed']}, not {seed}: give another --conditions or no --seed"
        )
    _check_recordings(file, found["recordings"], disturbances)
    first = draws.filter(pc.equal(draws["condition"], draws["condition"][0]))["utterance_id"]
    if absent := sorted(set(ids) - set(first.to_pylist())):
        raise ConditionsError(
            f"{file}: drawn for the trial lists {', '.join(found['trials'])}; {len(absent):,} utterances of "
            f"{', '.join(lists)} are not in it: {rows.some(absent)}. Give another --conditions"
        )
    return Conditions(file, found["seed"], found["digest"], disturbances, draws)


def _check_recordings(file: Path, drawn: dict[str, list[dict[str, Any]]], disturbances: Disturbances) -> None:
    for kind, files in drawn.items():
        if kind not in disturbances.of:
            option = "--rirs" if kind == REVERBERATION else "--noise"
            raise ConditionsError(
                f"{file}: {kind} is among its conditions, and there are no recordings of it: give their folder with "
                f"{option}, or another --conditions"
            )
        there = {one.uri: one.sha256 for one in disturbances.of[kind]}
        for one in files:
            path = disturbances.path(kind, one["uri"])
            if one["uri"] not in there:
                raise ConditionsError(f"{file}: drawn over {path} ({kind}), which is not there or cannot be read")
            if one["sha256"] != there[one["uri"]]:
                raise ConditionsError(
                    f"{file}: drawn over another {path} ({kind}; SHA-256 {one['sha256'][:12]}, now "
                    f"{there[one['uri']][:12]}): bring the old recording back, or give another --conditions"
                )


def _write(file: Path, draws: pa.Table, header: dict[str, Any]) -> None:
    """All or nothing."""
    text = json.dumps({**header, "digest": _digest(header, draws)}, sort_keys=True)
    with whole.written(file) as staging:
        pq.write_table(draws.replace_schema_metadata({_KEY: text.encode()}), staging, compression="zstd")


def _read(file: Path) -> tuple[dict[str, Any], pa.Table]:
    """Header and table; ConditionsError where they are not what was written."""
    try:
        table = parquet.table(file)
        header = from_json((table.schema.metadata or {})[_KEY])
        if header["format"] != FORMAT:
            raise ConditionsError(f"{file}: conditions of format {header['format']}; this VGSR reads format {FORMAT}")
        draws = table.replace_schema_metadata(None).cast(DRAWS)
        if header["digest"] != _digest(header, draws):
            raise ConditionsError(
                f"{file}: its content is not what was drawn (another digest): it was changed or damaged"
            )
        _check_header(header)
    except (KeyError, ValueError, TypeError, OSError, pa.ArrowException) as error:
        said = str(error)[:300]
        raise ConditionsError(f"{file}: not a file of conditions ({said}); without it they are drawn anew") from error
    return header, draws


def _check_header(header: dict[str, Any]) -> None:
    """ValueError, KeyError or TypeError where the header is of other kinds of values than was written."""
    if not isinstance(header["trials"], dict) or not isinstance(header["corpus"], str):
        raise ValueError("its corpus or its trial lists are no names")
    for found in dict(header["recordings"]).values():
        if not all(isinstance(one["uri"], str) and isinstance(one["sha256"], str) for one in found):
            raise ValueError("its recordings are no names")


def _digest(header: dict[str, Any], draws: pa.Table) -> str:
    """Over the header and the values: the same whichever version of Arrow wrote them (our definition)."""
    known = {key: value for key, value in header.items() if key != "digest"}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name in DRAWS.names:
        for part in _plain(draws[name].combine_chunks()):
            digest.update(part)
    return digest.hexdigest()


def _plain(column: pa.Array) -> Iterator[bytes]:
    if pa.types.is_list(column.type):
        yield pc.list_value_length(column).to_numpy().astype("<i8").tobytes()
        yield from _plain(column.flatten())
    elif pa.types.is_string(column.type):
        yield "\0".join(column.to_pylist()).encode() + b"\0"
    else:
        yield pc.fill_null(column, float("nan")).to_numpy().astype("<f8").tobytes()
