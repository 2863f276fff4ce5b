"""Places on this machine: each kind gives its checkpoint's folder, and a wrong one says what was tried."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from vgsr import fetch, tracking
from vgsr.fetch import FetchError
from vgsr.tracking import artifacts


def test_a_checkpoint_is_its_own_place(tmp_path, write):
    assert fetch.checkpoint(write(tmp_path / "c")) == tmp_path / "c"
    assert fetch.checkpoint(str(tmp_path / "c")) == tmp_path / "c"


@pytest.mark.parametrize("kept", ["checkpoints", "."])
def test_a_run_gives_its_best_checkpoint(tmp_path, kept, write):
    run = tmp_path / "run"
    for name in ("00001-000000", "00003-000000"):
        write(run / kept / name, best="00001-000000")
    # One that is being written, and a later one within an epoch: it knows the best of the finished ones.
    write(run / kept / ".writing-0-1", best="")
    write(run / kept / "00003-000005", best="00003-000000")
    assert fetch.checkpoint(run) == run / kept / "00003-000000"


@pytest.mark.parametrize("best", ["", None, "00009-000000", "../../elsewhere"])
def test_a_run_whose_best_is_not_there_lists_what_is(tmp_path, best, write):
    write(tmp_path / "elsewhere")
    for name in ("00000-000005", "00000-000009"):
        write(tmp_path / "run" / "checkpoints" / name, best=best)
    with pytest.raises(FetchError, match=r"name one of .*checkpoints/00000-000005, .*checkpoints/00000-000009"):
        fetch.checkpoint(tmp_path / "run")


def test_what_is_no_checkpoint_is_named(tmp_path, write):
    write(tmp_path / ".writing-0-1")  # a killed run's first
    with pytest.raises(FetchError, match=r"neither a checkpoint .* nor a run"):
        fetch.checkpoint(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="name the checkpoint's folder"):
        fetch.checkpoint(tmp_path / "file")


def test_a_misspelt_path_makes_no_tracking_store(tmp_path):
    for place in ("runs/none", "models:/vgsr@champion", "runs:/" + "0" * 32):
        with pytest.raises(FetchError, match=r"no runs are tracked .*mlflow\.db"):
            fetch.checkpoint(place)
    with pytest.raises(
        FetchError, match=r"runs/none: no such folder, and .* a place is a checkpoint's folder, a run's"
    ):
        fetch.checkpoint("runs/none")
    assert not (tmp_path / "home").exists()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A tracking store whose artifacts lie on this machine."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    return tracking.connect(uri)


@pytest.fixture
def tracker(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    return store


def test_a_run_is_found_by_search_and_arm(tracker, tmp_path, write, tracked):
    one = write(tmp_path / "one")
    run = tracked(tracker, "t1", one, name="MKD, seed 1", **{"vgsr.reference": "MKD"})
    tracked(tracker, "t2", tmp_path / "two", name="MKD, seed 2", state=tracking.FAILED, **{"vgsr.reference": "MKD"})
    for place in ("cmp/MKD", "cmp/MKD, seed 1", "cmp/M*", f"runs:/{run}", run):
        assert fetch.checkpoint(place) == one


def test_several_runs_are_listed(tracker, tmp_path, tracked):
    runs = [tracked(tracker, f"s{seed}", name=f"KD, seed {seed}", search="several") for seed in (1, 2)]
    with pytest.raises(FetchError, match="several means 2 runs") as caught:
        fetch.checkpoint("several")
    assert all(f"runs:/{run}" in str(caught.value) for run in runs) and "KD, seed 2" in str(caught.value)


def test_a_path_that_exists_wins(tracker, tmp_path, monkeypatch, write, tracked):
    monkeypatch.chdir(tmp_path)
    tracked(tracker, "arm", write(tmp_path / "tracked"), search="wins")
    assert fetch.checkpoint("wins/arm") == tmp_path / "tracked"
    write(tmp_path / "wins" / "arm")
    assert fetch.checkpoint("wins/arm") == Path("wins/arm")


def test_what_was_tried_is_told(tracker, tmp_path, tracked):
    run = tracked(tracker, "gone", tmp_path / "gone", search="gone")
    with pytest.raises(FetchError, match=r"no checkpoint of run 'gone'.*/gone, .*/model, .*/checkpoint"):
        fetch.checkpoint(f"runs:/{run}")
    with pytest.raises(FetchError, match=r"no such folder, and no run and no search 'goen' .* did you mean 'gone'"):
        fetch.checkpoint("goen")
    with pytest.raises(FetchError, match="no model models:/vgsr@champion"):
        fetch.checkpoint("models:/vgsr@champion")


def test_artifacts_on_this_machine_are_used_in_place(tracker, tmp_path, write, contents, tracked):
    run = tracked(tracker, "local", search="local")
    tracking.attach(tracker, run, write(tmp_path / "c"), "checkpoint")
    found = fetch.checkpoint(f"runs:/{run}")
    assert contents(found) == contents(tmp_path / "c")
    assert found == tracking.attached(tracker, run, "checkpoint") and not (tmp_path / "home").exists()


def test_a_hostile_store_writes_nothing_outside_the_cache(tracker, tmp_path, monkeypatch, contents, tracked):
    """The store says that it has files elsewhere and, asked for one, also brings another of a name of its choice."""
    run = tracked(tracker, "hostile", search="hostile")

    def lists(names):
        return lambda folder: [SimpleNamespace(path=name, is_dir=False, file_size=2) for name in names]

    def bring(name, folder):
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text("{}")
        return str(Path(folder) / name)

    def store(*names):
        repository = SimpleNamespace(list_artifacts=lists(names), download_artifacts=bring)
        monkeypatch.setattr(artifacts, "get_artifact_repository", lambda *uris: repository)

    monkeypatch.setattr(tracking, "in_place", lambda uri: None)
    store(*fetch.FILES, "../../../evil")
    with pytest.raises(FetchError, match="leads out of its folder"):
        fetch.checkpoint(f"runs:/{run}")
    assert not list(tmp_path.rglob("*evil*"))
    store(*fetch.FILES, "evil.py", "conftest.py")
    assert set(contents(fetch.checkpoint(f"runs:/{run}"))) == set(fetch.FILES)
