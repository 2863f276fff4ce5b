"""Commands on a finished model: `verify`, `enroll`, `identify`, `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console, progress_bar
from vgsr.home import home

if TYPE_CHECKING:
    from vgsr.speaker.identifying import Identification

CHAMPION = "models:/vgsr@champion"
PLACE = "a checkpoint's or a run's folder, s3://…, runs:/ID, models:/vgsr@champion, SEARCH/ARM"
DIFFERENT, CANNOT_JUDGE = 1, 3  # exit statuses; 2 is a mistake's


@app.command()
def verify(
    place: Annotated[str, typer.Argument(help=PLACE)],
    enrol: Annotated[Path, typer.Argument(help="recording of the known speaker")],
    test: Annotated[Path, typer.Argument(help="recording to verify")],
    p_target: Annotated[
        float | None, typer.Option(help="prior of `same speaker`; default: equal-error threshold")
    ] = None,
) -> None:
    """Are two recordings of one speaker?

    Exit status: 0 same speaker, 1 different speakers, 3 cannot judge (a recording too short or too noisy; the score is
    shown all the same), 2 for a mistake, such as a file that cannot be read.
    """
    import vgsr
    from vgsr.speaker import judging

    model = vgsr.load(place)
    decision = model.verify(enrol, test, p_target)
    colour = "yellow" if decision.problems else "green" if decision.accepted else "red"
    console.print(decision.verdict, style=colour, markup=False, highlight=False, soft_wrap=True)
    rule = (
        f"equal error on the validation trials, as with a prior of {100 * decision.prior:.3g} % that it is one speaker"
    )
    if p_target is not None:
        rule = f"Bayes, with a prior of {100 * p_target:g} % that it is one speaker, both errors equally bad"
    console.print(f"score {decision.score:.4f}   threshold {decision.threshold:.4f} ({rule})", soft_wrap=True)
    console.print(f"{judging.in_words(decision.llr)} (log-likelihood ratio {decision.llr:+.2f})", soft_wrap=True)
    for remark in decision.remarks:
        console.print(remark, style="yellow", markup=False, soft_wrap=True)
    console.print(f"calibrated on: {model.facts['validation']}", markup=False, soft_wrap=True)
    raise typer.Exit(CANNOT_JUDGE if decision.problems else 0 if decision.accepted else DIFFERENT)


@app.command()
def enroll(
    name: Annotated[str, typer.Argument(help="the person")],
    files: Annotated[
        list[Path], typer.Argument(help="recordings of that person alone, best of several days and places")
    ],
    model: Annotated[str, typer.Option(help=PLACE)] = CHAMPION,
    gallery: Annotated[Path | None, typer.Option(help="default: gallery.parquet in the home folder")] = None,
) -> None:
    """Add recordings of a person to the gallery that `identify` searches."""
    import vgsr
    from vgsr.speaker import gallery as galleries

    path = gallery or home() / "gallery.parquet"
    speaker = vgsr.load(model)
    with galleries.held(path), progress_bar() as progress:
        task = progress.add_task("embedding", total=len(files))
        before = galleries.read(path) if path.exists() else galleries.new(speaker, model)
        after, done = galleries.enroll(speaker, before, name, files, lambda: progress.advance(task))
        if done.added:
            galleries.write(path, after)
    for file in done.known:
        console.print(f"{file}: enrolled already, not counted twice", markup=False, soft_wrap=True)
    _print_left_out(done.left_out)
    if not done.added and not done.known:
        raise galleries.GalleryError(f"{name}: none of {len(files)} recordings could be enrolled; {path} is as it was")
    console.print(
        f"{name}: {len(done.added)} recordings added, {len(after.people[name])} in all; "
        f"{len(after.people)} people in {path}",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def identify(
    files: Annotated[list[Path], typer.Argument(help="recordings, each of one person")],
    top: Annotated[int, typer.Option(min=1, help="so many of the nearest people are shown")] = 5,
    model: Annotated[str, typer.Option(help=PLACE)] = CHAMPION,
    gallery: Annotated[Path | None, typer.Option(help="default: gallery.parquet in the home folder")] = None,
) -> None:
    """Who of the gallery speaks, or nobody of them?

    Exit status: 2 if a recording cannot be read, else 3 if one cannot be judged (too short, too noisy, or it fits
    several people), else 1 if one is of nobody in the gallery, else 0.
    """
    import vgsr
    from vgsr.data.audio import AudioError
    from vgsr.speaker import gallery as galleries
    from vgsr.speaker import identifying

    people = galleries.read(gallery or home() / "gallery.parquet")
    speaker = vgsr.load(model)
    unusable, statuses = [], {0}
    found = None
    for file in files:
        try:
            found = identifying.identify(speaker, people, file)
        except AudioError as error:
            unusable.append((str(file), error.reason))
            continue
        statuses.add(CANNOT_JUDGE if found.problem else 0 if found.accepted else DIFFERENT)
        _print_identification(file, found, top)
    if found:
        console.print(
            f"Probabilities, if half of all recordings are strangers' and all {len(found.candidates)} people are as "
            "likely; accepted is who is more probable than a stranger and all others together. Everyone in the gallery "
            f"is another chance of a false alarm: with so many, it takes a score of {found.threshold:.4f} or more.",
            soft_wrap=True,
        )
        console.print(f"calibrated on: {speaker.facts['validation']}", markup=False, soft_wrap=True)
    _print_left_out(unusable)
    raise typer.Exit(2 if unusable else max(statuses))


@app.command()
def export(
    place: Annotated[str, typer.Argument(help=PLACE)],
    out: Annotated[Path, typer.Argument(help="the ONNX file to write")],
) -> None:
    """Write a model as ONNX: waveforms (batch × samples) at 16 kHz in, embeddings out, the filterbank inside."""
    import vgsr
    from vgsr.speaker import export as exporting

    worst = exporting.export(vgsr.load(place), out)
    console.print(
        f"{out}: waveform [batch, samples] float32 at 16 kHz → embedding. On speech-like sound of "
        f"{len(exporting.SECONDS)} lengths its embeddings are within {worst:.1e} of the model's, in lengths of an "
        f"embedding (refused above {exporting.TOLERANCE:g})",
        markup=False,
        soft_wrap=True,
    )


def _print_identification(file: Path, found: "Identification", top: int) -> None:
    table = Table("rank", "name", "score", "log-likelihood ratio", "probability")
    for rank, one in enumerate(found.candidates[:top], 1):
        table.add_row(str(rank), one.name, f"{one.score:.4f}", f"{one.llr:+.2f}", f"{100 * one.probability:.1f} %")
    table.add_row("", "nobody of them", "", "", f"{100 * found.stranger:.1f} %", style="dim")
    console.print(table)
    if found.problem:
        said, colour = f"cannot judge: {file} {found.problem}", "yellow"
    else:
        said, colour = f"{file}: {found.accepted or 'nobody in the gallery'}", "green" if found.accepted else "red"
    console.print(said, style=colour, markup=False, highlight=False, soft_wrap=True)


def _print_left_out(problems: list[tuple[str, str]]) -> None:
    if not problems:
        return
    table = Table(title=f"{len(problems):,} recordings left out")
    for column in ("left out", "reason"):
        table.add_column(column, overflow="fold")
    for name, reason in problems:
        table.add_row(name, reason)
    console.print(table)
