"""A whole search with nothing on this machine but caches: manifest, shards, bank, checkpoints, Tune's state, MLflow's
artifacts lie on S3, a few per cent of all requests fail, and the driver is killed on the way."""

import socket
import subprocess
import sys
import time

import pytest

import vgsr
from vgsr import corpora, tracking
from vgsr.data import manifest as manifests
from vgsr.data import shard_writing
from vgsr.evaluation import score_files
from vgsr.evaluation.metrics import eer
from vgsr.training import loop
from vgsr.training.session import LocalSession

from ..environment import environment
from .drivers import REPOSITORY, kill_when

pytestmark = pytest.mark.faults

SIZES = {"speakers": 12, "sessions": 2, "utterances": 2, "validation": 0.25, "test": 0.25}  # of the fixture `tiny`
FAULTS = ("500", "503", "reset", "lost", "cut")
HARD = {"distill.margin.kind": "hinge", "distill.margin.unit": "absolute", "distill.margin.value": 0.0}
# A page like those of `sweeps/`, but of two trials: each takes a while to start.
PAGE = """
import margin_search
from vgsr.search import Plan, main

main(Plan("s3-search", margin_search.space, {"hard constraint": margin_search.REFERENCES["hard constraint"]}))
"""


@pytest.fixture
def mlflow_server(faulty, s3, free_port, tmp_path):
    """The address of an MLflow server that keeps its artifacts on S3, once it listens; only its database is here."""
    port, log = free_port(), tmp_path / "mlflow.log"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{s3.place}/mlflow"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"],
            env=environment(tmp_path / "mlflow"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def address():
        deadline = time.monotonic() + 600
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return f"http://127.0.0.1:{port}"
            except OSError:
                time.sleep(0.2)

    yield address
    server.terminate()
    server.wait()


@pytest.mark.timeout(1500)
def test_a_search_on_s3_is_killed_goes_on_and_ends_with_the_figures_of_one_on_disk(
    faulty, s3, tiny_experiment, tmp_path, mlflow_server, monkeypatch
):
    faulty.randomly(0.03, seed=1, faults=FAULTS)
    corpora.prepare("synthetic", None, f"{s3.place}/manifest", **SIZES)
    shard_writing.write(manifests.read(f"{s3.place}/manifest"), f"{s3.place}/shards", 1 << 18, lambda done, of: None)
    for name in list(s3.client.list_objects_v2(Bucket=s3.name, Prefix="manifest/audio/")["Contents"]):
        s3.client.delete_object(Bucket=s3.name, Key=name["Key"])  # the shards have it all
    places = {"corpus.manifest": f"{s3.place}/shards", "teacher.bank": f"{s3.place}/manifest/banks/synthetic.parquet"}
    (tmp_path / "tiny.yaml").write_text(tiny_experiment(places).yaml())
    home = tmp_path / "home"
    (tmp_path / "page.py").write_text(PAGE)
    env = environment(home, MLFLOW_TRACKING_URI=mlflow_server(), PYTHONPATH=str(REPOSITORY / "sweeps"))
    settings = [f"experiment={tmp_path}/tiny.yaml", "trials=1", "top=0", "seeds=1", f"storage={s3.place}/searches"]
    command = [sys.executable, str(tmp_path / "page.py"), *settings]

    kill_when(command, env, tmp_path / "killed.log", ": epoch 1/2")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on with" in done.stdout and "neverprintthis" not in done.stdout + done.stderr
    assert sum(request.fault is not None for request in faulty.requests) > 10
    faulty.well()

    monkeypatch.setenv("VGSR_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", env["MLFLOW_TRACKING_URI"])
    tracker = tracking.connect()
    best = tracking.best(tracker)
    search = best.tags["vgsr.search"]
    runs = {run.name: run for run in tracking.select(tracker, search)}
    assert len(runs) == 2 and {run.figures["epoch"] for run in runs.values()} == {2}
    row = loop.train(tiny_experiment(HARD), LocalSession(tmp_path / "bare" / "on disk"))
    run = runs["hard constraint"]
    assert run.best_val_eer == row["best_val_eer"]
    scores = score_files.read(tracking.attached(tracker, run.run_id, tracking.SCORES) / "synthetic_test.parquet")
    figure = eer(scores["score"].to_numpy(), scores["label"].to_numpy()).value
    assert run.figures["test_synthetic_test_eer"] == pytest.approx(figure, abs=1e-12)
    assert vgsr.load(f"{search}/hard constraint").facts["row"]["val_eer"] == run.best_val_eer
    on_s3 = loop.train(tiny_experiment({**places, **HARD}), LocalSession(tmp_path / "bare" / "on S3"))
    assert on_s3["val_eer"] == row["val_eer"] and on_s3["steps"] == row["steps"]
    place = best.tags["vgsr.checkpoint"]
    assert place.startswith(f"{s3.place}/searches/{search}/train/") and f"best checkpoint: {place}" in done.stdout
    assert {path.name for path in home.iterdir()} <= {"cache", "fetched", "outbox"}
    assert not list((home / "outbox").rglob("*.jsonl"))  # all of it was sent
    assert not list(tmp_path.rglob("manifest.json")) and not (tmp_path / "mlflow").exists()
