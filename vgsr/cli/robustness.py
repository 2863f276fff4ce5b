"""Commands that disturb: `robustness`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from vgsr.cli import matrices
from vgsr.cli.app import app, console, progress_bar
from vgsr.cli.places import Tested, tested
from vgsr.home import home

if TYPE_CHECKING:
    from vgsr.data.manifest import Manifest
    from vgsr.evaluation.condition_file import Conditions
    from vgsr.evaluation.disturbances import Disturbances
    from vgsr.evaluation.matrix import Matrix

STOPPED = 130  # exit status after Ctrl-C, as shells have it


@app.command()
def robustness(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE",
            help="PLACE or NAME=PLACE; a place: checkpoint folder, runs:/ID, models:/NAME@ALIAS, s3://…, SEARCH/ARM "
            "(all its seeds), SEARCH (all its arms)",
        ),
    ],
    manifest: Annotated[str, typer.Argument(help="folder written by `vgsr prepare`, or s3://…")],
    noise: Annotated[Path, typer.Option(help="folder with noise/, speech/ and music/ in it, as MUSAN has them")],
    rirs: Annotated[Path | None, typer.Option(help="folder of room impulse responses")] = None,
    trials: Annotated[list[str] | None, typer.Option(help="trial lists; default: every one but `validation`")] = None,
    conditions: Annotated[
        Path | None,
        typer.Option(help="file of drawn conditions: used again where it exists, else written; default: VGSR's own"),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the draws; default: 0")] = None,
    namesakes: Annotated[
        bool, typer.Option(help="people of two corpora with the same names are different people, where that is open")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="folder for matrix.parquet, matrix.md and the plot")] = None,
) -> None:
    """EER in noise, babble, music, reverberation and short speech, of all models on the same disturbed trials.

    What is embedded is kept: after Ctrl-C the same command goes on where it was.
    """
    from vgsr.data import manifest as manifests
    from vgsr.evaluation import condition_file
    from vgsr.evaluation.lists import some_test_lists
    from vgsr.speaker import evaluating

    corpus = manifests.read(manifest)
    lists = some_test_lists(corpus, trials or ())
    models = tested(places, device)
    for one in models:
        evaluating.refuse_overlap(one.model, corpus, lists, namesakes)
    disturbances, unknown = _disturbances(models, noise, rirs)
    with progress_bar() as progress:
        task = progress.add_task("conditions", total=None, visible=False)  # drawn they may be already
        drawn = condition_file.prepare(
            corpus,
            lists,
            disturbances,
            file=conditions,
            folder=home() / "conditions",
            seed=seed,
            advance=lambda done, total: progress.update(task, completed=done, total=total, visible=True),
        )
    for line in [*drawn.notes(), *unknown]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    try:
        found = [(one, _evaluate(one, corpus, drawn, lists)) for one in models]
    except KeyboardInterrupt:
        console.print("stopped: what is embedded is kept, and the same command goes on from there")
        raise SystemExit(STOPPED) from None
    by_list: dict[str, dict[str, list[Matrix]]] = {name: {} for name in lists}
    for one, own in found:
        for name in lists:
            by_list[name].setdefault(one.system, []).append(own[name])
    for systems in by_list.values():
        matrices.show(systems)
    console.print(f"conditions: {drawn.path} (digest {drawn.digest}, seed {drawn.seed})", soft_wrap=True)
    _attach(found)
    if out is not None:
        matrices.write(out, found, by_list)


def _disturbances(models: Sequence[Tested], noise: Path, rirs: Path | None) -> "tuple[Disturbances, list[str]]":
    """The recordings, none of which a model was trained with; and a line where that cannot be known."""
    from vgsr.evaluation import disturbances

    with progress_bar() as progress:
        task = progress.add_task("recordings", total=None)
        found = disturbances.find(noise, rirs, lambda done, total: progress.update(task, completed=done, total=total))
    compared: dict[tuple[str | None, str | None], list[str]] = {}
    for one in models:
        of = one.model.experiment.augment.noise, one.model.experiment.augment.rirs
        if of not in compared:
            compared[of] = disturbances.refuse_training_noise(found, *of, one.title)
    return found, [line for lines in compared.values() for line in lines]


def _evaluate(one: Tested, corpus: "Manifest", drawn: "Conditions", lists: Sequence[str]) -> "dict[str, Matrix]":
    from vgsr.evaluation import embedding, robustness

    total, reused = len(embedding.of_lists(corpus, lists)) * len(drawn.all), 0
    with progress_bar() as progress:
        task = progress.add_task(escape(one.title), total=total)

        def advance(done: int, kept: bool) -> None:
            nonlocal reused
            reused += done * kept
            progress.advance(task, done)

        found = robustness.evaluate(one.model, corpus, drawn, lists, home() / "robustness", advance)
    if reused:
        console.print(f"{one.title}: {reused:,} of {total:,} embeddings were kept from before", markup=False)
    return found


def _attach(found: "Sequence[tuple[Tested, dict[str, Matrix]]]") -> None:
    """Tracked runs get `robustness/CORPUS_LIST.parquet`."""
    import pyarrow.parquet as pq

    from vgsr import tracking

    for one, own in found:
        if one.run is not None:
            with tempfile.TemporaryDirectory() as folder:
                for each in own.values():
                    name = each.protocol.trials.replace("/", "_")
                    pq.write_table(each.table(), Path(folder) / f"{name}.parquet")
                tracking.attach(tracking.connect(), one.run.run_id, Path(folder), tracking.ROBUSTNESS)
