"""The finished model: checkpoint in; embeddings, decisions, figures out. Speech only: no faces, no Ray, no MLflow."""

from vgsr.speaker.evaluating import evaluate
from vgsr.speaker.model import Decision, Speaker, load

__all__ = ["Decision", "Speaker", "evaluate", "load"]
