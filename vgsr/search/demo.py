"""The demo: the experiment of a search that is given none. Its corpus is synthetic, rendered when it is absent."""

from typing import Any

from rich.console import Console

from vgsr import corpora
from vgsr.data import manifest as manifests
from vgsr.home import home
from vgsr.search import demo_noise

NAME = "demo"
# Of a search where its command line says nothing else: stage 2 in minutes on two cores.
SETTINGS = {"top": 1, "seeds": 3}


def folder() -> str:
    """Where the demo's corpus lies."""
    return str(home() / "corpora" / NAME)


def noise_folder() -> str:
    """Where the noise lies that the demo is validated in."""
    return str(home() / "corpora" / f"{NAME}-noise")


def experiment(noisy: bool) -> dict[str, Any]:
    """A student small enough that a search over it takes minutes on two cores; `noisy`: validated in noise too."""
    return {
        "name": NAME,
        "corpus": {"manifest": folder()},
        "teacher": {"bank": f"{folder()}/banks/synthetic.parquet"},
        "student": {"backbone": "ecapa", "channels": 48, "embedding": 64},
        "distill": {"method": "cosine", "weight": 5.0},
        "quality": {"signals": ["face_norm", "speech_snr"]},
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
        "evaluate": {"noise": noise_folder(), "snr": [0.0, 10.0]} if noisy else {},
    }


def prepare(noisy: bool, console: Console) -> None:
    """Render the demo's corpus and, for validation in noise, its noise, unless they lie there already."""
    try:
        manifests.read(folder())
    except manifests.ManifestError:
        corpora.prepare("synthetic", None, folder(), seed=0)
        console.print(f"rendered the demo's corpus in {folder()}", soft_wrap=True)
    if noisy:
        demo_noise.render(noise_folder(), seed=0)
