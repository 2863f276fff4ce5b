"""Commands around a training: `methods`, `validate`, `train`."""

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
        f"[green]{experiment}: valid[/green] (experiment {loaded.name}, digest {loaded.digest})", soft_wrap=True
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
    loaded = config.load(experiment, overrides or [])
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

        checkpoint = tracked.train(loaded, name, storage or str(runs), findings, console)
    console.print(f"best checkpoint: {checkpoint}", soft_wrap=True)
