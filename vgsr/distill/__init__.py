"""The heart: distillation methods, the margin on them, the quality weights, and the one line that joins them.

In: tensors of a batch. Out: a loss and what to log of it. Knows torch and nothing of ours.
Importing this package imports every family of methods, which fills `methods.METHODS`.
"""

from vgsr.distill import contrastive, embeddings, logits, relations
from vgsr.distill.margin import Margin, Margined, MarginError, hinge
from vgsr.distill.methods import METHODS, Method, MethodError, check_options, find, method
from vgsr.distill.objective import Objective, ObjectiveError, Terms
from vgsr.distill.quality import QualityError, Statistics, statistics, weights

__all__ = [
    "METHODS",
    "Margin",
    "MarginError",
    "Margined",
    "Method",
    "MethodError",
    "Objective",
    "ObjectiveError",
    "QualityError",
    "Statistics",
    "Terms",
    "check_options",
    "contrastive",
    "embeddings",
    "find",
    "hinge",
    "logits",
    "method",
    "relations",
    "statistics",
    "weights",
]
