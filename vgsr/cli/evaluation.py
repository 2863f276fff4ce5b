"""Commands that measure: `evaluate`."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from vgsr.cli import places
from vgsr.cli.app import app, console, progress_bar

if TYPE_CHECKING:  # the evaluation loads torch: `vgsr --help` must not wait for it
    from vgsr.evaluation.system import Tested


class Normalisation(StrEnum):
    """What `--normalise` takes."""

    NONE = "none"
    MEAN = "mean"
    AS_NORM = "as-norm"


@app.command()
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            default_factory=list,
            metavar="[MODEL]...",
            help="PLACE or NAME=PLACE: checkpoint folder, runs:/ID, models:/NAME@ALIAS, s3://…, SEARCH/ARM (all seeds)",
            show_default=False,
        ),
    ],
    manifest: Annotated[str, typer.Argument(help="folder written by `vgsr prepare`, or s3://…")],
    scores: Annotated[
        list[str] | None,
        typer.Option(help="FILE or NAME=FILE: another system's scores, or its embeddings (.npz, .ark, .parquet)"),
    ] = None,
    form: Annotated[
        str | None, typer.Option(help="columns of a text of scores where they cannot be told, like 'enrol test score'")
    ] = None,
    trials: Annotated[list[str] | None, typer.Option(help="trial lists; default: every one but `validation`")] = None,
    normalise: Annotated[Normalisation, typer.Option(help="of scores made from embeddings")] = Normalisation.NONE,
    top: Annotated[int, typer.Option(min=2, help="highest cohort scores that AS-norm looks at")] = 300,
    qmf: Annotated[bool, typer.Option(help="weigh scores by duration, norm, SNR (and cohort scores): QMF")] = False,
    background: Annotated[
        str | None,
        typer.Option(help="manifest of cohort and calibration; default: a model's training corpus, else MANIFEST"),
    ] = None,
    namesakes: Annotated[
        bool, typer.Option(help="people of two corpora with the same names are different people, where that is open")
    ] = False,
    p_target: Annotated[list[float] | None, typer.Option(help="priors of minDCF; default: 0.01 and 0.05")] = None,
    save: Annotated[
        Path | None, typer.Option(help="folder for every score: one Parquet file a system and list")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """EER, minDCF and Cllr of models, and of other systems beside them, on trial lists, each with its protocol."""
    from vgsr.data import manifest as manifests
    from vgsr.evaluation import peers, score_files
    from vgsr.evaluation.lists import some_test_lists
    from vgsr.evaluation.system import Scoring
    from vgsr.speaker import evaluating

    if not models and not scores:
        raise typer.BadParameter("name a model, or another system's file with --scores")
    how, costs = Scoring(normalise.value, top, qmf), tuple(p_target or (0.01, 0.05))
    corpus, behind = manifests.read(manifest), manifests.read(background) if background else None
    found: list[tuple[str, Tested]] = []
    systems, lists = places.tested(models, device), some_test_lists(corpus, trials or ())
    for each in systems:  # before anything is embedded
        evaluating.refuse_overlap(each.model, corpus, lists, namesakes)
        if each.model.before:
            said = (
                f"warning: {each.title} has learnt from people whom nobody here knows (weights of {each.model.before})"
            )
            hint = "any of them in these trials make its figures look better than they are"
            console.print(f"{said}: {hint}", style="yellow", soft_wrap=True)
    for each in systems:
        with progress_bar() as progress:
            task = progress.add_task(escape(each.title), total=None)

            def advance(done: int, total: int, bar: Progress = progress, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            scorer = evaluating.as_system(each.model, how, behind, advance)
            tested = evaluating.evaluate(each.model, corpus, lists, costs, scorer, namesakes)
            found += [(each.title, one) for one in tested]
    for name, file in map(_named, scores or ()):
        own = peers.evaluate(Path(file), corpus, trials or (), how, behind or corpus, costs, form, namesakes)
        found += [(name, one) for one in own]
    _show(found, costs)
    if save:
        save.mkdir(parents=True, exist_ok=True)
        for name, one in found:
            written = save / f"{name}-{one.result.protocol.trials}.parquet".replace("/", "_")
            score_files.write(written, one.scores)
            console.print(f"scores: {written}", soft_wrap=True)


def _named(text: str) -> tuple[str, str]:
    """NAME=FILE, or a file that names itself."""
    name, sign, file = text.partition("=")
    return (name, file) if sign and not Path(text).exists() else (Path(text).stem, text)


def _show(found: "Sequence[tuple[str, Tested]]", p_targets: Sequence[float]) -> None:
    """A table a list, each with one line a protocol."""
    for trials in dict.fromkeys(one.result.protocol.trials for _, one in found):
        results = [(name, one.result) for name, one in found if one.result.protocol.trials == trials]
        table = Table(
            title=f"{trials}: {results[0][1].targets:,} target, {results[0][1].nontargets:,} non-target trials"
        )
        table.title_justify = "left"
        for heading in ("system", "EER %"):
            table.add_column(heading, justify="right" if heading == "EER %" else "left", overflow="fold")
        for p in p_targets:
            table.add_column(f"minDCF({p:g})", justify="right")
            table.add_column(f"actDCF({p:g})", justify="right")
        for heading in ("minCllr", "Cllr"):
            table.add_column(heading, justify="right")
        for name, result in results:
            costs = [
                text
                for p in p_targets
                for text in (f"{result.min_dcf[p]:.4f}", f"{result.act_dcf[p]:.4f}" if result.act_dcf else "–")
            ]
            cllr = "–" if result.cllr is None else f"{result.cllr:.4f}"
            table.add_row(name, f"{100 * result.eer:.3f}", *costs, f"{result.min_cllr:.4f}", cllr)
        console.print(table)
        for line in dict.fromkeys(f"{result.protocol.line()}" for _, result in results):
            names = ", ".join(name for name, result in results if result.protocol.line() == line)
            console.print(f"{names}: {line}", soft_wrap=True, markup=False, highlight=False)
    console.print("minDCF, actDCF: normalised, C_miss = C_fa = 1; Cllr in bits; –: scores without a calibration.")
