"""Lines that say how a figure was measured, and the digest of a trial list."""

import gzip
import hashlib
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.evaluation.cllr import cllr, min_cllr
from vgsr.evaluation.metrics import MetricError, act_dcf, eer, min_dcf
from vgsr.evaluation.protocol import Protocol, enrolment_rule, evaluate, trials_digest

PROTOCOL = Protocol(
    trials="vox1-o",
    count=4,
    digest="0123456789abcdef" * 4,
    enrolment="1 utterance",
    normalisation="cosine, no score normalisation",
    seeds=1,
    synthetic=False,
)


def trials(rows, label_type=None):
    label_type = label_type or pa.int8()
    columns = [list(column) for column in zip(*rows, strict=True)]
    labels = pa.array(columns[0], pa.int8()).cast(label_type)
    return pa.table({"label": labels, "enrol": columns[1], "test": columns[2]})


ROWS = [(1, "a", "b"), (0, "a", "c"), (0, "b", "é"), (1, "c", "d")]


def test_the_line_names_everything():
    assert PROTOCOL.line() == (
        "trials vox1-o (4, digest 0123456789ab) · enrolment 1 utterance · cosine, no score normalisation · 1 seed"
    )
    assert "(37,611, " in replace(PROTOCOL, count=37_611).line()
    assert replace(PROTOCOL, seeds=3).line().endswith("3 seeds")


def test_a_synthetic_corpus_is_named_in_every_line():
    synthetic = replace(PROTOCOL, synthetic=True)
    result = evaluate([1, 2, 3, 4], [0, 1, 0, 1], synthetic)
    assert "SYNTHETIC corpus" in synthetic.line()
    assert "SYNTHETIC corpus" in result.line()
    assert "SYNTHETIC" not in evaluate([1, 2, 3, 4], [0, 1, 0, 1], PROTOCOL).line()


def test_evaluate_gives_the_metrics_figures_and_names_their_costs():
    scores, labels = [1, 2, 3, 4], [0, 1, 0, 1]
    result = evaluate(scores, labels, PROTOCOL)
    assert (result.eer, result.eer_threshold) == (eer(scores, labels).value, eer(scores, labels).threshold)
    assert result.min_dcf == {p: min_dcf(scores, labels, p).value for p in (0.01, 0.05)}
    assert (result.targets, result.nontargets) == (2, 2)
    line = result.line()
    assert line.startswith("EER 50.000 % · minDCF(p_target 0.01, C_miss 1, C_fa 1) 0.5000 · minDCF(p_target 0.05, ")
    assert line.endswith(PROTOCOL.line())
    assert "\n" not in line
    assert list(evaluate(scores, labels, PROTOCOL, p_targets=(0.001,)).min_dcf) == [0.001]


def test_log_likelihood_ratios_are_judged_where_there_are_some():
    scores, labels, llrs = [1, 2, 3, 4], [0, 1, 0, 1], [-3.0, -1.0, 1.0, 3.0]
    plain = evaluate(scores, labels, PROTOCOL)
    assert plain.cllr is None and plain.act_dcf == {} and "actDCF" not in plain.line()
    result = evaluate(scores, labels, PROTOCOL, llrs=llrs)
    assert result.cllr == cllr(llrs, labels) and result.min_cllr == plain.min_cllr == min_cllr(scores, labels)
    # At p_target 0.01 the threshold is log 99: all are rejected, which costs 1.
    assert result.act_dcf == {0.01: 1.0, 0.05: act_dcf(llrs, labels, 0.05)}
    assert f"actDCF 1.0000 · minDCF(p_target 0.05, C_miss 1, C_fa 1) {result.min_dcf[0.05]:.4f}" in result.line()
    assert f"Cllr {result.cllr:.4f}" in result.line()


def test_results_cannot_be_edited():
    with pytest.raises(FrozenInstanceError):
        evaluate([1, 2, 3, 4], [0, 1, 0, 1], PROTOCOL).eer = 0.0  # type: ignore[misc]


def test_scores_of_another_list_are_refused():
    with pytest.raises(MetricError, match="3 scores for the protocol of vox1-o, which has 4 trials"):
        evaluate([1, 2, 3], [0, 1, 0], PROTOCOL)


def test_the_digest_is_of_the_content():
    digest = trials_digest(trials(ROWS))
    text = "".join(sorted(f"{label} {enrol} {test}\n" for label, enrol, test in ROWS))
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert trials_digest(trials(ROWS[::-1])) == digest
    assert trials_digest(pa.concat_tables([trials(ROWS[2:]), trials(ROWS[:2])])) == digest
    assert trials_digest(trials(ROWS, pa.bool_())) == digest
    assert trials_digest(trials(ROWS).select(["test", "label", "enrol"])) == digest


def test_the_digest_sees_every_change():
    lists = [
        ROWS,
        ROWS[:3],
        [*ROWS, ROWS[0]],
        [(0, "a", "b"), *ROWS[1:]],
        [(1, "b", "a"), *ROWS[1:]],
        [(1, "a", "x"), *ROWS[1:]],
    ]
    assert len({trials_digest(trials(rows)) for rows in lists}) == len(lists)


def test_tables_that_are_no_trial_lists_are_refused():
    with pytest.raises(MetricError, match="lacks label"):
        trials_digest(trials(ROWS).drop_columns(["label"]))
    with pytest.raises(MetricError, match="1 of 4 trials have an empty cell"):
        trials_digest(pa.table({"label": [1, 0, 0, 1], "enrol": ["a", None, "b", "c"], "test": list("bcde")}))


def test_the_digest_of_the_voxceleb_list(shared_data):
    with gzip.open(shared_data / "voxceleb1" / "veri_test2.txt.gz", "rt") as file:
        lines = file.read().splitlines()
    rows = [(int(label), enrol, test) for label, enrol, test in map(str.split, lines)]
    assert len(rows) == 37_611
    expected = hashlib.sha256(("\n".join(sorted(lines)) + "\n").encode()).hexdigest()
    assert trials_digest(trials(rows)) == expected
    protocol = replace(PROTOCOL, count=len(rows), digest=expected)
    scores = np.random.default_rng(1).normal(size=len(rows))
    result = evaluate(scores, [label for label, _, _ in rows], protocol)
    assert result.eer == pytest.approx(0.5, abs=0.02)
    assert result.targets + result.nontargets == 37_611


NAME = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Z"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.integers(0, 1), NAME, NAME), min_size=1, max_size=30))
def test_the_digest_is_that_of_the_sorted_lines(rows):
    lines = sorted("{} {} {}\n".format(*row).encode() for row in rows)
    assert trials_digest(trials(rows)) == hashlib.sha256(b"".join(lines)).hexdigest()


@pytest.mark.parametrize(
    ("name", "enrolled", "words"),
    [
        ("vox1-o", {}, "1 utterance"),
        ("cnceleb-e-average", {"a": "uv", "b": "uvwxy", "c": "u"}, "mean of 1–5 utterances"),
        ("cnceleb-e-average", {"a": "uv", "b": "vw"}, "mean of 2 utterances"),
        ("cnceleb-e-average", {"a": "u", "b": "v"}, "1 utterance"),
        ("cnceleb-e-concat", {}, "1 recording joined from several"),
    ],
)
def test_how_a_list_enrols(name, enrolled, words):
    assert enrolment_rule(name, enrolled) == words
