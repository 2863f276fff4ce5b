"""Commands that run a network or a measurement over a whole corpus: `teach`, `measure`, `embed`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console
from vgsr.cli.problems import print_problems

Actors = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="processes on a Ray cluster, 0: none but this one; default: as many as the cluster in RAY_ADDRESS has "
        "cores (or GPUs), none without it",
    ),
]
OfManifest = Annotated[str, typer.Argument(metavar="MANIFEST", help="folder written by `vgsr prepare`, or s3://…")]


@app.command()
def teach(
    manifest: OfManifest,
    out: Annotated[str | None, typer.Option(help="the bank to write; default: MANIFEST/banks/MODEL.parquet")] = None,
    model: Annotated[str | None, typer.Option(help="an ArcFace-style ONNX file (112×112 RGB) instead of SFace")] = None,
    raw: Annotated[bool, typer.Option(help="with --model: it wants 0…255 instead of -1…1")] = False,
    embeddings: Annotated[Path | None, typer.Option(help="import embeddings (.npy or Parquet) instead")] = None,
    ids: Annotated[Path | None, typer.Option(help="with a .npy: face ids, one a line")] = None,
    actors: Actors = None,
    gpu: Annotated[bool, typer.Option(help="embed on a GPU (one an actor), where onnxruntime has CUDA")] = False,
) -> None:
    """Embed the faces of a manifest with a frozen teacher and print the teacher's own EER.

    What is done survives any end: the same command goes on.
    """
    from vgsr import storage
    from vgsr.data import manifest as manifests
    from vgsr.evaluation import metrics
    from vgsr.extraction import faces
    from vgsr.teachers import bank as banks
    from vgsr.teachers import embed, extract
    from vgsr.teachers.scores import trial_scores

    read = manifests.read(manifest)
    made: banks.Bank
    if embeddings:
        place = out or storage.join(manifest, "banks", f"{embeddings.stem}.parquet")
        made = banks.write(place, banks.import_embeddings(embeddings, read, ids=ids))
    else:
        teacher = extract.teacher_files(model, feed=embed.SFACE_FEED if raw else None)
        place = out or storage.join(manifest, "banks", f"{teacher.name}.parquet")
        made = faces.teach(read, place, teacher, actors=_actors(actors, gpu), gpu=gpu, console=console)
    found = made.table["problem"].null_count
    console.print(
        f"teacher {made.model}: {found:,} of {made.table.num_rows:,} faces embedded → {place}", soft_wrap=True
    )
    print_problems(
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
def measure(
    manifest: OfManifest,
    dnsmos: Annotated[
        bool, typer.Option(help="rate the speech too (signal speech_dnsmos): half a second each")
    ] = False,
    actors: Actors = None,
) -> None:
    """Measure the speech quality of a manifest's utterances, and write it anew with that.

    What is done survives any end: the same command goes on. The manifest's digest changes with the signals.
    """
    import numpy as np

    from vgsr.data import manifest as manifests
    from vgsr.extraction import speech
    from vgsr.teachers import weights

    read = manifests.read(manifest)
    listener = weights.locate(weights.DNSMOS).read_bytes() if dnsmos else None
    written, lost = speech.measure(read, listener, actors=_actors(actors), console=console)
    table = Table("signal", "utterances", "5 %", "median", "95 %", title=f"{read.corpus} → {manifest}")
    for name in speech.SIGNALS:
        values = written.utterances[name].drop_null().to_numpy()
        shown = np.quantile(values, (0.05, 0.5, 0.95)) if len(values) else ()
        table.add_row(name, f"{len(values):,}", *(f"{value:.2f}" for value in shown))
    console.print(table)
    print_problems([(problem.uri, problem.reason) for problem in lost])
    changed = "unchanged" if written.digest == read.digest else f"was {read.digest[:12]}"
    console.print(f"digest {written.digest[:12]} ({changed})")


@app.command()
def embed(
    place: Annotated[str, typer.Argument(help="of the model, as for `vgsr evaluate`")],
    manifest: OfManifest,
    out: Annotated[
        str | None, typer.Option(help="the Parquet file to write; default: MANIFEST/embeddings/MODEL-DIGEST.parquet")
    ] = None,
    trials: Annotated[list[str] | None, typer.Option(help="only the utterances of these trial lists")] = None,
    actors: Actors = None,
    gpu: Annotated[bool, typer.Option(help="on a GPU (one an actor)")] = False,
) -> None:
    """Embed the utterances of a manifest with a finished model, for `vgsr evaluate --scores` or anything else.

    What is done survives any end: the same command goes on.
    """
    import vgsr
    from vgsr import storage
    from vgsr.data import manifest as manifests
    from vgsr.extraction import students

    read, model = manifests.read(manifest), vgsr.load(place)
    name = f"{model.experiment.name}-{model.digest[:12]}.parquet".replace("/", "_")
    file = out or storage.join(manifest, "embeddings", name)
    made = students.embed(model, read, file, lists=trials or (), actors=_actors(actors, gpu), gpu=gpu, console=console)
    console.print(f"{made.count:,} utterances embedded → {made.place}", soft_wrap=True)
    print_problems(made.lost)
    if made.problems:
        console.print(f"all that were left out: {made.problems}", soft_wrap=True)


def _actors(asked: int | None, gpu: bool = False) -> int:
    """How many actors: what was asked for, else all that the cluster in RAY_ADDRESS can hold."""
    if asked is not None or not os.environ.get("RAY_ADDRESS"):
        return asked or 0
    from vgsr.extraction import pool

    return pool.room(gpu)
