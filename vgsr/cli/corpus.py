"""Commands that make and look at what a training learns from: `prepare`, `teach`, `quality`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="ravdess, avspeech, folder or synthetic")],
    places: Annotated[list[str], typer.Argument(help="ROOT OUT (synthetic: only OUT), then options like speakers=50")],
    validation: Annotated[float | None, typer.Option(help="share of speakers held out for validation")] = None,
    test: Annotated[float | None, typer.Option(help="share of speakers held out for the test lists")] = None,
    seed: Annotated[int, typer.Option(help="decides the splits and trial lists")] = 0,
    dnsmos: Annotated[
        bool, typer.Option(help="rate the speech too (signal speech_dnsmos): about a second a clip")
    ] = False,
) -> None:
    """Read a corpus in its published layout and write its manifest."""
    from vgsr import config, corpora

    # Options of the corpus itself come among the places, as name=value.
    folders = [place for place in places if "=" not in place]
    needed = 2 if corpora.find(corpus).needs_root else 1
    if len(folders) != needed:
        raise config.ConfigError(
            f"corpus {corpus!r} takes {'ROOT OUT' if needed == 2 else 'OUT'}, not {len(folders)} paths"
        )
    options = config.parse_overrides(place for place in places if "=" in place)
    report = corpora.prepare(
        corpus,
        folders[0] if needed == 2 else None,
        folders[-1],
        validation=validation,
        test=test,
        seed=seed,
        dnsmos=dnsmos,
        **options,
    )
    table = Table("split", "speakers", "utterances", "hours", "faces", title=f"{corpus} → {folders[-1]}")
    for count in report.counts:
        table.add_row(
            count.split, f"{count.speakers:,}", f"{count.utterances:,}", f"{count.hours:.2f}", f"{count.faces:,}"
        )
    console.print(table)
    for name, (targets, nontargets) in report.trials.items():
        console.print(f"trials {name}: {targets:,} target, {nontargets:,} non-target")
    if report.manifest.synthetic:
        console.print("This corpus is SYNTHETIC: figures from it say nothing about people.")
    if report.bank:
        console.print(f"teacher bank: {report.bank}", soft_wrap=True)
    _print_problems([(problem.uri, problem.reason) for problem in report.problems])
    console.print(f"digest {report.manifest.digest[:12]}")


@app.command()
def teach(
    manifest: Annotated[Path, typer.Argument(help="folder written by `vgsr prepare`")],
    out: Annotated[Path | None, typer.Option(help="the bank to write; default: MANIFEST/banks/MODEL.parquet")] = None,
    model: Annotated[
        Path | None, typer.Option(help="an ArcFace-style ONNX file (112×112 RGB) instead of SFace")
    ] = None,
    raw: Annotated[bool, typer.Option(help="with --model: it wants 0…255 instead of -1…1")] = False,
    embeddings: Annotated[Path | None, typer.Option(help="import embeddings (.npy or Parquet) instead")] = None,
    ids: Annotated[Path | None, typer.Option(help="with a .npy: face ids, one a line")] = None,
) -> None:
    """Embed the faces of a manifest with a frozen teacher and print the teacher's own EER."""
    from vgsr.data import manifest as manifests
    from vgsr.evaluation import metrics
    from vgsr.teachers import bank as banks
    from vgsr.teachers import embed, extract
    from vgsr.teachers.scores import trial_scores

    read = manifests.read(manifest)
    made: banks.Bank
    if embeddings:
        place = out or manifest / "banks" / f"{embeddings.stem}.parquet"
        made = banks.write(place, banks.import_embeddings(embeddings, read, ids=ids))
    else:
        feed = embed.SFACE_FEED if raw else None
        teacher = extract.load_teacher(model, feed=feed)
        place = out or manifest / "banks" / f"{teacher.name}.parquet"
        made = extract.teach(read, place, teacher, console=console)
    found = made.table.num_rows - made.table["embedding"].null_count
    console.print(
        f"teacher {made.model}: {found:,} of {made.table.num_rows:,} faces embedded → {place}", soft_wrap=True
    )
    _print_problems(
        [
            (row["face_id"], row["problem"])
            for row in made.table.select(["face_id", "problem"]).to_pylist()
            if row["problem"]
        ]
    )
    table = Table("trials", "teacher EER", "scored", "same image, left out", "no face, left out")
    for name, trials in read.trials.items():
        scores = trial_scores(made, read, trials)
        both = len(set(scores.labels.tolist())) == 2
        eer = f"{100 * metrics.eer(scores.scores, scores.labels).value:.2f} %" if both else "cannot be told"
        table.add_row(
            f"{read.corpus}/{name}", eer, f"{len(scores.labels):,}", f"{scores.same_image:,}", f"{scores.no_face:,}"
        )
    console.print(table)


@app.command()
def quality(
    manifest: Annotated[Path, typer.Argument(help="folder written by `vgsr prepare`")],
    bank: Annotated[Path | None, typer.Option(help="teacher bank; default: the only one in MANIFEST/banks")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the contact sheets; default: MANIFEST/quality")] = None,
) -> None:
    """Show the quality signals: distributions, the best and worst utterances, contact sheets of faces."""
    from vgsr.quality import show

    show(manifest, bank, out, console)


def _print_problems(problems: list[tuple[str, str]], shown: int = 20) -> None:
    if not problems:
        return
    table = Table("left out", "reason", title=f"{len(problems):,} inputs left out")
    for name, reason in problems[:shown]:
        table.add_row(name, reason)
    if len(problems) > shown:
        table.add_row(f"… and {len(problems) - shown:,} more", "all of them are in problems.parquet or the bank")
    console.print(table)
