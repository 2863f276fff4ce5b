"""The champion: the best that can be ranked, registered once, and still the checkpoint that it was."""

import pytest

import vgsr
from vgsr import speaker, tracking
from vgsr.tracking import PRUNED, TrackingError


def test_the_best_is_the_best_completed_one(tracker, finished):
    finished("best", "a", 0.3)
    want = finished("best", "b", 0.2)
    finished("best", "pruned", 0.1, PRUNED)
    finished("best", "control", 0.05, **{"vgsr.control": "shuffled"})
    assert tracking.best(tracker, "best").run_id == want
    with pytest.raises(TrackingError, match="no completed run of search 'none'"):
        tracking.best(tracker, "none")


def test_runs_on_different_data_are_not_ranked(tracker, finished):
    finished("mixed", "a", 0.3)
    finished("mixed", "b", 0.2, **{"vgsr.data": "other"})
    with pytest.raises(TrackingError, match="different corpora"):
        tracking.best(tracker, "mixed")


def test_the_champion_is_registered_once_and_loads_as_the_checkpoint_does(
    tracker, finished, checkpoint, tiny, monkeypatch
):
    finished("champion", "a", 0.3)
    run = tracking.best(tracker, "champion")
    version = tracking.promote(tracker, run, checkpoint, reason="it is the best", champion=True)
    assert tracking.promote(tracker, run, checkpoint, reason="it is the best", champion=True) == version
    assert tracking.champion(tracker) == (version, run)
    held = tracker.client.get_model_version_by_alias("vgsr", "champion")
    assert (str(held.version), held.run_id) == (version, run.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    file = next(tiny.rglob("*.flac"))
    want = speaker.load(checkpoint).embed(file)
    for place in ("models:/vgsr@champion", f"models:/vgsr/{version}", f"runs:/{run.run_id}", "champion/a"):
        assert (vgsr.load(place).embed(file) == want).all()
    finished("champion", "b", 0.2)
    following = tracking.promote(
        tracker, tracking.best(tracker, "champion"), checkpoint, reason="better still", champion=True
    )
    assert int(following) > int(version)
    assert str(tracker.client.get_model_version_by_alias("vgsr", "champion").version) == following


def test_the_reason_is_on_the_version_whether_it_becomes_champion_or_not(tracker, finished, checkpoint):
    (reigning,) = tracking.select(tracker, finished("reasons", "a", 0.3))
    tracking.promote(tracker, reigning, checkpoint, reason="the first", champion=True)
    (run,) = tracking.select(tracker, finished("reasons", "b", 0.2))
    version = tracking.promote(tracker, run, checkpoint, reason="not shown", champion=False, tags={"arm": "top 1"})
    assert tracking.champion(tracker)[1].run_id == reigning.run_id
    kept = tracker.client.get_model_version("vgsr", version)
    assert kept.description == "not shown" and kept.run_id == run.run_id
    assert kept.tags == {
        "reason": "not shown",
        "promoted": "false",
        "search": "reasons",
        "val_eer": "0.200000",
        "arm": "top 1",
    }
    # A person decides otherwise: the same version, with the person's reason.
    assert tracking.promote(tracker, run, checkpoint, reason="by hand", champion=True) == version
    kept = tracker.client.get_model_version("vgsr", version)
    assert (kept.description, kept.tags["reason"], kept.tags["promoted"]) == ("by hand", "by hand", "true")
    assert tracking.champion(tracker)[1].run_id == run.run_id


def test_what_is_known_of_a_run_that_a_person_promotes(tracker, finished):
    parent = finished("judged", "", 1.0)
    (run,) = tracking.select(tracker, finished("judged", "a", 0.3, **{tracking.PARENT: parent}))
    assert tracking.evidence(tracker, run).startswith("There is no evidence")
    tracking.tag(tracker, parent, {tracking.VERDICT: "Not promoted: worse"})
    assert tracking.evidence(tracker, run).endswith("Not promoted: worse")


def test_without_a_champion_there_is_none(tmp_path):
    assert tracking.champion(tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}")) is None


def test_nothing_in_the_registered_model_is_pickled(tracker, finished, checkpoint):
    run = next(run for run in tracking.select(tracker, finished("plain", "a", 0.3)))
    tracking.promote(tracker, run, checkpoint, reason="why not", champion=False)
    names = tracking.listed(tracker, tracking.run_uri(tracker, run.run_id, "model"))
    inside = {f"artifacts/{checkpoint.name}/{file.name}" for file in checkpoint.iterdir()}
    assert set(names) - inside == {
        "MLmodel",
        "conda.yaml",
        "from_code.py",
        "input_example.json",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
    assert (
        f"vgsr=={vgsr.__version__}"
        in (tracking.in_place(tracking.run_uri(tracker, run.run_id, "model")) / "requirements.txt")
        .read_text()
        .splitlines()
    )


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("models:/nobody@champion", "no model models:/nobody@champion in sqlite:.*`vgsr best` registers"),
        ("models:/nobody/3", "no model models:/nobody/3"),
        ('models:/it\'s@"x"', "no model"),
        ("models:/vgsr", "called models:/NAME@ALIAS or models:/NAME/VERSION, not models:/vgsr"),
    ],
)
def test_a_model_that_is_not_registered_is_named(tracker, place, message):
    with pytest.raises(TrackingError, match=message):
        tracking.registered(tracker, place)
