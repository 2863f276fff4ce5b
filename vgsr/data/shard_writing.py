"""Making shards: a manifest in, a manifest folder with its recordings in `shards/` out, here or on S3.

    OUT/shards/shard-00000.parquet …  OUT/shards/parts/…  OUT/shards/problems.parquet  OUT/shards/index.parquet
    OUT/banks/…  OUT/utterances.parquet …  OUT/manifest.json

`parts` has a table for each shard that is whole; the same command goes on with those shards that have none. The index
comes when all shards are there, and the manifest's header after it, so half of this is never taken for all of it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vgsr import storage
from vgsr.data import manifest as manifests
from vgsr.data import shard_files, shard_index, shard_plan, shard_rows, shards
from vgsr.data.audio import AudioError
from vgsr.data.manifest import Manifest, Problem
from vgsr.data.shard_files import FOUND, Stretch
from vgsr.data.shard_index import ShardError, shard_name
from vgsr.data.shard_plan import Plan
from vgsr.data.tables import PROBLEMS
from vgsr.storage import Entry, Place, whole

PART = pa.schema([*FOUND, ("shard", pa.int32()), ("reason", pa.string())])  # a problem has but its uri and reason
REMOTE_THREADS = 4  # for each core, where most of them wait

Watch = Callable[[int, int], None]  # recordings done, of how many


class _StoppedError(Exception):
    """Another shard has failed, or a person has had enough."""


@dataclass(frozen=True)
class Made:
    """Shards that are there now (`kept`: of an earlier run), their stretches and bytes; recordings left out.

    removed: shards that were there, but of another manifest or size, or not whole.
    """

    shards: int
    kept: int
    removed: int
    stretches: int
    size: int
    problems: list[Problem]


def write(manifest: Manifest, out: Place, size: int, watch: Watch = lambda done, of: None) -> Made:
    """Shards of about `size` bytes each, beside the manifest's tables and banks.

    Recordings that cannot be read are left out. Where OUT is whole, nothing is done. ShardError where OUT holds another
    manifest, or where nothing can be read; StorageError where a place fails.
    """
    folder = storage.join(out, "shards")
    if storage.stat(storage.join(out, manifests.HEADER)) is not None:
        other = manifests.read(out).digest
        if other != manifest.digest:
            raise ShardError(
                f"{out} has shards of another manifest (digest {other[:12]}, not {manifest.digest[:12]}): "
                "name another folder, or remove this one"
            )
    there = storage.listing(folder)
    removed, kept = 0, _whole(folder, there, manifest)
    if not kept:
        plan = shard_plan.plan(manifest, size)
        parts = _parts(folder, there, plan)
        kept, removed = len(parts), _remove_others(folder, there, parts)
        parts |= _make(manifest, folder, plan, [n for n in range(plan.shards) if n not in parts], watch)
        _conclude(folder, [parts[number] for number in range(plan.shards)])
        shards.forget()
    if storage.stat(storage.join(out, manifests.HEADER)) is None:
        _copy_tables(manifest, out)
    index = shard_index.read(storage.local(storage.join(folder, shard_index.NAME)))
    problems = pq.read_table(storage.local(storage.join(folder, shards.PROBLEMS))).to_pylist()
    return Made(
        shards=len(index.sizes),
        kept=kept,
        removed=removed,
        stretches=len(index.columns["key"]),
        size=sum(index.sizes),
        problems=[Problem(row["uri"], row["reason"]) for row in problems],
    )


def _whole(folder: str, there: Mapping[str, Entry], manifest: Manifest) -> int:
    """How many shards there are, if they are all those of the manifest; else 0."""
    if shard_index.NAME not in there:
        return 0
    index = shard_index.read(storage.local(storage.join(folder, shard_index.NAME)))
    if index.facts["manifest"] != manifest.digest:
        return 0
    return len(index.sizes) if not shard_index.lacking(index, there) else 0


def _parts(folder: str, there: Mapping[str, Entry], plan: Plan) -> dict[int, pa.Table]:
    """The tables of those shards of the plan that are whole."""
    found = {}
    for number in range(plan.shards):
        shard = there.get(shard_name(number))
        if shard and _part_name(number) in there:
            table = pq.read_table(storage.local(storage.join(folder, _part_name(number))))
            facts = table.schema.metadata
            if facts[b"plan"].decode() == plan.digest and int(facts[b"size"]) == shard.size:
                found[number] = table
    return found


def _remove_others(folder: str, there: Mapping[str, Entry], parts: Mapping[int, pa.Table]) -> int:
    """Remove the index, which is not of what will be there, and what is none of the shards in `parts`."""
    kept = {name for number in parts for name in (shard_name(number), _part_name(number))}
    others = [name for name in there if name not in kept]
    for name in sorted(others, key=lambda name: name != shard_index.NAME):
        storage.delete(storage.join(folder, name))
    if not storage.remote(folder):
        for left in Path(folder).rglob(f"{whole.STAGING}*"):  # of a run that was killed
            left.unlink(missing_ok=True)
    return sum(f"parts/{name}" in there for name in others)


def _make(manifest: Manifest, folder: str, plan: Plan, numbers: list[int], watch: Watch) -> dict[int, pa.Table]:
    """Write the shards with these numbers, a thread each; the first failure stops all."""
    stop, lock = threading.Event(), threading.Lock()
    done, total = 0, sum(plan.count(number) for number in numbers)

    def advance() -> None:
        nonlocal done
        if stop.is_set():
            raise _StoppedError
        with lock:
            done += 1
            watch(done, total)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting = storage.remote(folder) or storage.remote(manifest.location)
    pool = ThreadPoolExecutor(cores * (REMOTE_THREADS if waiting else 1))
    try:
        futures = {pool.submit(_make_one, manifest, folder, plan, number, advance): number for number in numbers}
        return {futures[future]: future.result() for future in as_completed(futures)}
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _make_one(manifest: Manifest, folder: str, plan: Plan, number: int, advance: Callable[[], None]) -> pa.Table:
    problems = []

    def stretches() -> Iterator[Stretch]:
        for uri, regions in plan.recordings(number):
            try:
                yield from shard_rows.rows(manifest.location, uri, regions)
            except AudioError as error:
                problems.append({"uri": uri, "reason": error.reason})
            advance()

    facts = {"manifest": manifest.digest, "plan": plan.digest}
    with storage.written(storage.join(folder, shard_name(number))) as file:
        found = shard_files.write(file, stretches(), facts)
        size = file.stat().st_size
    table = pa.concat_tables([found, pa.Table.from_pylist(problems, PROBLEMS)], promote_options="default")
    table = table.append_column("shard", pa.repeat(pa.scalar(number, pa.int32()), len(table)))
    table = table.select(PART.names).cast(PART).replace_schema_metadata({**facts, "size": str(size)})
    with storage.written(storage.join(folder, _part_name(number))) as file:
        pq.write_table(table, file, compression="zstd")
    return table


def _conclude(folder: str, parts: list[pa.Table]) -> None:
    """Write what was left out, and the index."""
    facts = [{name.decode(): text.decode() for name, text in part.schema.metadata.items()} for part in parts]
    table = pa.concat_tables(part.replace_schema_metadata(None) for part in parts)
    stretches, problems = table.filter(table["offset"].is_valid()), table.filter(table["reason"].is_valid())
    if not len(stretches):
        said = f", the first ({problems['uri'][0]}) because: {problems['reason'][0]}" if len(problems) else ""
        raise ShardError(f"{folder}: none of the recordings can be read{said}")
    with storage.written(storage.join(folder, shards.PROBLEMS)) as file:
        pq.write_table(problems.select(PROBLEMS.names).sort_by("uri"), file)
    with storage.written(storage.join(folder, shard_index.NAME)) as file:
        said_of_all = {name: facts[0][name] for name in ("manifest", "plan")}
        shard_index.write(file, stretches, [int(fact["size"]) for fact in facts], said_of_all)


def _copy_tables(manifest: Manifest, out: Place) -> None:
    """The same manifest in OUT: its banks, its tables, and last its header."""
    banks = storage.join(manifest.place, "banks")
    for name in storage.listing(banks):
        storage.put(storage.local(storage.join(banks, name)), storage.join(out, "banks", name))
    made = manifests.write(
        out,
        corpus=manifest.corpus,
        root=manifest.location,
        synthetic=manifest.synthetic,
        utterances=manifest.utterances,
        faces=manifest.faces,
        trials=manifest.trials,
        problems=(Problem(row["uri"], row["reason"]) for row in manifests.problems(manifest).to_pylist()),
        enrolments=manifest.enrolments,
    )
    if made.digest != manifest.digest:
        raise ShardError(f"{out}: the tables are not those of {manifest.place}; prepare that again")


def _part_name(number: int) -> str:
    return f"parts/{shard_name(number)}"
