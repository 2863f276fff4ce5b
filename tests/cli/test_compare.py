"""`vgsr compare`: tracked runs and score files against each other, list by list, with what the figures rest on."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vgsr import cli, tracking
from vgsr.evaluation import score_files
from vgsr.evaluation.score_files import SCORES
from vgsr.evaluation.significance import compare

from ..written import close_run, log_row, open_run

SIMULATED = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "simulated_systems.py"))
SETTING = replace(SIMULATED["SETTINGS"]["40 speakers"], extra=1.0)


@pytest.fixture(scope="module")
def systems():
    """Score tables of three seeds of A and of B, on two lists."""
    return {
        name: [
            [table.select(SCORES.names).cast(SCORES) for table in side]
            for side in SIMULATED["tables"](SETTING, np.random.default_rng(number))
        ]
        for number, name in enumerate(("own_clips", "own_test"))
    }


@pytest.fixture(scope="module")
def store(systems, tmp_path_factory):
    """A tracking store with the runs of two arms, MKD and "no teacher", and where score files of theirs lie."""
    folder = tmp_path_factory.mktemp("store")
    tracker = tracking.connect(f"sqlite:///{folder / 'mlflow.db'}")
    for number, arm in enumerate(("MKD", "no teacher")):
        for seed in range(3):
            tags = {"vgsr.reference": arm}
            for name in systems:
                tags[f"vgsr.protocol.{name}"] = f"trials {name} · cosine, no score normalisation · 1 seed"
            run = open_run(
                tracker, search="s", trial=f"t{number}{seed}", name=f"{arm}, seed {seed}", tags=tags, experiment=None
            )
            for key, value in (("seed", seed), ("distill.method", "none" if number else "cosine")):
                tracker.client.log_param(run, key, value)
            files = folder / arm / str(seed)
            files.mkdir(parents=True)
            for name, sides in systems.items():
                score_files.write(files / f"{name}.parquet", sides[number][seed])
            tracking.attach(tracker, run, files, "scores")
            log_row(tracker, run, {"epoch": 1, "best_val_eer": 0.1 + 0.01 * ((seed + 1 + number) % 3)})
            close_run(tracker, run, tracking.COMPLETED)
    return folder, tracker


@pytest.fixture
def said(store, monkeypatch):
    """What `vgsr compare …` prints; with `fails`, the mistake."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[1].uri)
    monkeypatch.setattr(cli.console, "width", 220)

    def run(*arguments, fails=None):
        done = CliRunner().invoke(cli.app, ["compare", *map(str, arguments), "--replicates", "200"])
        if fails is None:
            assert done.exit_code == 0, done.exception or done.output
        else:
            assert type(done.exception).__module__.startswith("vgsr."), done.exception
            assert fails in str(done.exception)
        return done.output

    return run


def row(output, name):
    (line,) = [line for line in output.splitlines() if line.startswith("│") and line.split("│")[1].strip() == name]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def expected(found):
    """The cells of a comparison."""
    each = [f" ({', '.join(f'{100 * eer:.2f}' for eer in eers)})" for eers in (found.eers_a, found.eers_b)]
    return [
        f"{100 * found.eer_a:.2f}" + each[0] * (len(found.eers_a) > 1),
        f"{100 * found.eer_b:.2f}" + each[1] * (len(found.eers_b) > 1),
        f"{100 * found.relative:+.1f}",
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
        "< 0.001" if found.p < 0.001 else f"{found.p:.3f}",
        found.verdict,
    ]


def test_arms_are_compared_on_all_their_lists_and_paired_by_seed(said, systems):
    output = said("s/MKD", "s/no teacher")
    for name, sides in systems.items():
        assert row(output, name) == expected(compare(*sides, seeds_paired=True, replicates=200))
    assert row(output, "own_test")[-1] == "better"
    assert "A: MKD · 3 runs of seed 0, 1, 2" in output and "B: no teacher" in output
    assert "own_clips: A and B: trials own_clips · cosine, no score normalisation\n" in output
    for fact in ("40 speakers", "200 lists", "training noise from 3 paired seeds", "2 lists were tested"):
        assert fact in output


def test_one_list_and_other_seeds(said, systems):
    output = said("s/MKD", "s/no teacher, seed 0, s/no teacher, seed 1", "--trials", "own/test")
    a, b = systems["own_test"]
    assert row(output, "own_test") == expected(compare(a, b[:2], seeds_paired=False, replicates=200))
    assert "3 and 2 seeds, not paired" in output
    assert "own_clips" not in output and "lists were tested" not in output


def test_as_many_but_other_seeds_are_not_paired(said, systems):
    output = said("s/MKD, seed 0, s/MKD, seed 1", "s/no teacher, seed 2, s/no teacher, seed 1", "--trials", "own_test")
    a, b = systems["own_test"]
    assert row(output, "own_test") == expected(compare(a[:2], b[1:], seeds_paired=False, replicates=200))
    assert "2 and 2 seeds, not paired" in output


def test_one_seed_each_is_warned_of(said, systems):
    output = said("s/MKD, seed 1", "s/no teacher, seed 1", "--trials", "own_clips")
    a, b = systems["own_clips"]
    assert row(output, "own_clips") == expected(compare(a[1:2], b[1:2], seeds_paired=True, replicates=200))
    assert "training noise is NOT in it" in output and "warning: own_clips: one seed each: another training" in output


def test_score_files_are_compared(said, store, systems):
    folder, _ = store
    output = said(folder / "MKD/*/own_test.parquet", folder / "no teacher/0/own_test.parquet")
    a, b = systems["own_test"]
    assert row(output, "score files") == expected(compare(a, b[:1], seeds_paired=False, replicates=200))
    assert "do not say how they were made" in output
    both = f"{folder}/no teacher/0/own_test.parquet, {folder}/no teacher/1/own_test.parquet"
    output = said("s/MKD", both, "--trials", "own_test")
    assert row(output, "own_test") == expected(compare(a, b[:2], seeds_paired=False, replicates=200))


def test_a_side_of_several_systems_is_warned_of(said):
    output = said("s", "s/no teacher", "--trials", "own_test")
    assert "the runs of A are not seeds of one system: they differ in distill.method" in output
    assert "not paired" in output


def test_other_protocols_are_warned_of(said, store):
    _, tracker = store
    (run,) = tracking.select(tracker, "s/MKD, seed 2")
    before = run.tags["vgsr.protocol.own_test"]
    tracking.tag(tracker, run.run_id, {"vgsr.protocol.own_test": "trials own_test · AS-norm · 1 seed"})
    try:
        assert "own_test: the runs were measured by different protocols" in said("s/MKD", "s/no teacher")
    finally:
        tracking.tag(tracker, run.run_id, {"vgsr.protocol.own_test": before})


def test_a_list_without_errors_is_said_and_the_others_are_compared(said, store, systems, tmp_path):
    _, tracker = store
    for name in systems:
        table = systems[name][0][0]
        if name == "own_clips":
            table = table.set_column(5, "score", table["label"].cast("float64"))
        score_files.write(tmp_path / f"{name}.parquet", table)
    run = open_run(tracker, search="easy", trial="t", name="easy", tags={}, experiment=None)
    tracker.client.log_param(run, "seed", 0)
    tracking.attach(tracker, run, tmp_path, "scores")
    close_run(tracker, run, tracking.COMPLETED)
    output = said("easy", "s/no teacher, seed 0")
    assert "own_clips: A made no error on this list" in output
    assert len(row(output, "own_test")) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["s/MDK", "s/no teacher"], "did you mean 'MKD'"),
        (
            ["s/MKD", "s/no teacher", "--trials", "own/tset"],
            "no list 'own/tset' that all runs were tested on; they have",
        ),
        (["s/MKD", "nowhere.parquet"], "no such score file: nowhere.parquet"),
        (["s/MKD", "{folder}/MKD/0/own_test.parquet"], "of which list are the score files?"),
        (["s/MKD", "{folder}/MKD/0/own_test.parquet", "--trials", "own_clips"], "are of different lists"),
        (["s/MKD", "{folder}/MKD/0/own_test.parquet,nowhere.parquet"], "no such score file: nowhere.parquet"),
    ],
)
def test_mistakes_are_told(said, store, arguments, told):
    said(*(argument.format(folder=store[0]) for argument in arguments), fails=told)


def test_runs_without_scores_are_told(said, store):
    _, tracker = store
    run = open_run(tracker, search="bare", trial="t", name="bare run", tags={}, experiment=None)
    tracker.client.log_param(run, "seed", 0)
    close_run(tracker, run, tracking.COMPLETED)
    said("bare", "s/no teacher", fails="run bare run")
