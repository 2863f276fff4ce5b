"""What all tests share: the optional real recordings, a tiny corpus and its checkpoints, an S3 server, a faulty one."""

import os
import signal
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No test judges time: a busy machine must not fail one.
settings.register_profile("vgsr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vgsr")

# Jobs and nodes of a test find `python` and `ray` where the tests run, also where nobody activated the environment.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


# A job in the background of a shell ignores Ctrl-C, and so would all that tests start and press it in.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real voices and faces beside the repository; the test is skipped where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository: real recordings are not here")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A synthetic corpus of a dozen people with its teacher bank in `banks/synthetic.parquet`, made once."""
    from vgsr import corpora

    folder = tmp_path_factory.mktemp("tiny") / "corpus"
    corpora.prepare("synthetic", None, folder, speakers=12, sessions=2, utterances=2, validation=0.25, test=0.25)
    return folder


@pytest.fixture
def tiny_experiment(tiny):
    """Builds experiments over the tiny corpus that train in seconds: `tiny_experiment({"train.epochs": 3})`."""
    from vgsr import config

    def build(changes=None):
        values = {
            "name": "tiny",
            "corpus": {"manifest": str(tiny)},
            "teacher": {"bank": str(tiny / "banks" / "synthetic.parquet")},
            "student": {"channels": 8, "embedding": 16},
            "distill": {"method": "cosine", "margin": {"value": 0.5, "unit": "quantile"}},
            "quality": {"signals": ["face_norm", "speech_snr"]},
            "augment": {"time_mask": 5, "frequency_mask": 5},
            "train": {"epochs": 2, "batch": 8, "crop_seconds": 0.5, "warmup_epochs": 0.5},
        }
        return config.build(values, changes)

    return build


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory) -> Path:
    """The best checkpoint of two epochs on the tiny corpus, made once."""
    from vgsr import config
    from vgsr.training import loop
    from vgsr.training.session import LocalSession

    folder = tmp_path_factory.mktemp("run")
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "student": {"channels": 8, "embedding": 16},
        "train": {"epochs": 2, "batch": 8, "crop_seconds": 0.5, "checkpoint_batches": 2},
    }
    last = loop.train(config.build(values), LocalSession(folder))
    return folder / "checkpoints" / last["best_checkpoint"]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Writes a checkpoint of random weights: `untrained(seed=1, eer_threshold=0.9)`; its scores say nothing."""
    import torch
    from torch import nn

    from vgsr import config, students
    from vgsr.training import state

    def write(seed=0, folder=None, **facts):
        folder = folder or tmp_path_factory.mktemp("untrained")
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        student = students.build("ecapa", channels=8, embedding=16)
        part = nn.Linear(1, 1)
        state.write(
            folder,
            experiment=config.build(
                {"name": "u", "corpus": {"manifest": "m"}, "student": {"channels": 8, "embedding": 16}}
            ),
            student=student,
            heads=part,
            objective=part,
            optimiser=torch.optim.SGD(part.parameters(), 0.1),
            position=state.Position(epoch=1),
            speakers=["somebody"],
            facts={
                "corpus": "none",
                "calibration": {"scale": 10.0, "offset": -5.0},
                "eer_threshold": 0.5,
                "validation": "EER 50 % on no trials",
                **facts,
            },
        )
        return folder

    return write


@pytest.fixture(scope="session")
def film():
    """Writes a video of pictures [H, W, 3] (RGB, uint8), in the format of its ending; sound: silence beside them."""
    import av
    import numpy as np

    def write(path, pictures, rate=30, codec="libx264", sound=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
            voice = container.add_stream("aac", rate=48000, layout="mono") if sound else None
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
            if voice:
                for _ in range(len(pictures) * 48000 // rate // 1024):
                    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                    frame.rate = 48000
                    container.mux(voice.encode(frame))
                container.mux(voice.encode())

    return write


@pytest.fixture
def one_thread():
    """As a worker with one core has it: how many there are decides the order of a sum, and so its last digits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def free_port():
    """Returns a loopback port that was free a moment ago."""
    import socket

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


S3_KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "neverprintthis"}


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test: its name, `s3://NAME`, the server's address, a boto3 client of it."""

    name: str
    place: str
    url: str
    client: Any


@pytest.fixture(scope="session")
def s3_server():
    """A boto3 client of an S3 server on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    keys = {name.lower(): key for name, key in S3_KEYS.items()}
    url = "http://{}:{}".format(*running.get_host_and_port())
    yield boto3.session.Session(**keys).client("s3", endpoint_url=url, region_name="us-east-1")
    running.stop()


@pytest.fixture(scope="session")
def faulty_server(s3_server):
    """A proxy in front of the S3 server."""
    from .faulty import Faulty

    proxy = Faulty(s3_server.meta.endpoint_url)
    yield proxy
    proxy.stop()


@pytest.fixture
def s3(s3_server, tmp_path, monkeypatch):
    """An empty bucket of this test's own; the environment names its server, and a cache of this test's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    url = s3_server.meta.endpoint_url
    for name, value in {
        **S3_KEYS,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "VGSR_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"vgsr-{uuid.uuid4().hex[:12]}"
    s3_server.create_bucket(Bucket=name)
    return Bucket(name, f"s3://{name}", url, s3_server)


@pytest.fixture
def faulty(s3, faulty_server, monkeypatch):
    """A proxy in front of the server of `s3` that fails on demand (`tests/faulty.py`); the environment names it.

    `s3.client` still asks the server itself. Whoever reads and writes waits one second, not thirty, for a byte.
    """
    faulty_server.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty_server.url)
    monkeypatch.setenv("VGSR_S3_TIMEOUT", "1")
    yield faulty_server
    faulty_server.reset()
