"""The demo: the experiment of a search that is given none. Its corpus is synthetic, rendered when it is absent."""

from typing import Any

from vgsr import corpora
from vgsr.data import manifest as manifests
from vgsr.home import home

NAME = "demo"


def folder() -> str:
    """Where the demo's corpus lies."""
    return str(home() / "corpora" / NAME)


def experiment() -> dict[str, Any]:
    """A student small enough that a search over it takes minutes on two cores."""
    return {
        "name": NAME,
        "corpus": {"manifest": folder()},
        "teacher": {"bank": f"{folder()}/banks/synthetic.parquet"},
        "student": {"backbone": "ecapa", "channels": 48, "embedding": 64},
        "distill": {
            "method": "cosine",
            "weight": 5.0,
            "quality": {"signals": ["face_norm", "speech_snr"]},
        },
        "classification": {"scale": 20.0, "margin": 0.1, "margin_start": 3, "margin_full": 8},
        "augment": {"time_mask": 10, "frequency_mask": 8},
        "train": {
            "epochs": 15,
            "batch": 32,
            "crop_seconds": 1.2,
            "learning_rate": 3e-3,
            "final_learning_rate": 3e-4,
            "warmup_epochs": 1,
        },
    }


def prepare() -> None:
    """Render the demo's corpus, unless it lies there already."""
    try:
        manifests.read(folder())
    except manifests.ManifestError:
        corpora.prepare("synthetic", None, folder(), seed=0)
