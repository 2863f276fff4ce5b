"""`vgsr quality`: what the quality signals of a manifest's training split say, printed and as contact sheets.

Signals of the speech are shown an utterance, those of the face a face of a training speaker; correlations are over
the utterances, as training sees them: with the mean of the faces that an utterance may draw from.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from vgsr import storage
from vgsr.config import SIGNALS
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest, ManifestError
from vgsr.quality import sheet
from vgsr.quality.figures import distribution, extremes, rank_correlations
from vgsr.quality.sheet import Strip
from vgsr.storage import Place
from vgsr.teachers import bank as banks
from vgsr.teachers import detect, weights
from vgsr.teachers.bank import Bank, BankError
from vgsr.teachers.extract import read_image
from vgsr.teachers.pairing import QUALITY_COLUMNS, pair
from vgsr.training import signals

SHOWN = 5  # utterances at each end
FACES = 10  # faces at each end


def show(manifest: Place, bank: Place | None, out: str | Path | None, console: Console) -> None:
    """Print the signals of the training split of the folder `manifest`; write contact sheets to the folder `out`.

    `bank` None: the only file in MANIFEST/banks, or no faces where there is none. `out` None: MANIFEST/quality.
    Raises ManifestError, BankError, PairingError, WeightError.
    """
    read = manifests.read(manifest)
    train = read.split("train")
    if not len(train):
        raise ManifestError(
            f"{read.place}: no utterance in its split 'train'; prepare it with a smaller --validation and --test"
        )
    if out is None and storage.remote(read.place):
        raise ManifestError(f"{read.place}: contact sheets are written to a folder of this machine: name it with --out")
    file = bank or only_bank(read.place)
    taught = banks.read(file) if file else None
    faces = _training_faces(taught, read, train) if taught else None
    console.print(
        f"{read.corpus} ({read.digest[:12]}): {len(train):,} training utterances"
        + (f", {len(faces):,} faces of their speakers in {file}" if faces else "; no teacher bank, so speech only"),
        soft_wrap=True,
    )
    names, table = _table(train, taught)
    samples = {name: table[:, place] for place, name in enumerate(names) if name.startswith("speech_")}
    if faces:
        samples |= {name: np.asarray(faces[name].to_numpy(), np.float32) for name in QUALITY_COLUMNS}
    _print_distributions(console, {name: samples[name] for name in SIGNALS if name in samples})
    _print_correlations(console, names, table)
    for name in (name for name in samples if name.startswith("speech_")):
        _print_utterances(console, read, train, name)
    if faces:
        _write_sheets(console, read, faces, Path(out) if out else Path(read.place, "quality"))


def only_bank(place: Place) -> str | None:
    """The one teacher bank in `place`/banks; None where there is none, BankError where there are several."""
    folder = storage.join(place, "banks")
    found = [name for name in storage.listing(folder) if name.endswith(".parquet") and "/" not in name]
    if len(found) > 1:
        raise BankError(f"{folder} holds {', '.join(found)}: name one with --bank")
    return storage.join(folder, found[0]) if found else None


def _training_faces(bank: Bank, manifest: Manifest, train: pa.Table) -> pa.Table:
    """The bank's rows of training speakers, with the `uri` of each picture."""
    place = pc.index_in(bank.table["face_id"], value_set=manifest.faces["face_id"].combine_chunks())
    if place.null_count:
        raise BankError(f"{place.null_count:,} faces of the bank are not in {manifest.place}: teach again")
    faces = bank.table.append_column("uri", manifest.faces["uri"].take(place))
    return faces.filter(pc.is_in(faces["speaker"], value_set=train["speaker"].unique()))


def _table(train: pa.Table, bank: Bank | None) -> tuple[tuple[str, ...], np.ndarray]:
    """The signals of the training set as training sees them: names [S] and values [utterances, S]."""
    people, sessions = (train[name].to_pylist() for name in ("speaker", "session"))
    pairing = pair(people, sessions, sorted(set(people)), bank) if bank else None
    values = signals.of(SIGNALS, train, pairing)
    return values.names, values.table()


def _print_distributions(console: Console, samples: dict[str, np.ndarray]) -> None:
    heads = ("signal", "known", "mean", "sd", "5 %", "median", "95 %", "1 % … 99 %")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="distributions (higher is better)")
    for head in heads:
        table.add_column(head, justify="left" if head in (heads[0], heads[-1]) else "right", no_wrap=True)
    for name, values in samples.items():
        found = distribution(values)
        figures = (found.mean, found.std, found.low, found.median, found.high)
        table.add_row(name, f"{100 * found.known:.0f} %", *(_figure(value) for value in figures), found.histogram)
    console.print(table)


def _print_correlations(console: Console, names: tuple[str, ...], table: np.ndarray) -> None:
    found = rank_correlations(table)
    told = [place for place in range(len(names)) if np.isfinite(found[place, place])]
    if len(told) < 2:
        return
    # Numbers head the columns: nine names side by side fit no terminal.
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="rank correlations over utterances")
    shown.add_column("signal", no_wrap=True)
    for number in range(1, len(told)):
        shown.add_column(str(number), justify="right", no_wrap=True)
    for number, place in enumerate(told):
        cells = [_figure(found[place, other], "+.2f") for other in told[:number]]
        shown.add_row(f"{number + 1} {names[place]}", *cells)
    console.print(shown)


def _print_utterances(console: Console, manifest: Manifest, train: pa.Table, name: str) -> None:
    values = signals.speech_column(name, train)
    for kind, rows in zip(("worst", "best"), extremes(values, SHOWN), strict=True):
        if len(rows):
            console.print(f"\n{name}: {kind}", style="bold")
        for row in train.take(rows).append_column("value", pa.array(values[rows])).to_pylist():
            place = manifest.file(row["uri"]) + (f" from {row['start']:.2f} s" if row["start"] else "")
            line = f"{row['value']:9.3f}  {row['seconds']:6.2f} s  {row['utterance_id']}  {place}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def _write_sheets(console: Console, manifest: Manifest, faces: pa.Table, out: Path) -> None:
    console.print()
    uris = faces["uri"].to_pylist()
    if any("://" in uri for uri in uris):
        console.print("contact sheets: none, the faces of this corpus are no pictures")
        return
    detector = detect.Detector(weights.locate(weights.YUNET).read_bytes())
    for name in QUALITY_COLUMNS:
        values = np.asarray(faces[name].to_numpy(), np.float32)
        known = int(np.isfinite(values).sum())
        strips = [
            Strip(
                f"{name}: the {len(rows)} {kind} of {known} faces",
                [_tile(manifest.file(uris[row]), detector) for row in rows],
                [f"{values[row]:.3f}" for row in rows],
            )
            for kind, rows in zip(("worst", "best"), extremes(values, FACES), strict=True)
        ]
        if strips[0].tiles:
            sheet.save(out / f"faces-{name}.jpg", sheet.compose(strips))
            console.print(f"contact sheet: {out / f'faces-{name}.jpg'}", soft_wrap=True)
        else:
            console.print(f"no contact sheet of {name}: it is known for {known} faces")


def _tile(file: str, detector: detect.Detector) -> np.ndarray:
    try:
        return sheet.tile(read_image(file), detector)
    except BankError as error:
        raise BankError(f"{file}: {error}") from error


def _figure(value: float, form: str = ".4g") -> str:
    return format(value, form) if np.isfinite(value) else "–"
