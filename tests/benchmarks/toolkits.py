"""WeSpeaker's and 3D-Speaker's own training, out of the user's checkouts; nothing of theirs is copied here.

Run as their trainers run it: data sets, models, projections, losses and optimisers are theirs, with the settings of
their VoxCeleb recipes. The few lines between, which their trainers keep in functions for CUDA and several processes,
are written out: WeSpeaker's `run_epoch` (normalise, model, projection, loss, backward, SGD; without its meters) and
3D-Speaker's `train`. What differs, and in whose favour:

- Packages that they import and that are not installed are empty modules (kaldiio, lmdb, and what their own
  `__init__.py` would load).
- `torchaudio.load`, which torchaudio 2.11 gives to torchcodec, is soundfile.
- WeSpeaker's LMDB is a dict in memory, which is not slower.
- Speed perturbation is off: torchaudio 2.11 has no `sox_effects` any more. SpecAugment is off, as in their recipes.
- WeSpeaker's shuffle buffer is off: it takes no time for an utterance, but much at the start.
"""

import importlib
import io
import os
import random
import signal
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
import torch
from material import Material
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vgsr.data.features import frames

WESPEAKER = {
    "resnet34": ("ResNet34", {"feat_dim": 80, "embed_dim": 256, "pooling_func": "TSTP", "two_emb_layer": False}),
    "ecapa": ("ECAPA_TDNN_GLOB_c512", {"feat_dim": 80, "embed_dim": 192, "pooling_func": "ASTP"}),
}
SPEAKERLAB = {
    "resnet34": ("resnet.ResNet.ResNet", {"feat_dim": 80, "embedding_size": 256, "two_emb_layer": False}),
    "ecapa": ("ecapa_tdnn.ECAPA_TDNN.ECAPA_TDNN", {"input_size": 80, "lin_neurons": 192}),  # of 512 channels
}
PROJECTION = {"project_type": "arc_margin", "scale": 32.0, "easy_margin": False}
DISTURBANCES = {"reverb": "rirs", "noise": "musan"}  # of WeSpeaker: its names and ours
SGD = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}


@dataclass
class Toolkit:
    """Another toolkit's data and step. `read(processes)`: batches, by so many DataLoader workers."""

    name: str
    read: Callable[..., "Reading"]
    learn: Callable[[Any], object]
    parameters: int


@dataclass
class Reading:
    """Batches of a DataLoader, whose workers stand still while it is not its turn."""

    loader: DataLoader
    _batches: Iterator[Any] | None = field(init=False)

    def __post_init__(self) -> None:
        self._batches = iter(self.loader)  # at once, before threads are there: a forked process has only their locks
        self.pause()

    def __next__(self) -> Any:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self.loader)
            batch = next(self._batches)
        return batch

    def pause(self) -> None:
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        self._tell(signal.SIGCONT)

    def close(self) -> None:
        """End the workers: those that stand still would never be joined."""
        self.resume()
        self._batches = None

    def _tell(self, what: signal.Signals) -> None:
        for process in getattr(self._batches, "_workers", ()):
            os.kill(process.pid, what)


def wespeaker(checkout: Path, material: Material, student: str, batch: int, seconds: float, kind: str) -> Toolkit:
    """WeSpeaker on tar shards of `kind` (wav or flac). RuntimeError where it cannot be imported."""
    _importable(checkout, "wespeaker", "wespeaker/dataset/processor.py")
    datasets = module("wespeaker.dataset.dataset")
    projections, normalise = module("wespeaker.models.projections"), module("wespeaker.dataset.dataset_utils")
    datasets.LmdbData = Memory
    speakers = {name: number for number, name in enumerate(material.speakers())}
    settings = {
        "shuffle": False,
        "filter_args": {"min_num_frames": 100, "max_num_frames": 800},
        "speed_perturb": False,
        "num_frms": frames(round(seconds * 16_000)),
        "aug_prob": 0.6,
        "fbank_args": {"num_mel_bins": 80, "frame_shift": 10, "frame_length": 25, "dither": 1.0},
    }

    def read(processes: int, changes: dict[str, Any] | None = None) -> Reading:
        others = {f"{of}_lmdb_file": str(material.folder / f"{name}.scp") for of, name in DISTURBANCES.items()}
        listed = str(material.folder / f"tar-{kind}.list")
        dataset = datasets.Dataset("shard", listed, settings | (changes or {}), speakers, **others)
        return Reading(_loader(dataset, batch, processes))

    name, sizes = WESPEAKER[student]
    family = {"resnet34": "resnet", "ecapa": "ecapa_tdnn"}[student]
    torch.manual_seed(0)
    model = getattr(module(f"wespeaker.models.{family}"), name)(**sizes)
    count = sum(parameter.numel() for parameter in model.parameters())
    asked = {**PROJECTION, "embed_dim": sizes["embed_dim"], "num_class": len(speakers)}
    model.add_module("projection", projections.get_projection(asked))
    model.projection.update(0.2)
    optimiser, criterion = torch.optim.SGD(model.parameters(), **SGD), nn.CrossEntropyLoss()
    model.train()

    def learn(batch: dict[str, Tensor]) -> float:
        targets = batch["label"].long()
        features = normalise.apply_cmvn(batch["feat"].float())
        outputs = model(features)
        embeds = outputs[-1] if isinstance(outputs, tuple) else outputs
        outputs = model.projection(embeds, targets)
        outputs, loss = outputs if isinstance(outputs, tuple) else (outputs, criterion(outputs, targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return Toolkit("WeSpeaker", read, learn, count)


def speakerlab(checkout: Path, material: Material, student: str, batch: int, seconds: float, kind: str) -> Toolkit:
    """3D-Speaker on files of `kind`. Its 0.45 of noise, a room, or both, are as many disturbances as the others'."""
    _importable(checkout, "speakerlab", "speakerlab/process/processor.py")
    processor, datasets = module("speakerlab.process.processor"), module("speakerlab.dataset.dataset")
    table = str(material.folder / f"{kind}.csv")
    places = {"noise_file": str(material.folder / "musan.scp"), "reverb_file": str(material.folder / "rirs.scp")}
    parts = {
        "wav_reader": processor.WavReader(duration=seconds, speed_pertub=False),
        "label_encoder": processor.SpkLabelEncoder(table),
        "augmentations": processor.SpkVeriAug(aug_prob=0.45, **places),
        "feature_extractor": processor.FBank(80, 16_000, mean_nor=True),
    }

    def read(processes: int) -> Reading:
        return Reading(_loader(datasets.WavSVDataset(table, parts), batch, processes, shuffle=True, drop_last=True))

    path, sizes = SPEAKERLAB[student]
    family, _, name = path.rpartition(".")
    torch.manual_seed(0)
    embedder = getattr(module(f"speakerlab.models.{family}"), name)(**sizes)
    width = sizes.get("embedding_size") or sizes["lin_neurons"]
    classifier = module("speakerlab.models.campplus.classifier").CosineClassifier(
        width, out_neurons=len(parts["label_encoder"])
    )
    model = nn.Sequential(embedder, classifier)
    criterion = module("speakerlab.loss.margin_loss").ArcMarginLoss(scale=32.0, margin=0.2, easy_margin=False)
    optimiser = torch.optim.SGD(model.parameters(), **SGD)
    model.train()

    def learn(batch: tuple[Tensor, Tensor]) -> float:
        features, targets = batch
        loss = criterion(model(features), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return Toolkit("3D-Speaker", read, learn, sum(parameter.numel() for parameter in embedder.parameters()))


def _loader(dataset: Any, batch: int, processes: int, **how: Any) -> DataLoader:
    """As their trainers make it; 8 batches ahead."""
    ahead = {"prefetch_factor": 8} if processes else {}
    return DataLoader(dataset, batch_size=batch, num_workers=processes, **ahead, **how)


class Memory:
    """WeSpeaker's LmdbData, of the recordings that a `wav.scp` lists."""

    def __init__(self, listed: str) -> None:
        pairs = [line.split() for line in Path(listed).read_text().splitlines()]
        self._found = [(key, Path(path).read_bytes()) for key, path in pairs]

    def random_one(self) -> tuple[str, bytes]:
        return random.choice(self._found)


def _importable(checkout: Path, package: str, telling: str) -> None:
    if not (checkout / telling).is_file():
        sys.exit(f"{checkout}: no checkout of {package} (no {telling} in it); clone it from GitHub and name its folder")
    import torchaudio

    torchaudio.load = _load
    bare = types.ModuleType(package)  # without its __init__.py, which loads what only its command line needs
    bare.__path__ = [str(checkout / package)]  # type: ignore[attr-defined]
    sys.modules.setdefault(package, bare)


def module(name: str) -> Any:
    """One module of theirs; whatever it imports and is not installed is empty."""
    for _ in range(20):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] in ("wespeaker", "speakerlab"):
                raise
            sys.modules[error.name] = types.ModuleType(error.name)
    raise RuntimeError(f"{name} cannot be imported")


def _load(file: Any, **how: Any) -> tuple[Tensor, int]:
    file = io.BytesIO(file.read()) if hasattr(file, "read") else file  # in one go: a part at a time takes longer
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate
