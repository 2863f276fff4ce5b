"""The dry run: it says all that is so and all that is wrong, and leaves nothing behind."""

import io
import os
import re
import sqlite3
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from vgsr import tracking
from vgsr.search import calibrate, dry, plan, probe, run
from vgsr.search.capacity import Capacity, Node
from vgsr.search.plan import Base, Plan
from vgsr.training import check

from ..written import close_run, open_run


def _space(trial, base):
    return {"distill.weight": trial.suggest_float("weight", 0.1, 1.0)}


PLAN = Plan("dry-search", _space, {"no teacher": {"distill": {"method": "none"}}})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of this test's own, no cluster, few steps."""
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(calibrate, "STEPS", 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def show(tiny_experiment, home):
    """Runs a dry run; whether it could start, and what was said."""

    def run(changes=None, **settings):
        experiment = tiny_experiment(changes)
        found = check.check(experiment)
        own = plan.Settings(**settings)
        said = io.StringIO()
        search = plan.bind(PLAN, Base(experiment, found.signals), own, found.data_digest)
        could = dry.show(search, found, Console(file=said, width=200, markup=False))
        return could, said.getvalue(), search

    return run


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in Path(folder).rglob("*")
    }


def test_nothing_is_left_where_nothing_was(show, tmp_path):
    before, children = _files(tmp_path), set(_children())
    could, said, search = show(trials=6, top=2)
    assert could
    assert _files(tmp_path) == before
    assert set(_children()) == children
    for wanted in (
        search.search_id,
        search.experiment.digest,
        "no database yet",
        "none runs; the search would start one on this machine",
        "stage search │ 6 trials of 2 epochs",
        "stage confirm │ 15 trials of 2 epochs",  # (2 + 3 controls) x 3 seeds
        "1 worker with 1 CPU, and a driver",
        "measured on this machine's CPU",
        "at most, without pruning │ 42 ",
        "can start; nothing was started",
    ):
        assert re.sub(r"\s+", " ", wanted) in re.sub(r"\s+", " ", said), wanted
    assert len(re.findall(r"s\d{4}-[0-9a-f]{6}", said)) == dry.SHOWN


def test_a_phase_is_counted_by_its_epochs_and_timed_by_its_crops(show):
    could, said, _ = show({"phases": [{"name": "large-margin", "epochs": 3, "crop_seconds": 1.5}]}, trials=6, top=2)
    said = re.sub(r"\s+", " ", said)
    assert could and "stage search │ 6 trials of 5 epochs" in said
    assert "large-margin: 3 epochs of 1.5 s crops" in said
    step, steps, validation, whole, longer = map(
        float,
        re.search(
            r"a step │ ([\d.]+) ms, (\d+) an epoch .*?validation │ ([\d.]+) s an epoch .*?an epoch │ ([\d.]+) s .*?"
            r"one of large-margin │ ([\d.]+) s, as its crops are 1.5 s long",
            said,
        ).groups(),
    )
    assert whole == pytest.approx(step * steps / 1000 + validation, abs=0.11)
    assert longer == pytest.approx(3 * step * steps / 1000 + validation, abs=0.11)


def _children():
    own = str(os.getpid())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == own:
            yield name


def test_the_configurations_are_those_that_the_search_starts_with(show):
    from vgsr.search import tuning

    _, said, search = show(trials=6)
    searcher = tuning.searcher(search, search.first)
    for number in range(4):
        assert searcher.suggest(f"a-{number}")["trial"] in said


def test_what_is_there_is_read_and_not_touched(show, home, tmp_path, tiny_experiment):
    """An MLflow with a begun search in it: the dry run says how far it is, and changes no row and no file."""
    _, _, search = show(trials=4, top=0, seeds=1)
    tracker = tracking.connect()
    tags = {"vgsr.data": "d", "vgsr.control": "none"}
    parent = open_run(tracker, search=search.search_id, trial="", name="s", tags=tags, experiment=None)
    for number, state in enumerate((tracking.COMPLETED, tracking.PRUNED, None)):
        of_trial = {**tags, tracking.PARENT: parent}
        run = open_run(
            tracker, search=search.search_id, trial=f"t{number}", name="t", tags=of_trial, experiment=search.experiment
        )
        if state:
            close_run(tracker, run, state)
    before, rows = _files(tmp_path), _dump(home / "mlflow.db")
    could, said, _ = show(trials=4, top=0, seeds=1)
    assert could
    assert "begun: 2 of 5 trials are over" in said
    assert _dump(home / "mlflow.db") == rows
    assert set(_files(tmp_path)) == set(before)
    close_run(tracker, parent, tracking.COMPLETED)
    assert "finished" in show(trials=4, top=0, seeds=1)[1]


def _dump(file):
    with sqlite3.connect(file) as opened:
        return list(opened.iterdump())


def test_everything_that_is_wrong_is_named_at_once(show, tmp_path, monkeypatch, free_port):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    bad = tmp_path / "prices.yaml"
    bad.write_text(yaml.safe_dump({"curency": "EUR"}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:hidden@127.0.0.1:{free_port()}")
    monkeypatch.setenv("RAY_ADDRESS", "here:and:there")
    could, said, _ = show(storage=str(blocked / "place"), prices=str(bad))
    assert not could
    for wanted in (
        "storage: ",
        "MLflow: ",
        "Ray: ",
        "prices: ",
        "unknown key 'curency'",
        "does not answer",
        "here:and:there",
    ):
        assert wanted in said, wanted
    assert "hidden" not in said
    assert "cannot start" in said
    assert blocked.read_text() == "a file, not a folder"


def test_storage_on_s3_is_probed_and_left_empty(s3, home):
    line = probe.storage_line(f"{s3.place}/searches/x")
    assert "written, read, deleted" in line
    assert "Contents" not in s3.client.list_objects_v2(Bucket=s3.name)
    with pytest.raises(probe.StorageError, match="absent"):
        probe.storage_line("s3://absent-bucket-of-nobody/searches/x")


def test_a_trial_that_wants_a_gpu_where_there_is_none(show, home):
    """Hours are not made up: the CPU's figures are said to be such. Earlier runs on GPUs tell them, and the money."""
    gpu = {"train.gpu": True}
    could, said, search = show(gpu, trials=4, top=0, seeds=1)
    assert not could and "no trial fits on this cluster" in said
    assert "The hours of the search cannot be told" in re.sub(r"\s+", " ", said)
    assert "GPU-hours" not in said and "USD" not in said
    tracker = tracking.connect()
    run = open_run(
        tracker, search="earlier", trial="t", name="t", tags={"vgsr.data": "d"}, experiment=search.experiment
    )
    tracking.log_figures(tracker, run, {"utterances_per_second": 2.0, "validation_seconds": 1.0})
    close_run(tracker, run, tracking.COMPLETED)
    _, said, _ = show(gpu, trials=4, top=0, seeds=1)
    assert "1 completed runs of this shape" in said
    assert "GPU-hours" in said
    assert "p5.48xlarge" in said and "m6i.2xlarge" not in said


def test_a_cluster_that_runs(show, monkeypatch):
    """Its nodes' machines give the money; as many trials at once as it can grow to give the hours."""
    nodes = tuple(Node({"CPU": 8.0}, labels) for labels in ({}, {"vgsr/machine": "m6i.2xlarge"}))
    found = probe.Cluster(True, "10.0.0.1:6379: 2 nodes", Capacity(nodes))
    monkeypatch.setattr(probe, "cluster", lambda: found)
    could, said, _ = show(trials=4, top=0, seeds=1)
    assert could and "15 trials at once" in said
    assert "m6i.2xlarge" in said and "n2-standard-8" not in said
    monkeypatch.setattr(probe, "cluster", lambda: probe.Cluster(True, "10.0.0.1:6379", Capacity(nodes[:1])))
    assert "Money cannot be told: no node of the cluster has a label vgsr/machine" in show(trials=4, top=0)[1]


@pytest.mark.parametrize("broken", [True, False])
def test_the_command_ends_with_its_verdict(tiny_experiment, home, tmp_path, broken, capsys):
    file = tmp_path / "experiment.yaml"
    file.write_text(tiny_experiment().yaml())
    place = file / "no-folder" if broken else tmp_path / "place"
    with pytest.raises(SystemExit) as ended:
        run.main(PLAN, [f"experiment={file}", "trials=4", dry.FLAG, f"storage={place}"])
    assert ended.value.code == (2 if broken else 0)
    assert not (tmp_path / "place").exists()
    assert ("cannot start" in capsys.readouterr().out) == broken


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "somewhere"])
def test_a_named_cluster_that_is_not_there(home, free_port, monkeypatch, address):
    """Said at once: Ray itself would ask for minutes, and then end the process."""
    address = address.format(port=free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(probe.ClusterError, match=re.escape(f"RAY_ADDRESS={address}")):
        probe.cluster()
