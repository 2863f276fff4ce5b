"""Measuring: the utterances of a manifest in, the same manifest with their quality signals out.

What cannot be heard is taken out of the manifest and listed among its problems, unless a trial needs it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

import vgsr
from vgsr import storage
from vgsr.data import dnsmos, recordings, speech
from vgsr.data import manifest as manifests
from vgsr.data.audio import AudioError
from vgsr.data.manifest import Manifest, ManifestError, Problem
from vgsr.evaluation import embedding
from vgsr.extraction import parts, pool
from vgsr.extraction.parts import Function

SIGNALS = ("speech_snr", "speech_clipping", "speech_dnsmos")
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Speech:
    """The work: every utterance is heard, and rated by DNSMOS where `listener`, the content of its network, is given.

    Each is heard in one thread, on the CPU.
    """

    listener: bytes | None

    title = "utterances"
    lost = "unusable"
    schema = pa.schema([*((name, pa.float32()) for name in SIGNALS), ("problem", pa.string())])

    @property
    def key(self) -> str:
        return f"speech {vgsr.__version__} {sha256(self.listener).hexdigest() if self.listener else 'not rated'}"

    def rows(self, manifest: Manifest) -> pa.Table:
        return manifest.utterances.select(["utterance_id", "uri", "start", "seconds"])

    def start(self, manifest: Manifest, threads: int, gpu: bool) -> Function:
        rate = partial(dnsmos.overall, dnsmos.load(self.listener)) if self.listener else None
        workers = ThreadPoolExecutor(threads)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            try:
                wave = recordings.read(manifest, row["uri"], row["start"], row["seconds"])
            except AudioError as error:
                return {"problem": error.reason}
            return speech.measure(wave, rate) or {"problem": speech.SILENT}

        return lambda rows: pa.Table.from_pylist(list(workers.map(one, rows.to_pylist())), schema=self.schema)


def measure(
    manifest: Manifest, listener: bytes | None = None, *, actors: int = 0, console: Console | None = None
) -> tuple[Manifest, list[Problem]]:
    """Write `manifest` anew, in its place, with the signals of its utterances; returns it and what was taken out of it.

    Without `listener`, the content of DNSMOS' network, ratings stay as they are. Finished parts are kept in the folder
    measure.parts of the manifest until it is written; `actors` as in `pool.run`. Raises ManifestError, with the
    manifest as it was, where a trial needs an utterance that cannot be used.
    """
    work, folder = Speech(listener), storage.join(manifest.place, "measure.parts")
    made = pool.run(work, manifest, folder, actors=actors, console=console)
    results = pa.concat_tables(parts.finished(folder, made))
    table, good = manifest.utterances, pc.is_null(results["problem"])
    for name in SIGNALS if listener else SIGNALS[:2]:
        table = table.set_column(table.column_names.index(name), name, results[name])
    lost = {
        row["utterance_id"]: Problem(row["uri"], reason)
        for row, reason in zip(
            table.filter(pc.invert(good)).select(["utterance_id", "uri"]).to_pylist(),
            results["problem"].drop_null().to_pylist(),
            strict=True,
        )
    }
    _refuse_needed(manifest, lost)
    written = manifests.write(
        manifest.place,
        corpus=manifest.corpus,
        root=manifest.location,
        synthetic=manifest.synthetic,
        utterances=table.filter(good),
        faces=manifest.faces,
        trials=manifest.trials,
        enrolments=manifest.enrolments,
        problems=[*(Problem(**row) for row in manifests.problems(manifest).to_pylist()), *lost.values()],
    )
    parts.clear(folder)
    return written, list(lost.values())


def _refuse_needed(manifest: Manifest, lost: dict[str, Problem]) -> None:
    for name in manifest.trials:
        needed = [one for one in embedding.of_lists(manifest, [name]) if one in lost] if lost else []
        if needed:
            first = "; ".join(f"{one} ({lost[one].reason})" for one in needed[:SHOWN])
            raise ManifestError(
                f"{manifest.place}: {len(needed):,} utterances that trials {name!r} needs cannot be used: {first}; "
                "mend their files and measure again, or prepare again without them (the manifest is as it was)"
            )
