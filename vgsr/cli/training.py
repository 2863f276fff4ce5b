"""Commands around a training: `methods`, `validate`, `train`."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console

Overrides = Annotated[
    list[str] | None, typer.Argument(help="changes of the experiment, like train.epochs=3", show_default=False)
]


@app.command()
def methods() -> None:
    """The distillation methods that `distill.method` may name, with their units, sources and defaults."""
    from vgsr.distill import METHODS
    from vgsr.distill.methods import INPUTS

    table = Table("method", "level", "λ", "margins", "unit", "source", "options", show_lines=True)
    levels = list(INPUTS)
    for name, method in sorted(METHODS.items(), key=lambda item: levels.index(item[1].level)):
        low, high = method.margin_range
        options = ", ".join(f"{key} {value:g}" for key, value in method.options.items())
        table.add_row(name, method.level, f"{method.weight:g}", f"{low:g}–{high:g}", method.unit, method.paper, options)
    console.print(table)
    console.print("λ: default weight. margins: absolute ones worth searching, in the method's unit. Levels compare:")
    for level, inputs in INPUTS.items():
        console.print(f"  {level}: {inputs}", highlight=False)


@app.command()
def validate(experiment: Annotated[Path, typer.Argument(help="experiment YAML")], overrides: Overrides = None) -> None:
    """Check an experiment and everything it points at; starts nothing."""
    from vgsr import config
    from vgsr.training import check

    loaded = config.load(experiment, overrides or [])
    for line in check.check(loaded).lines:
        console.print(line, soft_wrap=True)
    console.print(
        f"{experiment}: valid (experiment {loaded.name}, digest {loaded.digest})", style="green", soft_wrap=True
    )


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(help="experiment YAML")],
    overrides: Overrides = None,
    bare: Annotated[bool, typer.Option(help="one process, without Ray and MLflow")] = False,
    device: Annotated[str, typer.Option(help="with --bare: cpu or cuda")] = "cpu",
    storage: Annotated[
        str | None, typer.Option(help="where checkpoints go, a folder that all nodes reach or s3://…; not with --bare")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="how many; 2:8 for as many as the cluster has room for, between these, while it trains"),
    ] = None,
) -> None:
    """Train one experiment on Ray Train; the same command goes on with a run that was stopped."""
    from vgsr import config
    from vgsr.home import home
    from vgsr.training import check
    from vgsr.training.learner import resolve

    if bare and storage:
        raise config.ConfigError(
            "--bare keeps its checkpoints in the home folder: leave out one of --bare and --storage"
        )
    if bare and workers:
        raise config.ConfigError("--bare is one process: leave out one of --bare and --workers")
    fewest, most = _workers(workers) if workers else (0, 0)
    loaded = config.load(experiment, [*(overrides or []), *([f"train.workers={most}"] if workers else [])])
    findings = check.check(loaded)
    loaded = resolve(loaded)
    for line in findings.lines:
        console.print(line, soft_wrap=True)
    control = "" if loaded.teacher.control == "none" else f"-control-{loaded.teacher.control}"
    name = f"{loaded.name}{control}-{loaded.digest}"
    runs = home() / "runs"
    if bare:
        from vgsr.training import local

        checkpoint = str(local.train(loaded, runs / name, device, console))
    else:
        from vgsr import tracked

        checkpoint = tracked.train(
            loaded, name, storage or str(runs), findings, console, (fewest, most) if fewest < most else None
        )
    console.print(f"best checkpoint: {checkpoint}", soft_wrap=True)


def _workers(text: str) -> tuple[int, int]:
    """`4` or `2:8` as fewest and most; ConfigError when it is neither."""
    from vgsr.config import ConfigError

    found = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", text, re.ASCII)
    if not found:
        raise ConfigError(f"--workers {text}: write how many, like 4, or the fewest and the most, like 2:8")
    fewest, most = int(found[1]), int(found[2] or found[1])
    if fewest < 1:
        raise ConfigError(f"--workers {text}: a training needs at least 1 worker")
    if fewest > most:
        raise ConfigError(f"--workers {text}: the fewest come first: write {most}:{fewest}")
    return fewest, most
