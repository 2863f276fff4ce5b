"""Files of a run: what was attached comes back, and no name of a foreign store leads out of the folder it goes to."""

from types import SimpleNamespace

import pytest

from vgsr import tracking
from vgsr.tracking import TrackingError, artifacts


def test_an_attached_folder_is_used_in_place(tracker, finished, tmp_path):
    run = finished("attach", "t0", 0.1)
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.parquet").write_bytes(b"one")
    (tmp_path / "deep" / "b").write_bytes(b"two")
    assert tracking.attached(tracker, run, "scores") is None
    tracking.attach(tracker, run, tmp_path, "scores")
    (tmp_path / "a.parquet").write_bytes(b"anew")
    tracking.attach(tracker, run, tmp_path, "scores")
    folder = tracking.attached(tracker, run, "scores")
    assert (folder / "a.parquet").read_bytes() == b"anew" and (folder / "deep" / "b").read_bytes() == b"two"
    assert tracking.listed(tracker, tracking.run_uri(tracker, run, "scores")) == {"a.parquet": 4, "deep/b": 3}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "a\\..\\evil"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tracker, monkeypatch, name):
    item = SimpleNamespace(path=name, is_dir=False, file_size=1)
    store = SimpleNamespace(list_artifacts=lambda folder: [item])
    monkeypatch.setattr(artifacts, "get_artifact_repository", lambda *uris: store)
    with pytest.raises(TrackingError, match="leads out of its folder"):
        tracking.listed(tracker, "mlflow-artifacts:/1/x")


def test_a_store_that_fails_is_named(tracker, monkeypatch):
    def broken(folder):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(artifacts, "get_artifact_repository", lambda *uris: SimpleNamespace(list_artifacts=broken))
    with pytest.raises(TrackingError, match="mlflow-artifacts:/1/x: the disk is gone"):
        tracking.listed(tracker, "mlflow-artifacts:/1/x")
