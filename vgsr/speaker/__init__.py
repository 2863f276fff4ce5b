"""The finished model: checkpoint in; embeddings, decisions, figures out. Speech only: no faces, no Ray, no MLflow.

`gallery` knows people by their recordings, `judging` what a recording is worth, `export` writes the model as ONNX.
"""

from vgsr.speaker.evaluating import evaluate
from vgsr.speaker.model import Decision, Speaker, load
from vgsr.speaker.recordings import RecordingsError

__all__ = ["Decision", "RecordingsError", "Speaker", "evaluate", "load"]
