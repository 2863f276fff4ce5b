"""The sections `train` and `phases` of an experiment."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from vgsr.config.part import Count, Part, Positive

Batch = Annotated[int, Field(ge=1, le=1 << 20)]  # utterances over all workers together
Seconds = Annotated[float, Field(gt=0, le=600)]


class Train(Part):
    epochs: Count = 10
    batch: Batch = 64
    crop_seconds: Seconds = 2.0
    optimiser: Literal["adamw", "sgd"] = "adamw"  # sgd: Nesterov's momentum of 0.9, and every parameter decays
    learning_rate: Positive = 1e-3
    final_learning_rate: Positive = 1e-5
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    gradient_clip: Positive | None = 5.0  # norm over all parameters; none = not clipped
    average: int = Field(0, ge=0)  # end with the mean of the weights after the last so many epochs; 0 = no
    workers: Count = 1  # Ray Train workers
    cpus_per_worker: Positive = 1.0
    gpu: bool = False
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto = bf16 on a GPU, float32 on a CPU
    compile: bool = False  # torch.compile the student: a minute at the start, then faster steps
    loader_processes: int = Field(0, ge=0, le=1024)  # 0 = a thread of the worker reads ahead
    checkpoint_batches: int = Field(0, ge=0)  # also checkpoint within an epoch, every so many batches; 0 = no

    @model_validator(mode="after")
    def _enough(self) -> "Train":
        return _averaged(self)


class Phase(Part):
    """Epochs after the training, from its weights or their average, with a fresh optimiser; None: as in the training.

    Made for large-margin fine-tuning (Thienpondt et al., ICASSP 2021).
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    epochs: Count
    batch: Batch | None = None
    crop_seconds: Seconds | None = None
    learning_rate: Positive | None = None
    final_learning_rate: Positive | None = None
    warmup_epochs: float = Field(0.0, ge=0)
    margin: float | None = Field(None, ge=0, lt=1.5)  # of the classifier, from the first batch on
    top_k: int | None = Field(None, ge=0)  # of the classifier; 0 drops the penalty, as WeSpeaker's fine-tuning does
    speeds: bool = True  # false: without augment.speeds, as WeSpeaker's fine-tuning; the classes stay
    average: int = Field(0, ge=0)  # of this phase's own epochs

    @model_validator(mode="after")
    def _enough(self) -> "Phase":
        return _averaged(self)


def check(train: Train, phases: Sequence[Phase]) -> None:
    """ValueError where phases do not fit the training, or each other."""
    batches = {"train.batch": train.batch, **{f"phases.{at}.batch": one.batch for at, one in enumerate(phases)}}
    for key, batch in batches.items():
        if batch is not None and batch < 2 * train.workers:
            raise ValueError(
                f"{key} ({batch}) is the global batch, of which each of train.workers "
                f"({train.workers}) needs two utterances or more: normalisation layers take their statistics"
            )
    names = ["training", *(phase.name for phase in phases)]
    if len(set(names)) < len(names):
        raise ValueError(f"phases have different names, and none is called 'training': {', '.join(names[1:])}")


Averaging = TypeVar("Averaging", Train, Phase)


def _averaged(part: Averaging) -> Averaging:
    if part.average > part.epochs:
        raise ValueError(f"average is {part.average}, but there are {part.epochs} epochs")
    return part
