"""The end of stage 2, stopped between its steps: one verdict, one version, the same reason everywhere."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr import tracking
from vgsr.evaluation import score_files
from vgsr.search import conclude, judge
from vgsr.search.confirm import Confirmation
from vgsr.search.watch import STAGE

from ..written import close_run, open_run
from .made_up import FAIR, GOOD, LIST, arm

CONFIRMATION = Confirmation({"top 1": {}, "no teacher": {}}, {"top 1": "s0001-abcdef"})


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return tracking.connect(uri)


@pytest.fixture
def parent(tracker):
    return open_run(tracker, search="s", trial="", name="s", tags={}, experiment=None)


@pytest.fixture
def confirmed(tracker, parent, tiny_experiment, checkpoint, tmp_path):
    """Runs of stage 2 that were tested, of two arms of which the first is the better one."""

    def log(one):
        for run in one.runs:
            tags = run.tags | {tracking.PARENT: parent, STAGE: "confirm", "vgsr.checkpoint": str(checkpoint)}
            trial, experiment = run.tags["vgsr.trial"], tiny_experiment({"seed": run.seed})
            own = open_run(tracker, search="s", trial=trial, name=trial, tags=tags, experiment=experiment)
            tracking.log_figures(tracker, own, run.figures)
            folder = tmp_path / trial
            folder.mkdir()
            score_files.write(folder / f"{LIST}.parquet", one.scores[LIST][run.seed])
            tracking.attach(tracker, own, folder, tracking.SCORES)
            tracking.tag(tracker, own, {conclude.TESTED: "1"})
            close_run(tracker, own, tracking.COMPLETED)

    log(arm("top 1", GOOD))
    log(arm("no teacher", FAIR, val=0.2, offset=50))


def versions(tracker):
    return list(tracker.client.search_model_versions(f"name = '{tracking.MODEL}'"))


def test_a_verdict_is_reached_once_and_registered_once(tracker, parent, confirmed, tmp_path, monkeypatch):
    search = SimpleNamespace(storage=str(tmp_path / "search"), plan=SimpleNamespace(metrics=("best_val_eer",)))
    monkeypatch.setattr(conclude, "test", lambda *_: None)

    def judged():
        return judge.judge(search, tracker, parent, CONFIRMATION, False, Console(quiet=True))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as before_registering, pytest.raises(KeyboardInterrupt):
        before_registering.setattr(tracking, "promote", killed)
        judged()
    assert judge.recorded(search).promoted and not versions(tracker)
    with monkeypatch.context() as before_the_alias, pytest.raises(KeyboardInterrupt):
        before_the_alias.setattr(judge, "reach", killed)  # it was reached: nobody asks again
        before_the_alias.setattr(type(tracker.client), "set_registered_model_alias", killed)
        judged()
    with monkeypatch.context() as again:
        again.setattr(judge, "reach", killed)
        verdict = judged()
        assert judged() == verdict == judge.recorded(search)
    (version,) = versions(tracker)
    best = next(run for run in tracking.trials(tracker, parent) if run.name == "c-top 1-2")
    assert version.run_id == best.run_id == verdict.run_id
    assert version.description == version.tags["reason"] == verdict.reason
    told = verdict.gains["top 1"][LIST]
    assert version.tags["promoted"] == "true" and version.tags["arm"] == "top 1"
    assert version.tags[f"interval.{LIST}"] == f"{told.relative:+.4f} [{told.low:+.4f}, {told.high:+.4f}]"
    assert tracking.champion(tracker)[0] == str(version.version) == judge.version(tracker, parent)
    tags = tracker.client.get_run(parent).data.tags
    assert tags[tracking.VERDICT] == verdict.reason and tags["vgsr.promoted"] == "true"
    assert tracking.evidence(tracker, best).endswith(verdict.reason)
