"""The command line: `vgsr prepare | teach | validate | train | evaluate | verify | best | ui`.

Each command reads its arguments, calls one room, and prints a table or a line. Rooms are imported inside the commands:
`vgsr --help` and `vgsr validate` must not wait for Ray and MLflow to load.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vgsr.mistakes import told

app = typer.Typer(
    help="Vision-guided speaker recognition: a face teacher, a speech student, and their laboratory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Overrides = Annotated[
    list[str] | None, typer.Argument(help="changes of the experiment, like train.epochs=3", show_default=False)
]


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="ravdess, avspeech, folder or synthetic")],
    places: Annotated[list[str], typer.Argument(help="ROOT OUT (synthetic: only OUT), then options like speakers=50")],
    validation: Annotated[float | None, typer.Option(help="share of speakers held out for validation")] = None,
    test: Annotated[float | None, typer.Option(help="share of speakers held out for the test lists")] = None,
    seed: Annotated[int, typer.Option(help="decides the splits and trial lists")] = 0,
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
        corpus, folders[0] if needed == 2 else None, folders[-1], validation=validation, test=test, seed=seed, **options
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
def validate(experiment: Annotated[Path, typer.Argument(help="experiment YAML")], overrides: Overrides = None) -> None:
    """Check an experiment and everything it points at; starts nothing."""
    from vgsr import config
    from vgsr.training import check

    loaded = config.load(experiment, overrides or [])
    for line in check.check(loaded).lines:
        console.print(line, soft_wrap=True)
    console.print(
        f"[green]{experiment}: valid[/green] (experiment {loaded.name}, digest {loaded.digest})", soft_wrap=True
    )


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(help="experiment YAML")],
    overrides: Overrides = None,
    bare: Annotated[bool, typer.Option(help="one process, without Ray and MLflow")] = False,
    device: Annotated[str, typer.Option(help="with --bare: cpu or cuda")] = "cpu",
) -> None:
    """Train one experiment on Ray Train; the same command goes on with a run that was stopped."""
    from vgsr import config
    from vgsr.home import home
    from vgsr.training import check
    from vgsr.training.learner import resolve

    loaded = config.load(experiment, overrides or [])
    findings = check.check(loaded)
    loaded = resolve(loaded)
    for line in findings.lines:
        console.print(line, soft_wrap=True)
    name = f"{loaded.name}-{loaded.digest}"
    place = home() / "runs" / name
    if bare:
        from vgsr.training import local

        checkpoint = str(local.train(loaded, place, device, console))
    else:
        from vgsr import tracked

        checkpoint = tracked.train(loaded, name, str(home() / "runs"), findings, console)
    console.print(f"best checkpoint: {checkpoint}", soft_wrap=True)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    manifest: Annotated[Path, typer.Argument(help="folder written by `vgsr prepare`")],
    trials: Annotated[list[str] | None, typer.Option(help="trial lists; default: every one but `validation`")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """EER and minDCF of a checkpoint on trial lists, each with its protocol."""
    from vgsr import speaker
    from vgsr.data import manifest as manifests

    model = speaker.load(checkpoint, device)
    with _progress() as progress:
        task = progress.add_task("embedding", total=None)
        results = model.evaluate(
            manifests.read(manifest),
            trials or (),
            model.experiment.evaluate.p_target,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for result in results:
        console.print(result.line(), soft_wrap=True)


@app.command()
def verify(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    enrol: Annotated[Path, typer.Argument(help="recording of the known speaker")],
    test: Annotated[Path, typer.Argument(help="recording to verify")],
    p_target: Annotated[
        float | None, typer.Option(help="prior of `same speaker`; default: equal-error threshold")
    ] = None,
) -> None:
    """Are two recordings of one speaker?"""
    from vgsr import speaker

    model = speaker.load(checkpoint)
    decision = model.verify(enrol, test, p_target)
    said = "[green]same speaker[/green]" if decision.accepted else "[red]different speakers[/red]"
    rule = "equal error" if p_target is None else f"Bayes, p_target {p_target:g}"
    console.print(
        f"score {decision.score:.4f}   threshold {decision.threshold:.4f} ({rule})   "
        f"log-likelihood ratio {decision.llr:+.2f}   {said}",
        soft_wrap=True,
    )
    console.print(f"calibrated on: {model.facts['validation']}", soft_wrap=True)


@app.command()
def best(search: Annotated[str | None, typer.Option(help="rank the runs of this search only")] = None) -> None:
    """Find the best completed run and register its checkpoint as the model's champion."""
    from vgsr import tracking

    tracker = tracking.connect()
    run = tracking.best(tracker, search)
    checkpoint = Path(run.tags["vgsr.checkpoint"])
    version = tracking.promote(tracker, run, checkpoint)
    console.print(
        f"{run.name} of {run.tags['vgsr.search']}: validation EER {100 * run.best_val_eer:.2f} % → "
        f"models:/{tracking.MODEL}@{tracking.CHAMPION} (version {version})",
        soft_wrap=True,
    )
    console.print(str(checkpoint), soft_wrap=True)


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5000,
) -> None:
    """Open the MLflow UI on the runs of this machine."""
    from vgsr import tracking

    tracking.connect()
    console.print(f"MLflow on http://{host}:{port} (Ctrl-C ends it)")
    command = ["-m", "mlflow", "ui", "--backend-store-uri", tracking.default_uri(), "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *command])


def _print_problems(problems: list[tuple[str, str]], shown: int = 20) -> None:
    if not problems:
        return
    table = Table("left out", "reason", title=f"{len(problems):,} inputs left out")
    for name, reason in problems[:shown]:
        table.add_row(name, reason)
    if len(problems) > shown:
        table.add_row(f"… and {len(problems) - shown:,} more", "all of them are in problems.parquet or the bank")
    console.print(table)


def _progress() -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console)


def main() -> None:
    """Run a command; a mistake of the user's is one red message and exit status 2, not a traceback."""
    with told(console):
        app()
