"""Places elsewhere: S3, and MLflow's artifacts there, come into the cache whole, once, and with nothing else."""

import moto.settings
import pytest
from mlflow import MlflowClient

from vgsr import fetch, storage, tracking
from vgsr.fetch import FetchError

SECRET = "neverprintthis"


def upload(place, folder, *more):
    for file in [*folder.iterdir(), *more]:
        storage.put(file, storage.join(place, file.name))


def test_s3_is_downloaded_once_and_again_when_it_has_changed(s3, tmp_path, write, contents):
    folder = write(tmp_path / "c")
    (tmp_path / "evil.py").write_text("raise SystemExit")
    place = f"{s3.place}/a run/00001-000000"
    upload(place, folder, tmp_path / "evil.py")
    found = fetch.checkpoint(place)
    assert contents(found) == contents(folder)  # and no evil.py
    assert found.parent == tmp_path / "home" / "fetched" and not list(found.parent.glob(".writing-*"))
    (found / "speakers.txt").write_text("marked")
    assert fetch.checkpoint(f"{place}/") == found
    assert (found / "speakers.txt").read_text() == "marked"
    (folder / "student.safetensors").write_text("other weights")
    upload(place, folder)
    assert contents(fetch.checkpoint(place)) == contents(folder)


def test_a_download_that_breaks_off_leaves_nothing(s3, faulty, tmp_path, monkeypatch, write):
    monkeypatch.setenv("VGSR_S3_TRIES", "2")
    upload(f"{s3.place}/broken", write(tmp_path / "c"))
    faulty.plan([None, None, None, *["cut"] * 20], method="GET")  # a listing and two files come through
    with pytest.raises(FetchError, match=rf"{s3.place}/broken/speakers.txt: not read after 2 tries"):
        fetch.checkpoint(f"{s3.place}/broken")
    assert not list((tmp_path / "home" / "fetched").iterdir())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{root}/nothing", "nothing of that name in the bucket"),
        ("{root}/parts", "not a checkpoint, it has no experiment.yaml, speakers.txt, student.safetensors"),
        ("{root}/up", "no checkpoint.json there, only 00001-000000"),
        ("s3://nobucket/x", "bucket does not exist.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.*AWS_ENDPOINT_URL"),
        (f"s3://AKID:{SECRET}@nobucket/x", r"s3://\*\*\*@nobucket/x: no bucket is called so"),
        (f"s3://AKID:a/{SECRET}@models/x", r"s3://\*\*\*@models/x: "),
        (f"{{root}}/x?secret_key={SECRET}&bad=1", r"secret_key=\*\*\*&bad=1"),
    ],
)
def test_a_wrong_place_on_s3_is_explained_without_secrets(s3, place, message):
    storage.put_bytes(b"{}", f"{s3.place}/parts/checkpoint.json")
    storage.put_bytes(b"{}", f"{s3.place}/up/00001-000000/checkpoint.json")
    with pytest.raises(FetchError, match=message) as caught:
        fetch.checkpoint(place.format(root=s3.place))
    shown = f"{caught.value}{caught.value.__cause__ or ''}"
    assert SECRET not in shown and caught.value.__suppress_context__ | (caught.value.__context__ is None)


def test_wrong_credentials_are_explained(s3, monkeypatch):
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(FetchError, match=r"InvalidAccessKeyId.*credentials are read from AWS_ACCESS_KEY_ID") as caught:
        fetch.checkpoint(f"{s3.place}/x")
    assert SECRET not in str(caught.value)


def test_artifacts_elsewhere_are_downloaded(s3, tmp_path, monkeypatch, write, contents, tracked):
    """An MLflow store that keeps its artifacts on S3: a promoted model's layout, and tables beside it."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    MlflowClient(uri).create_experiment("vgsr", f"{s3.place}/mlflow")
    tracker = tracking.connect(uri)
    run = tracked(tracker, "t", f"{s3.place}/mlflow/elsewhere")
    upload(f"{s3.place}/mlflow/elsewhere", write(tmp_path / "tagged"))
    assert contents(fetch.checkpoint(f"runs:/{run}")) == contents(tmp_path / "tagged")
    model = tmp_path / "model"
    write(model / "artifacts" / "00007-000000")
    (model / "MLmodel").write_text("")
    tracking.attach(tracker, run, model, "model")
    tracker.client.create_registered_model("vgsr")
    tracker.client.create_model_version("vgsr", tracking.run_uri(tracker, run, "model"), run)
    found = fetch.checkpoint(f"runs:/{run}")
    assert contents(found) == contents(model / "artifacts" / "00007-000000")
    assert fetch.checkpoint("models:/vgsr/1") == found and found.parent == tmp_path / "home" / "fetched"
    assert fetch.checkpoint("cmp/t") == found
    assert tracking.attached(tracker, run, "scores") is None
    tables = tmp_path / "tables"
    tables.mkdir()
    for text in ("one", "two"):  # of the same size: what was fetched before must not be taken for it
        (tables / "a.parquet").write_text(text)
        tracking.attach(tracker, run, tables, "scores")
        assert (tracking.attached(tracker, run, "scores") / "a.parquet").read_text() == text


def test_two_processes_that_fetch_at_once_both_get_it(contents):
    other = []

    def fill(folder):
        for name in fetch.NEEDED:
            (folder / name).write_text("x")
        if not other:
            other.append("is quicker")
            fetch._cached(["facts"], "place", fill)

    assert set(contents(fetch._cached(["facts"], "place", fill))) == set(fetch.NEEDED)
