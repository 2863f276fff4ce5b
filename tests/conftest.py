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
    from vgsr.training.frontend import BINS

    def write(seed=0, folder=None, **facts):
        folder = folder or tmp_path_factory.mktemp("untrained")
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        student = students.build("ecapa", bins=BINS, channels=8, embedding=16)
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
def free_port():
    """Returns a loopback port that was free a moment ago."""
    import socket

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find
