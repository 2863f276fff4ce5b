from dataclasses import replace

import pytest

from vgsr import style, tracking
from vgsr.report import margins
from vgsr.report.collect import Arm
from vgsr.report.margins import Point


@pytest.fixture
def several(margin_search, tracked_run):
    """A search over two methods and both units, with a reference, a control, a failed run and one without a teacher."""
    quantile = {"distill.margin.unit": "quantile", "distill.margin.value": 0.5}
    pkt = {"distill.method": "pkt", **quantile}
    made = [
        tracked_run("a", changes={"distill.margin.value": 0.7}, figures={"best_val_eer": 0.2}, searched=True),
        tracked_run("b", changes=quantile, figures={"best_val_eer": 0.3}, searched=True, state=tracking.PRUNED),
        tracked_run("c", changes=pkt, figures={"best_val_eer": 0.1}, searched=True),
        tracked_run("d", changes=pkt, figures={"best_val_eer": 0.01}, searched=True, state=tracking.FAILED),
        tracked_run("hard", changes={"distill.margin.value": 0.0}, figures={"best_val_eer": 0.25}),
        tracked_run("shuffled", changes={"teacher.control": "shuffled"}, figures={"best_val_eer": 0.26}),
        tracked_run("no teacher", changes={"distill": {"method": "none"}}, figures={"best_val_eer": 0.27}),
    ]
    return replace(margin_search, arms=tuple(Arm(run.arm, (run,)) for run in made))


def test_each_method_and_unit_has_a_panel_the_best_method_first(several):
    found = {(panel.method, panel.unit): panel.points for panel in margins.gather(several)}
    assert list(found) == [("pkt", "quantile"), ("cosine", "absolute"), ("cosine", "quantile")]
    assert found["pkt", "quantile"] == (Point(0.5, 0.1, "searched", "c"),)
    assert found["cosine", "quantile"] == (Point(0.5, 0.3, "searched, pruned", "b"),)
    assert found["cosine", "absolute"] == (
        Point(0.0, 0.25, "reference", "hard"),
        Point(0.3, 0.26, "control", "shuffled"),
        Point(0.7, 0.2, "searched", "a"),
    )


def test_points_and_baseline_are_drawn_where_they_belong(several):
    with style.styled():
        figure = margins.plot(several, "no teacher").figure
    axes = {(one.get_title(loc="left"), one.get_xlabel()): one for one in figure.axes}
    drawn = axes["cosine", "margin, own unit"]
    points = {tuple(point) for line in drawn.get_lines()[1:] for point in line.get_xydata().tolist()}
    assert points == {(0.0, 25.0), (0.3, 26.0), (0.7, 20.0)}
    assert drawn.get_lines()[0].get_ydata() == [27.0, 27.0]
    assert axes["cosine", "margin, level"].get_xlim() == (0, 1)


def test_the_caption_has_the_units_of_absolute_margins(several):
    with style.styled():
        caption = margins.plot(several, "no teacher").caption
    assert "cosine: 1 - cos, 0..2" in caption
    assert "pkt" not in caption


def test_a_method_of_an_absent_plugin_has_no_known_unit():
    assert margins.units([margins.Panel("huber", "absolute", ())]) == {"huber": "unknown here"}


def test_a_comparison_searches_no_margin(comparison):
    assert margins.plot(comparison, "no teacher") == "no margin was searched"
