"""Commands that run a network over a whole corpus: `teach`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console
from vgsr.cli.problems import print_problems


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
