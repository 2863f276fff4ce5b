"""Comparisons of systems: what must hold whatever the scores, what is refused, and how often intervals hold the truth.

The full study is `tests/benchmarks/bootstrap_coverage.py`, on the same simulated systems.
"""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vgsr.evaluation.common_list import ListError
from vgsr.evaluation.metrics import eer
from vgsr.evaluation.significance import SignificanceError, compare, interval

SIMULATED = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "simulated_systems.py"))
SMALL = SIMULATED["SETTINGS"]["40 speakers, 1 target each"]


def simulate(seed=0, **changes):
    """Score tables of the seeds of A and of B."""
    return SIMULATED["tables"](replace(SMALL, **changes), np.random.default_rng(seed))


def mapped(table, change):
    at = table.column_names.index("score")
    return table.set_column(at, "score", pa.array(change(table["score"].to_numpy())))


def figures(found):
    return found.relative, found.low, found.high, found.p


@pytest.fixture(scope="module")
def systems():
    return simulate(extra=0.4, luck=0.2)


def test_the_figures_are_those_of_the_tables(systems):
    found = compare(*systems, seeds_paired=True)
    expected = [[eer(table["score"], table["label"]).value for table in side] for side in systems]
    assert [list(found.eers_a), list(found.eers_b)] == expected
    assert (found.eer_a, found.eer_b) == (np.mean(expected[0]), np.mean(expected[1]))
    assert found.relative == pytest.approx((found.eer_a - found.eer_b) / found.eer_b)
    assert found.low < found.relative < found.high
    assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
    assert (found.basis.speakers, found.basis.target_speakers) == (40, 40)
    assert (found.basis.targets, found.basis.nontargets, found.basis.replicates) == (40, 400, 1000)


def test_a_system_does_not_differ_from_itself(systems):
    found = compare(systems[0], systems[0], seeds_paired=True)
    assert figures(found) == (0, 0, 0, 1)
    assert found.verdict == "no difference shown"
    assert compare(systems[0], systems[0][::-1], seeds_paired=False).p == 1


@pytest.mark.parametrize("paired", [True, False])
def test_a_and_b_change_places(systems, paired):
    one, other = compare(*systems, seeds_paired=paired), compare(*systems[::-1], seeds_paired=paired)
    assert [1 + one.relative, 1 + one.low, 1 + one.high] == pytest.approx(
        [1 / (1 + other.relative), 1 / (1 + other.high), 1 / (1 + other.low)]
    )
    assert one.p == pytest.approx(other.p)


def test_the_same_seed_gives_the_same_figures(systems):
    assert compare(*systems, seeds_paired=True) == compare(*systems, seeds_paired=True, seed=0)
    assert compare(*systems, seeds_paired=True).low != compare(*systems, seeds_paired=True, seed=1).low


def test_neither_the_order_of_trials_nor_the_scale_of_scores_matters(systems):
    rng = np.random.default_rng(0)
    others = [
        [mapped(table.take(pa.array(rng.permutation(len(table)))), change) for table in side]
        for side, change in zip(systems, (np.exp, lambda scores: 7 * scores**3 - 2), strict=True)
    ]
    assert compare(*others, seeds_paired=True) == compare(*systems, seeds_paired=True)


def test_a_clear_difference_is_shown_and_named():
    a, b = simulate(speakers=100, nontargets=40, extra=1.0)
    better, worse = compare(a, b, seeds_paired=True), compare(b, a, seeds_paired=True)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.p == pytest.approx(worse.p) and better.p < 0.001
    for said in ("95 % interval", "better", "100 speakers", "100 target and 4,000 non-target trials", "1,000 lists"):
        assert said in better.line()
    assert better.basis.warnings == ()


def test_training_noise_widens_the_interval_and_is_named(systems):
    a, b = systems
    by_pairs, apart = compare(a, b, seeds_paired=True), compare(a, b, seeds_paired=False)
    assert "training noise from 3 paired seeds" in by_pairs.line()
    assert "training noise from 3 and 3 seeds, not paired" in apart.line()
    assert "training noise from the 3 seeds of A, taken to be" in compare(a, b[:1], seeds_paired=False).line()
    single = compare(a[:1], b[:1], seeds_paired=True)
    assert "training noise is NOT in it: 1 seed each" in single.line()
    assert any("another training may change" in warning for warning in single.basis.warnings)


def test_what_the_seeds_of_a_pair_have_in_common_cancels():
    rng = np.random.default_rng(0)
    target = np.arange(8000) % 2
    speaker = np.where(target, np.arange(8000) // 2, np.arange(8000)) % 100
    other = np.where(target, speaker, (speaker + 1 + np.arange(8000) // 200) % 100)

    def scored(easy):
        return pa.table(
            {
                "label": target.astype(np.int8),
                "enrol": [f"{trial}a" for trial in range(8000)],
                "test": [f"{trial}b" for trial in range(8000)],
                "enrol_speaker": [f"{number}" for number in speaker],
                "test_speaker": [f"{number}" for number in other],
                "score": rng.normal(size=8000) + easy * target,
            }
        )

    a, b = ([scored(easy) for easy in (2.0, 2.4, 2.8)] for _ in range(2))
    by_pairs, apart = compare(a, b, seeds_paired=True), compare(a, b, seeds_paired=False)
    assert by_pairs.relative == apart.relative
    assert by_pairs.high - by_pairs.low < 0.3 * (apart.high - apart.low)
    crossed = compare(a, [b[1], b[2], b[0]], seeds_paired=True)
    assert crossed.high - crossed.low > apart.high - apart.low


def test_one_system_has_an_interval(systems):
    found = interval(systems[0])
    assert found.eers == compare(*systems, seeds_paired=True).eers_a
    assert found.eer == pytest.approx(np.mean(found.eers))
    assert 0 < found.low < found.eer < found.high
    assert found.low * found.high == pytest.approx(found.eer**2)
    assert f"EER {100 * found.eer:.2f} %" in found.line() and "training noise from 3 seeds" in found.line()
    assert "training noise is NOT in it: 1 seed" in interval(systems[0][:1]).line()


def test_four_times_the_speakers_halve_the_interval():
    def width(speakers):
        sizes = {"recordings": 5, "targets": 4, "nontargets": 16, "seeds": (1, 1)}
        found = [interval(simulate(seed, speakers=speakers, **sizes)[0], replicates=200) for seed in range(8)]
        return np.mean([np.log(one.high / one.low) for one in found])

    assert width(40) == pytest.approx(2 * width(160), rel=0.2)


def test_few_errors_and_few_speakers_are_warned_of():
    a, b = simulate(speakers=12, session=0.7)
    warnings = " ".join(compare(a, b, seeds_paired=True).basis.warnings)
    assert "errors of a kind" in warnings
    assert "12 speakers with target trials" in warnings


def test_what_cannot_be_compared_is_said(systems):
    a, b = systems
    with pytest.raises(SignificanceError, match="3 and 2 seeds cannot be paired"):
        compare(a, b[:2], seeds_paired=True)
    with pytest.raises(SignificanceError, match="B: the score table of at least one seed"):
        compare(a, [], seeds_paired=False)
    with pytest.raises(SignificanceError, match="10 resampled lists are too few"):
        compare(a, b, seeds_paired=True, replicates=10)
    with pytest.raises(ListError, match=r"A, seed 1 of 3 .* and B, seed 2 of 3 .* are of different lists"):
        compare(a, [b[0], b[1][:-1], b[2]], seeds_paired=True)
    faultless = [mapped(table, lambda scores: 10.0 * (np.arange(len(scores)) < 40)) for table in b]
    with pytest.raises(SignificanceError, match="B made no error"):
        compare(a, faultless, seeds_paired=True)
    few = simulate(speakers=4)
    with pytest.raises(SignificanceError, match="4 speakers with target trials"):
        compare(*few, seeds_paired=True)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """Equal systems, 3 seeds, 200 lists: 190 are expected to hold 0, and 9 fewer or more are three binomial deviations.

    The lists are fixed by their seeds, so this cannot fail by chance.
    """
    lists = SIMULATED["simulations"](replace(SMALL, luck=0.15), 200)
    found = [compare(a, b, seeds_paired=True, replicates=100) for a, b in lists]
    held = sum(one.low <= 0 <= one.high for one in found)
    assert 181 <= held <= 199
    assert held == sum(one.p >= 0.05 for one in found)
