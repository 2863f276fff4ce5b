"""What a search's table says of one run: for each column a heading and how its cell is read from the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vgsr.distill.objective import figure_names
from vgsr.search.plan import METRIC, NOISY_METRIC
from vgsr.tracking import TrackedRun, marked

NOTHING = "–"  # a setting or a figure that the run does not have


@dataclass(frozen=True)
class Column:
    """A column; one that is not `always` there is shown where its cells differ."""

    heading: str
    cell: Callable[[TrackedRun], str]
    number: bool = True
    always: bool = True


def columns(runs: Sequence[TrackedRun], p_target: float, noisy: bool) -> list[Column]:
    """The columns of a table of these runs; `noisy`: they were validated in noise too."""
    found = [
        Column("trial", name, number=False),
        *settings(),
        Column("EER %", _percent(METRIC)),
        *([Column("noisy EER %", _percent(NOISY_METRIC))] if noisy else []),
        Column(f"minDCF({p_target:g})", _figure(f"best_val_min_dcf_{p_target:g}", "{:.3f}")),
        Column("taught %", _shares("taught"), always=False),
        Column("active %", _shares("active")),
        Column("epochs", lambda run: f"{int(run.figures.get('epoch', 0))}"),
        Column("seconds", lambda run: f"{run.figures.get('total_seconds', 0):.0f}"),
    ]
    return shown(found, runs)


def settings() -> list[Column]:
    """Those of the settings that are searched."""
    return [
        Column("method", _joined("method"), number=False, always=False),
        Column("margin", _of_each(_margin)),
        Column("kind", _joined("margin.kind"), number=False, always=False),
        Column("λ", _of_each(lambda one: f"{float(one['weight']):.3g}")),
        Column("quality", _quality, number=False, always=False),
    ]


def shown(found: Sequence[Column], runs: Sequence[TrackedRun]) -> list[Column]:
    """Without those that are not always there and say the same of all runs."""
    return [column for column in found if column.always or len({*map(column.cell, runs)} - {NOTHING}) > 1]


def name(run: TrackedRun) -> str:
    """A reference by its name, any other trial by its id; a control says so."""
    if "vgsr.reference" in run.tags:
        return run.name
    return marked(run.tags["vgsr.trial"], run.tags.get("vgsr.control", "none"))


def _of_each(said: Callable[[Mapping[str, str]], str]) -> Callable[[TrackedRun], str]:
    return lambda run: " + ".join(map(said, run.distillations)) or NOTHING


def _joined(key: str) -> Callable[[TrackedRun], str]:
    return _of_each(lambda one: one[key])


def _margin(one: Mapping[str, str]) -> str:
    return f"{'q ' if one['margin.unit'] == 'quantile' else ''}{float(one['margin.value']):.3g}"


def _shares(figure: str) -> Callable[[TrackedRun], str]:
    """A share of each distillation, in %: `taught` is of the utterances, `active` of those."""

    def cell(run: TrackedRun) -> str:
        keys = figure_names(figure, [one["method"] for one in run.distillations])
        return " + ".join(f"{100 * run.figures[key]:.0f}" for key in keys if key in run.figures) or NOTHING

    return cell


def _quality(run: TrackedRun) -> str:
    settings = {key.removeprefix("quality."): value for key, value in run.params.items() if key.startswith("quality.")}
    signals = settings["signals"].strip("[]").replace("'", "")  # MLflow keeps a list as its Python text
    if settings["apply_to"] == "distillation" and not run.distillations:
        return NOTHING
    if not signals:
        return "none"
    numbers = f"τ {float(settings['temperature']):.2f}, floor {float(settings['floor']):.2f}"
    return f"{signals} → {settings['apply_to']} ({numbers}, {settings['combine']})"


def _figure(key: str, form: str) -> Callable[[TrackedRun], str]:
    return lambda run: form.format(run.figures[key]) if key in run.figures else ""


def _percent(key: str) -> Callable[[TrackedRun], str]:
    return lambda run: f"{100 * run.figures[key]:.2f}" if key in run.figures else ""
