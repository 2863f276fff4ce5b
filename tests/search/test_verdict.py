"""Verdicts on made-up scores, where it is known who is better: what becomes champion, and what is said of it."""

import pytest

from vgsr.search.gains import Arm, gain
from vgsr.search.verdict import SYNTHETIC, Champion, champion_of, reach, survival

from .made_up import FAIR, GOOD, LINE, LIST, POOR, arm


def judged(*arms, tops=("top 1",), champion=None, synthetic=False, same=None):
    return reach(arms, tops, champion, synthetic=synthetic, same=same or {})


@pytest.fixture(scope="module")
def baseline():
    return arm("no teacher", FAIR, val=0.2, offset=50)


@pytest.fixture(scope="module")
def better():
    return arm("top 1", GOOD)


def test_better_is_promoted_by_its_best_seed_with_figures(better, baseline):
    found = judged(better, baseline)
    assert found.promoted and (found.candidate, found.run_id) == ("top 1", "top 1/2")
    told = found.gains["top 1"][LIST]
    means = [one.mean(f"test_{LIST}_eer") for one in (better, baseline)]
    assert told.relative == pytest.approx(means[0] / means[1] - 1) and told.low < told.relative < told.high < 0
    assert found.sentence.startswith("Promoted to champion: top 1 (c-top 1-2, seed 2, validation EER 10.00 %)")
    ends = f"95 % interval {100 * told.low:+.1f} to {100 * told.high:+.1f} %".replace("-", "−")
    assert f"Against no teacher on {LIST}: better" in found.reason and ends in found.reason
    assert "3 paired seeds" in found.reason and SYNTHETIC not in found.reason


def test_equal_is_not_promoted(baseline):
    found = judged(arm("top 1", FAIR), baseline)
    assert not found.promoted and found.run_id == "top 1/2"
    assert f"no difference to no teacher shown on {LIST}" in found.sentence


def test_worse_is_not_promoted(baseline):
    found = judged(arm("top 1", POOR), baseline)
    assert not found.promoted and f"worse than no teacher on {LIST}" in found.sentence


def test_better_on_one_list_of_two_is_not_enough():
    lists = ("corpus_test", "corpus_hard")
    both = judged(arm("top 1", (GOOD, GOOD), lists=lists), arm("no teacher", (FAIR, POOR), lists=lists, offset=50))
    one = judged(arm("top 1", (GOOD, FAIR), lists=lists), arm("no teacher", (FAIR, FAIR), lists=lists, offset=50))
    assert both.promoted and not one.promoted
    assert "on corpus_hard" in one.sentence and "on corpus_test" not in one.sentence


def test_validation_over_fresh_seeds_chooses_the_candidate_and_not_the_test_list(better, baseline):
    """Stage 1 put it second, and on the test list it is worse than the first: neither is asked."""
    second = arm("top 2", FAIR, val=0.05)
    found = judged(better, second, baseline, tops=("top 1", "top 2"))
    assert found.candidate == "top 2" and not found.promoted
    lost_a_seed = arm("top 2", FAIR, val=0.05, seeds=(1, 2))
    assert judged(better, lost_a_seed, baseline, tops=("top 1", "top 2")).candidate == "top 1"


def test_seeds_are_paired_where_one_was_lost(better):
    found = judged(better, arm("no teacher", FAIR, seeds=(1, 3), offset=50))
    assert found.gains["top 1"][LIST].seeds == 2
    none = judged(arm("top 1", GOOD, seeds=(1,)), arm("no teacher", FAIR, seeds=(2,)))
    assert not none.promoted and "no tested seed in common" in none.reason


@pytest.mark.parametrize(
    ("noise", "line", "promoted"), [(0.0, LINE, False), (FAIR, LINE, True), (0.0, "another protocol", True)]
)
def test_a_champion_that_errs_less_on_the_same_lists_stays(better, baseline, noise, line, promoted):
    old = arm("old", noise, line=line, offset=90)
    champion = champion_of("7", old.runs[0], old.runs, [LIST])
    found = judged(better, baseline, champion=champion)
    assert found.promoted is promoted and "version 7" in found.sentence
    if not promoted:
        assert f"has a lower mean EER on {LIST}: {100 * champion.eers[LIST]:.2f} %" in found.sentence


def test_a_rendered_corpus_never_unseats_real_recordings(better, baseline):
    champion = Champion("7", "real", {}, {}, synthetic=False)
    found = judged(better, baseline, champion=champion, synthetic=True)
    assert not found.promoted and "this corpus is synthetic" in found.sentence
    also = judged(better, baseline, champion=Champion("7", "made up", {}, {}, synthetic=True), synthetic=True)
    assert also.promoted and SYNTHETIC in also.reason


def test_a_gain_that_other_faces_bring_too_is_no_knowledge_of_faces(better, baseline):
    same = arm("shuffled faces", GOOD, offset=200)
    survives = judged(better, baseline, same, arm("hard constraint", FAIR, offset=300))
    assert f"On {LIST} the gain survives shuffled faces: regularisation, not knowledge of faces." in survives.reason
    assert f"Against hard constraint on {LIST}: better" in survives.reason
    none = judged(better, baseline, arm("shuffled faces", FAIR, offset=200))
    assert f"On {LIST} the gain does not survive shuffled faces." in none.reason
    assert "Against hard constraint: it has no completed run." in none.reason
    assert "hard constraint is top 1 over again" in judged(better, baseline, same={"hard constraint": "top 1"}).reason
    worse = judged(arm("top 1", POOR), baseline, same)
    assert "survive" not in worse.reason  # there is no gain


def test_what_becomes_of_a_gain():
    assert survival("better", "better").startswith("a part of the gain survives")
    assert survival("no difference shown", "worse").startswith("the gain survives")
    assert survival("no difference shown", "no difference shown").startswith("it cannot be told")
    assert survival("", "").startswith("it cannot be told")


def test_without_what_it_takes_nothing_is_promoted(better, baseline):
    nobody = judged(baseline)
    assert not nobody.promoted and nobody.run_id == "" and "no run of a top arm was completed" in nobody.reason
    alone = judged(better)
    assert not alone.promoted and "no teacher has no completed run" in alone.sentence
    untested = Arm("top 1", better.runs, {})
    assert "no test list" in judged(untested, Arm("no teacher", baseline.runs, {})).sentence
    other = arm("no teacher", FAIR, line="another protocol")
    assert gain(better, other, LIST).why == "they were measured by different protocols"
    assert not judged(better, other).promoted


def test_one_seed_is_said_to_say_little(baseline):
    found = judged(arm("top 1", GOOD, seeds=(1,)), arm("no teacher", FAIR, seeds=(1,), offset=50))
    assert "one seed each: another training may change it" in found.reason
