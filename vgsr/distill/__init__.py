"""The heart: distillation methods, the margin on them, the quality weights, and the one line that joins them.

In: tensors of a batch. Out: a loss and what to log of it. Knows torch and nothing of ours.
Importing this package imports every family of methods, which fills `methods.METHODS`.
"""

from vgsr.distill import contrastive, embeddings, logits, relations
from vgsr.distill.distillation import Distillation, Faces, ObjectiveError, Taught
from vgsr.distill.margin import Margin, Margined, MarginError, hinge, softplus
from vgsr.distill.methods import METHODS, Method, MethodError, Past, check_options, find, load_plugins, method
from vgsr.distill.objective import Objective, Terms
from vgsr.distill.quality import QualityError, Statistics, statistics, weights

__all__ = [
    "METHODS",
    "Distillation",
    "Faces",
    "Margin",
    "MarginError",
    "Margined",
    "Method",
    "MethodError",
    "Objective",
    "ObjectiveError",
    "Past",
    "QualityError",
    "Statistics",
    "Taught",
    "Terms",
    "check_options",
    "contrastive",
    "embeddings",
    "find",
    "hinge",
    "logits",
    "method",
    "relations",
    "softplus",
    "statistics",
    "weights",
]

load_plugins()
