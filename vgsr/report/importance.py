"""Which settings mattered in a search: conditional PED-ANOVA over its trials, beside what chance alone would show.

Importance of a setting: how differently it is distributed among the best trials and among all of them (Watanabe et
al., IJCAI 2023, arXiv 2304.10255; for settings that only some trials have: arXiv 2601.20800; as Optuna has it). The
shares of all settings sum to 1, so some setting always looks important: the same figures with the EERs dealt out to
the trials at random say how large a share must be to mean anything (our addition).
"""

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from matplotlib.lines import Line2D

from vgsr import tracking
from vgsr.distill import METHODS
from vgsr.report.collect import Benchmark
from vgsr.report.settings import kept
from vgsr.style import BLUE, COLUMN, PALE, Plot, panels
from vgsr.tracking import TrackedRun

KEY = "best_val_eer"
LEAST = 8  # trials, fewer say nothing
TOP, BEST = 5, 0.25  # the best trials: a quarter of them, and five at least, as the method's authors advise
DEALS = 200
LOGARITHMIC = ("λ", "temperature", "learning rate")
Value = float | str


@dataclass(frozen=True)
class Importance:
    """Shares that sum to 1, the largest first; by_chance: what 95 % of random deals of the EERs stay below."""

    shares: dict[str, float]
    by_chance: dict[str, float]
    trials: int
    top: int


def searched(benchmark: Benchmark) -> list[TrackedRun]:
    """The trials whose settings a search chose, completed or pruned, with the EER they had then."""
    ended = (tracking.COMPLETED, tracking.PRUNED)
    return [
        run for arm in benchmark.arms if arm.searched for run in arm.runs if run.state in ended and KEY in run.figures
    ]


def importance(benchmark: Benchmark) -> Importance | str:
    """What mattered in the search; or, in words, why that cannot be told.

    A pruned trial counts with its best EER so far, which is what the search itself was guided by.
    """
    runs = searched(benchmark)
    if not runs:
        return "nothing was searched"
    if len(runs) < LEAST:
        return f"{len(runs)} searched trials are too few to tell, it takes {LEAST}"
    found = [settings(run, runs) for run in runs]
    varied = {name for own in found for name in own if len({one[name] for one in found if name in one}) > 1}
    if not varied:
        return "all searched trials had the same settings"
    tried = study([{name: value for name, value in own.items() if name in varied} for own in found])
    eers = np.array([run.figures[KEY] for run in runs])
    top, rng = max(TOP, round(BEST * len(runs))), np.random.default_rng(0)
    mattered = shares(tried, eers, top)
    dealt = [shares(tried, rng.permutation(eers), top) for _ in range(DEALS)]
    by_chance = {name: float(np.quantile([one[name] for one in dealt], 0.95)) for name in mattered}
    return Importance(dict(sorted(mattered.items(), key=lambda item: -item[1])), by_chance, len(runs), top)


def settings(run: TrackedRun, runs: Sequence[TrackedRun]) -> dict[str, Value]:
    """A trial's settings as comparable values.

    The margin is two settings, one for each unit. Where several methods were searched, λ and an absolute margin are
    shares of the method's own default and range, as their scales differ by orders of magnitude. Each quality signal
    is a setting of its own.
    """
    own = kept(run)
    signals = {name for one in runs for name in ast.literal_eval(one.params.get("quality.signals", "[]"))}
    on = ast.literal_eval(own.pop("quality.signals", "[]"))
    found: dict[str, Value] = {name: str(name in on) for name in signals}
    method = METHODS.get(own.get("distill.method", ""))
    several = len({one.params.get("distill.method") for one in runs}) > 1 and method is not None
    if "distill.margin.value" in own:
        value, unit = float(own.pop("distill.margin.value")), own["distill.margin.unit"]
        scale = method.margin_range[1] if several and method is not None and unit == "absolute" else 1.0
        found[f"margin, {'level' if unit == 'quantile' else unit}"] = value / scale
    if "distill.weight" in own:
        found["λ"] = float(own.pop("distill.weight")) / (method.weight if several and method is not None else 1.0)
    return found | {_short(key): _value(value) for key, value in own.items()}


def study(trials: Sequence[dict[str, Value]]) -> optuna.Study:
    """The trials' settings as Optuna has them; what is a number in all trials is one, anything else a category."""
    names = sorted({name for own in trials for name in own})
    ranges = {name: _distribution(name, [own[name] for own in trials if name in own]) for name in names}
    choices = {name for name, one in ranges.items() if isinstance(one, optuna.distributions.CategoricalDistribution)}
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study()
    optuna.logging.set_verbosity(said)
    for own in trials:
        params = {name: str(value) if name in choices else value for name, value in own.items()}
        made.add_trial(
            optuna.create_trial(params=params, distributions={name: ranges[name] for name in own}, value=0.0)
        )
    return made


def shares(tried: optuna.Study, eers: np.ndarray, top: int) -> dict[str, float]:
    """What each setting has to do with being among the `top` trials of lowest EER, of eers [trials]; they sum to 1."""
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=top / len(eers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lower is better, which it is
        return optuna.importance.get_param_importances(
            tried, evaluator=evaluator, target=lambda trial: float(eers[trial.number])
        )


def plot(benchmark: Benchmark) -> Plot | str:
    """Bars by falling share, each with a mark at what chance alone would reach; or why there is none."""
    found = importance(benchmark)
    if isinstance(found, str):
        return found
    names = list(found.shares)[::-1]
    figure, (axes,) = panels(1, 1, COLUMN, 0.75 + 0.2 * len(names))
    places = np.arange(len(names))
    colours = [BLUE if found.shares[name] > found.by_chance[name] else PALE for name in names]
    axes.barh(places, [found.shares[name] for name in names], height=0.6, color=colours)
    for place, name in zip(places, names, strict=True):
        axes.plot([found.by_chance[name]] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.4)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of importance")
    axes.set_xlim(left=0)
    mark = Line2D([], [], color="black", linewidth=1.4, label="reached by chance in 5 of 100 deals")
    figure.legend(handles=[mark], loc="outside lower center")
    return Plot(
        figure,
        f"Which settings told the best {found.top} of {found.trials} searched trials from the rest (PED-ANOVA, by best "
        "validation EER; a pruned trial's is of the epochs it had). Shares sum to 1. A pale bar, short of its mark, is "
        "no longer than chance makes it.",
    )


def _distribution(name: str, values: Sequence[Value]) -> optuna.distributions.BaseDistribution:
    """Over the range that was tried: what the space allowed beyond it is not known."""
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) == len(values):
        logarithmic = name in LOGARITHMIC and min(numbers) > 0
        return optuna.distributions.FloatDistribution(min(numbers), max(numbers), log=logarithmic)
    return optuna.distributions.CategoricalDistribution(sorted({str(value) for value in values}))


def _short(key: str) -> str:
    return key.removeprefix("distill.").removeprefix("quality.").replace("_", " ").replace(".", " ")


def _value(value: str) -> Value:
    try:
        return float(value)
    except ValueError:
        return value
