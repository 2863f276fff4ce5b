"""The table: columns where rows differ, both figures and the front, and controls that say that they are controls."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr.data import manifest
from vgsr.search import table
from vgsr.search.columns import columns
from vgsr.teachers.coverage import Coverage
from vgsr.tracking import COMPLETED, PROTOCOL, PRUNED, TrackedRun

METRIC, NOISY = "best_val_eer", "best_val_noisy_eer"
FIGURES = {"best_val_min_dcf_0.01": 0.5, "active": 0.5, "epoch": 4, "total_seconds": 12}


def run(experiment, name, eer, noisy=None, state=COMPLETED, reference=False, **figures):
    tags = {"vgsr.trial": name, "vgsr.control": experiment.teacher.control, "vgsr.checkpoint": f"/runs/{name}"}
    tags |= {"vgsr.reference": name} if reference else {}
    params = {key: str(value) for key, value in experiment.flat().items()}  # as MLflow keeps them
    title = name if experiment.teacher.control == "none" else f"{name} [control: {experiment.teacher.control}]"
    figures = {**FIGURES, METRIC: eer, **({} if noisy is None else {NOISY: noisy}), **figures}
    return TrackedRun(name, title, state, tags, params, figures, 12.0)


def cells(runs, noisy=False):
    shown = columns(runs, 0.01, noisy)
    return [{column.heading: column.cell(run) for column in shown} for run in runs]


@pytest.fixture
def taught(tiny_experiment):
    return lambda **changes: tiny_experiment(
        {"distill.weight": 1.0, **{key.replace("__", "."): value for key, value in changes.items()}}
    )


def test_a_search_over_margins_shows_margins(taught, tiny_experiment):
    runs = [
        run(taught(), "a", 0.1),
        run(taught(distill__margin__value=0.2, distill__margin__unit="absolute"), "b", 0.2),
        run(tiny_experiment({"distill": {"method": "none"}}), "no teacher", 0.3, reference=True),
    ]
    found = cells(runs)
    common = {"minDCF(0.01)": "0.500", "epochs": "4", "seconds": "12"}
    assert found == [
        {"trial": "a", "margin": "q 0.5", "λ": "1", "EER %": "10.00", "active %": "50", **common},
        {"trial": "b", "margin": "0.2", "λ": "1", "EER %": "20.00", "active %": "50", **common},
        {"trial": "no teacher", "margin": "–", "λ": "–", "EER %": "30.00", "active %": "–", **common},
    ]


def test_what_differs_is_shown(taught):
    runs = [
        run(taught(distill__margin__kind="softplus", quality__signals=[]), "a", 0.1, 0.2),
        run(taught(distill__method="rkd_distance", quality__floor=0.5), "b", 0.2, 0.3),
        run(taught(quality__apply_to="both"), "c", 0.3, 0.4),
    ]
    found = cells(runs, noisy=True)
    assert [row["method"] for row in found] == ["cosine", "rkd_distance", "cosine"]
    assert [row["kind"] for row in found] == ["softplus", "hinge", "hinge"]
    assert [row["quality"] for row in found] == [
        "none",
        "face_norm, speech_snr → distillation (τ 1.00, floor 0.50, product)",
        "face_norm, speech_snr → both (τ 1.00, floor 0.10, product)",
    ]
    assert [row["noisy EER %"] for row in found] == ["20.00", "30.00", "40.00"]


def test_several_distillations_stand_side_by_side(taught):
    two = [
        {"method": "cosine", "weight": 2, "margin": {"value": 0.25}},
        {"method": "rkd_distance", "weight": 25, "margin": {"value": 0.5, "unit": "quantile"}},
    ]
    figures = {"active_cosine": 0.25, "active_rkd_distance": 0.75, "taught_cosine": 0.5, "taught_rkd_distance": 0.4}
    several = run(taught(distill=two), "a", 0.1, **figures)
    (first, second) = cells([several, run(taught(), "b", 0.2, taught=0.5)])
    assert first["method"] == "cosine + rkd_distance" and first["margin"] == "0.25 + q 0.5"
    assert first["λ"] == "2 + 25" and first["active %"] == "25 + 75"
    assert first["taught %"] == "50 + 40" and second["taught %"] == "50"


def shown(experiment, runs, metrics=(METRIC,), teacher_eer=0.05):
    plan = SimpleNamespace(metrics=metrics)
    search = SimpleNamespace(search_id="some-search", experiment=experiment, plan=plan, confirms=False)
    console = Console(width=200, file=io.StringIO(), markup=False)
    table.show(search, runs, teacher_eer, Coverage(2 / 3, 0.5), console)
    return console.file.getvalue()


def line(text, name):
    return next(line for line in text.splitlines() if name in line and "│" in line)


def test_the_front_is_marked_and_the_lowest_clean_eer_of_it_is_best(taught, tmp_path):
    noisy = {"evaluate__noise": str(tmp_path), "evaluate__snr": [0.0, 10.0]}
    rows = {"quiet": (0.1, 0.4), "robust": (0.2, 0.2), "beaten": (0.2, 0.3), "cut": (0.0, 0.0)}
    runs = [
        run(taught(**noisy), name, *eers, state=PRUNED if name == "cut" else COMPLETED) for name, eers in rows.items()
    ]
    text = shown(taught(**noisy), runs, (METRIC, NOISY))
    assert [name for name in rows if "●" in line(text, name)] == ["quiet", "robust"]
    assert "10.00" in line(text, "quiet") and "40.00" in line(text, "quiet")
    assert "best checkpoint: /runs/quiet; of the front, the lowest clean EER" in text
    assert f"mean over 0, 10 dB SNR, both sides of each trial with noise of {tmp_path}" in text


def test_a_control_is_marked_everywhere_and_is_never_the_best(taught):
    protocol = {f"{PROTOCOL}synthetic_test": "by some protocol"}
    tested = {"test_synthetic_test_eer": 0.01, "test_synthetic_test_min_dcf_0.01": 0.1}
    tested |= {"test_synthetic_test_min_dcf_0.05": 0.1}
    control = run(taught(teacher__control="shuffled"), "shuffled faces", 0.01, reference=True, **tested)
    control.tags.update(protocol)
    text = shown(taught(), [control, run(taught(), "trial", 0.2)])
    marked = [one for one in text.splitlines() if "shuffled faces" in one]
    assert len(marked) == 2 and all("shuffled faces [control: shuffled]" in one for one in marked)
    assert "best checkpoint: /runs/trial" in text and "●" not in text


def test_a_search_of_controls_has_no_best(taught):
    controls = taught(teacher__control="random")
    text = shown(controls, [run(controls, "a", 0.1)])
    assert "some-search [control: random]" in text and "a [control: random]" in line(text, "10.00")
    assert "No trial but controls was completed" in text and "best checkpoint:" not in text


def test_the_protocol_is_always_said(taught, tiny):
    text = shown(taught(), [run(taught(), "a", 0.1)])
    assert f"({len(manifest.read(tiny).trials['validation']):,} trials)" in text and "SYNTHETIC" in text
    assert "The teacher has a face for 66.7 % of the training utterances, 50.0 % of the speakers." in text
    assert "the teacher is no better" in shown(taught(), [run(taught(), "a", 0.1)], teacher_eer=0.1)
