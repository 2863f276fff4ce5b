"""Places elsewhere: S3, and MLflow's artifacts there, come into the cache whole, once, and with nothing else."""

import boto3
import moto.settings
import pytest
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from vgsr import fetch, tracking
from vgsr.fetch import FetchError

SECRET = "neverprintthis"


@pytest.fixture(scope="module")
def server():
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """An S3 server of ours with the bucket `models`; a client of it."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    return client


def upload(s3, folder, key, *more):
    for file in [*folder.iterdir(), *more]:
        s3.put_object(Bucket="models", Key=f"{key}/{file.name}", Body=file.read_bytes())


def test_s3_is_downloaded_once_and_again_when_it_has_changed(s3, tmp_path, monkeypatch, write, contents):
    folder = write(tmp_path / "c")
    (tmp_path / "evil.py").write_text("raise SystemExit")
    upload(s3, folder, "a run/00001-000000", tmp_path / "evil.py")
    found = fetch.checkpoint("s3://models/a run/00001-000000")
    assert contents(found) == contents(folder)  # and no evil.py
    assert found.parent == tmp_path / "home" / "fetched" and not list(found.parent.glob(".writing-*"))
    (found / "speakers.txt").write_text("marked")
    assert fetch.checkpoint("s3://models/a run/00001-000000/") == found
    assert (found / "speakers.txt").read_text() == "marked"
    (folder / "student.safetensors").write_text("other weights")
    upload(s3, folder, "a run/00001-000000")
    assert contents(fetch.checkpoint("s3://models/a run/00001-000000")) == contents(folder)


def test_a_download_that_breaks_off_leaves_nothing(s3, tmp_path, monkeypatch, write):
    upload(s3, write(tmp_path / "c"), "broken")
    monkeypatch.setattr(fetch.shutil, "copyfileobj", lambda source, target: (_ for _ in ()).throw(OSError("cut off")))
    with pytest.raises(FetchError, match="s3://models/broken: cut off"):
        fetch.checkpoint("s3://models/broken")
    assert not list((tmp_path / "home" / "fetched").iterdir())
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://models/nothing", "nothing of that name in the bucket"),
        ("s3://models/parts", "not a checkpoint, it has no experiment.yaml, speakers.txt, student.safetensors"),
        ("s3://models/up", "no checkpoint.json there, only 00001-000000"),
        ("s3://nobucket/x", "bucket does not exist .*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.*AWS_ENDPOINT_URL"),
        (f"s3://AKID:{SECRET}@nobucket/x", r"s3://\*\*\*@nobucket/x: .*bucket does not exist"),
        (f"s3://AKID:a/{SECRET}@models/x", r"s3://\*\*\*@models/x: "),
        (f"s3://models/x?secret_key={SECRET}&bad=1", r"secret_key=\*\*\*&bad=1"),
    ],
)
def test_a_wrong_place_on_s3_is_explained_without_secrets(s3, place, message):
    s3.put_object(Bucket="models", Key="parts/checkpoint.json", Body=b"{}")
    s3.put_object(Bucket="models", Key="up/00001-000000/checkpoint.json", Body=b"{}")
    with pytest.raises(FetchError, match=message) as caught:
        fetch.checkpoint(place)
    shown = f"{caught.value}{caught.value.__cause__ or ''}"
    assert SECRET not in shown and caught.value.__suppress_context__ | (caught.value.__context__ is None)


def test_wrong_credentials_are_explained(s3, monkeypatch):
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(
        FetchError, match=r"INVALID_ACCESS_KEY_ID.*credentials are read from AWS_ACCESS_KEY_ID"
    ) as caught:
        fetch.checkpoint("s3://models/x")
    assert SECRET not in str(caught.value)


def test_artifacts_elsewhere_are_downloaded(s3, tmp_path, monkeypatch, write, contents, tracked):
    """An MLflow store that keeps its artifacts on S3: a promoted model's layout, and tables beside it."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    MlflowClient(uri).create_experiment("vgsr", "s3://models/mlflow")
    tracker = tracking.connect(uri)
    run = tracked(tracker, "t", "s3://models/mlflow/elsewhere")
    upload(s3, write(tmp_path / "tagged"), "mlflow/elsewhere")
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
