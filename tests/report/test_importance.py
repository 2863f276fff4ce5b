from dataclasses import replace

import numpy as np
import optuna
import pytest

from vgsr import style, tracking
from vgsr.report import importance as importances
from vgsr.report.collect import Arm
from vgsr.report.importance import importance, searched, settings, shares, study


def test_the_setting_that_decides_is_found_and_the_idle_one_is_chance(margin_search):
    found = importance(margin_search)
    assert (found.trials, found.top) == (24, 6)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert list(found.shares) == ["margin, absolute", "λ"]
    assert found.shares["margin, absolute"] > found.by_chance["margin, absolute"]
    assert found.shares["λ"] < found.by_chance["λ"]


def test_what_chance_reaches_is_reached_by_chance_in_one_of_twenty(margin_search):
    # Every deal of the figures is a search in which nothing mattered.
    found, rng, beyond = importance(margin_search), np.random.default_rng(1), []
    trials = searched(margin_search)
    for _ in range(100):
        eers = rng.permutation([run.best_val_eer for run in trials])
        values = [settings(run, trials) for run in trials]
        kept = [{name: own[name] for name in found.shares} for own in values]
        beyond.append(shares(study(kept), eers, found.top)["λ"] > found.by_chance["λ"])
    assert 0 < sum(beyond) <= 13  # Binomial(100, 0.05) is beyond 13 once in two thousand


def test_the_same_search_gives_the_same_importance(margin_search):
    assert importance(margin_search) == importance(margin_search)


def test_optuna_is_as_talkative_as_before(margin_search):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    importance(margin_search)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.parametrize("count, why", [(0, "nothing was searched"), (7, "too few")])
def test_too_few_trials_say_nothing(margin_search, count, why):
    searched = [arm for arm in margin_search.arms if arm.searched][:count]
    assert why in importance(replace(margin_search, arms=tuple(searched)))


def test_trials_that_do_not_differ_say_nothing(margin_search, tracked_run):
    runs = [tracked_run(f"t{n}", figures={"best_val_eer": 0.1 * n}, searched=True) for n in range(1, 10)]
    arms = tuple(Arm(run.arm, (run,)) for run in runs)
    assert "same settings" in importance(replace(margin_search, arms=arms))


def test_scales_of_methods_are_made_comparable(tracked_run):
    own = {"distill.margin.value": 0.5, "distill.weight": 20.0}
    level = {"distill.margin.value": 0.5, "distill.margin.unit": "quantile", "distill.method": "pkt"}
    runs = [tracked_run("a", changes=own), tracked_run("b", changes={**level, "distill.weight": 60000.0})]
    alone, first, second = settings(runs[0], runs[:1]), settings(runs[0], runs), settings(runs[1], runs)
    assert (alone["λ"], alone["margin, absolute"]) == (20.0, 0.5)
    assert (first["λ"], first["margin, absolute"]) == (2.0, 0.5)  # default 10, margins from 0 to 1
    assert second["margin, level"] == 0.5 and "margin, absolute" not in second
    assert second["λ"] == 60000.0 / importances.METHODS["pkt"].weight


def test_each_quality_signal_is_on_or_off(tracked_run):
    changes = {"quality.signals": ["speech_snr"]}
    runs = [tracked_run("a"), tracked_run("b", changes=changes)]
    found = [settings(run, runs) for run in runs]
    assert [(one["face_norm"], one["speech_snr"]) for one in found] == [("True", "False"), ("False", "True")]


def test_settings_that_are_now_numbers_and_now_words_are_categories(margin_search, tracked_run):
    runs = [
        tracked_run(
            f"t{n}",
            changes={"distill.margin.schedule_epochs": None if n % 2 else 3.0},
            figures={"best_val_eer": 0.1 + 0.01 * n},
            state=tracking.COMPLETED,
            searched=True,
        )
        for n in range(10)
    ]
    found = importance(replace(margin_search, arms=tuple(Arm(run.arm, (run,)) for run in runs)))
    assert list(found.shares) == ["margin schedule epochs"]


def test_bars_are_as_long_as_the_shares_and_those_of_chance_are_pale(margin_search):
    found = importance(margin_search)
    with style.styled():
        (axes,) = importances.plot(margin_search).figure.axes
    bars = dict(zip((text.get_text() for text in axes.get_yticklabels()), axes.patches, strict=True))
    assert {name: bar.get_width() for name, bar in bars.items()} == pytest.approx(found.shares)
    from matplotlib.colors import to_hex

    assert to_hex(bars["λ"].get_facecolor()).upper() == style.PALE
    assert to_hex(bars["margin, absolute"].get_facecolor()).upper() == style.BLUE
