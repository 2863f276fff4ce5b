"""Classes of the classifier: a person at each speed that `augment.speeds_as_speakers` trains as another speaker.

Class = speed · persons + person, with speed 0 as recorded, so that without other speeds a class is a person. What a
face teacher knows of a person holds at every speed: to it, rows are those of persons, and a row's logits are those of
the classes at its own speed.
"""

import torch
from torch import Tensor


def of_persons(logits: Tensor, labels: Tensor, persons: int) -> tuple[Tensor, Tensor]:
    """Logits [B, speeds · persons] and labels [B] of classes -> logits [B, persons] and labels [B] of persons."""
    if logits.shape[1] == persons:
        return logits, labels
    rows = torch.arange(len(labels), device=labels.device)
    return logits.unflatten(1, (-1, persons))[rows, labels // persons], labels % persons
