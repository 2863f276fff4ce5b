"""What all tests share: where the optional real recordings lie."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test judges time: a busy machine must not fail one.
settings.register_profile("vgsr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vgsr")


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
def free_port():
    """Returns a loopback port that was free a moment ago."""
    import socket

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find
