"""The session in a worker of Ray Train, without Ray: when it wants a checkpoint."""

from types import SimpleNamespace

import pytest
import torch

from vgsr.training import worker


class Cluster:
    """What Ray Train would tell: nodes that are drained, asked by whom; workers in lockstep get rank 0's word."""

    def __init__(self):
        self.leaving, self.asked = [], 0

    def info(self):
        self.asked += 1
        return SimpleNamespace(preempted_node_ids=self.leaving) if self.leaving else None


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.delenv(worker.WATCHER, raising=False)
    monkeypatch.setattr(worker, "get_context", lambda: context)
    monkeypatch.setattr(worker, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(worker, "get_preemption_info", made.info)
    monkeypatch.setattr(worker, "broadcast_from_rank_zero", lambda data: data)
    monkeypatch.setattr(worker.Rhythm, "ASK_SECONDS", 0.0)  # after every batch
    return made


def session(timed=False):
    return worker.RaySession(None, 1, "nowhere", timed=timed, heeds=False)


def test_a_notice_makes_one_checkpoint(cluster):
    ours = session()
    assert [ours.wants_checkpoint() for _ in range(3)] == [False] * 3
    cluster.leaving = ["one"]
    assert [ours.wants_checkpoint() for _ in range(3)] == [True, False, False]
    cluster.leaving = ["one", "other"]
    assert [ours.wants_checkpoint() for _ in range(3)] == [True, False, False]
    assert cluster.asked == 9


def test_the_clock_makes_checkpoints_where_that_is_wanted(cluster, monkeypatch):
    monkeypatch.setattr(worker.Rhythm, "CHECKPOINT_SECONDS", -1.0)
    assert session(timed=True).wants_checkpoint() and not session(timed=False).wants_checkpoint()


def test_where_nobody_watches_for_preemption_nothing_is_asked(cluster, monkeypatch):
    monkeypatch.setenv(worker.WATCHER, "0")
    cluster.leaving = ["one"]
    assert not session().wants_checkpoint() and not session(timed=True).wants_checkpoint()
    assert cluster.asked == 0
