"""The plot: names that keep clear of each other, and files that are the same for the same figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.isotonic import IsotonicRegression

from vgsr.evaluation import robustness_plot
from vgsr.evaluation.conditions import ALL
from vgsr.evaluation.matrix import Matrix
from vgsr.evaluation.protocol import Protocol
from vgsr.evaluation.robustness_plot import plot
from vgsr.style import Look

LINES = Protocol("corpus/list", 100, "0" * 64, "1 utterance", "cosine", 1, False)


def matrix(shift=0.0, kinds=("clean", "noise", "babble", "music", "duration")):
    eer = {one: 0.1 + shift + 0.2 / (1 + (one.level or 0)) for one in ALL if one.kind in kinds}
    return Matrix(eer, 10, 90, LINES)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.5, 5)), min_size=1, max_size=9))
def test_names_keep_clear_of_each_other_and_move_as_little_as_may_be(labels):
    labels.sort()
    wanted, heights = map(np.array, zip(*labels, strict=True))
    places = np.array(robustness_plot._spread(wanted.tolist(), heights.tolist()))
    room = (heights[:-1] + heights[1:]) / 2
    assert (np.diff(places) >= room - 1e-9).all()
    below = np.append(0, np.cumsum(room))
    best = IsotonicRegression().fit_transform(np.arange(len(wanted)), wanted - below) + below
    assert np.square(places - wanted).sum() == pytest.approx(np.square(best - wanted).sum(), abs=1e-6)


def test_the_same_figures_are_the_same_files(tmp_path):
    systems = {"one": matrix(), "three seeds": [matrix(0.01), matrix(0.02).table(), matrix(0.05)]}
    plot(systems, tmp_path / "deep" / "a")
    plot(systems, tmp_path / "deep" / "b")
    for kind in ("png", "pdf"):
        first, second = ((tmp_path / "deep" / f"{name}.{kind}").read_bytes() for name in "ab")
        assert first == second and len(first) > 5000
    plot({**systems, "one": matrix(0.1)}, tmp_path / "c")
    assert (tmp_path / "c.png").read_bytes() != first
    assert Image.open(tmp_path / "c.png").size == (2100, 780)


def test_there_is_a_panel_for_each_kind_and_a_mark_for_every_figure(tmp_path, monkeypatch):
    drawn = []
    dress = robustness_plot._dress
    monkeypatch.setattr(robustness_plot, "_dress", lambda axes, kind: (drawn.append((kind, axes)), dress(axes, kind)))
    plot({"all": matrix(), "less": matrix(0.1, ("clean", "music"))}, tmp_path / "plot")
    assert [kind for kind, _ in drawn] == ["noise", "babble", "music"]
    for kind, axes in drawn:
        marked = {(x, round(y, 6)) for line in axes.lines if line.get_marker() == "o" for x, y in line.get_xydata()}
        one = matrix().eer
        expected = {(c.level, round(100 * one[c], 6)) for c in one if c.kind == kind} | {(25.0, 100 * one[ALL[0]])}
        assert {(x, round(y, 6)) for x, y in expected} <= marked
        assert any(line.get_marker() == "s" for line in axes.lines) == (kind == "music")
    drawn.clear()
    plot({"music": replace(matrix(), eer=matrix(0, ("clean", "music")).eer)}, tmp_path / "music")
    assert [kind for kind, _ in drawn] == ["music"]


def test_a_system_looks_as_it_is_told_to(tmp_path, monkeypatch):
    seen = []
    line = robustness_plot._line
    monkeypatch.setattr(
        robustness_plot, "_line", lambda axes, kind, rates, look: (seen.append(look), line(axes, kind, rates, look))
    )
    plot({"one": matrix()}, tmp_path / "plot", {"one": Look("#123456", ":", "x")})
    assert seen == [{"color": "#123456", "linestyle": ":", "marker": "x"}] * 3
