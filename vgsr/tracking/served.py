"""The model as MLflow serves it: rows of base64 audio in, embeddings and decisions out.

What is stored is an MLflow model "from code": the few lines of `from_code.py`, the checkpoint as it is, a signature and
an example. Nothing is pickled, and the code that answers is that of the installed VGSR.
"""

import base64
import io
import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import soundfile
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel, PythonModelContext, save_model
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import vgsr
from vgsr import speaker
from vgsr.data import audio
from vgsr.data.audio import AudioError
from vgsr.speaker import Decision, RecordingsError, Speaker
from vgsr.tracking.store import TrackingError

CHECKPOINT = "checkpoint"  # the artifact's name in the MLflow model
FIELDS = ("audio", "enrol", "test")
LONGEST_SECONDS = 300.0  # of one recording: a few kilobytes of compressed silence may be hours


class Served(PythonModel):
    """A checkpoint behind MLflow's `predict`; see `answer` for what a row asks and gets."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint among the model's artifacts."""
        self.model = speaker.load(context.artifacts[CHECKPOINT])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One answer a row, in their order; a request without rows is refused (HTTP 400)."""
        rows = model_input.to_dict("records")
        if not rows:  # MLflow takes out columns that it does not know, and with the last of them all rows
            raise MlflowException.invalid_parameter_value(f"no rows with any of {', '.join(FIELDS)} in the request")
        return [answer(self.model, row, n) for n, row in enumerate(rows)]


def answer(model: Speaker, row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What row `number` (from 0) of a request gets.

    `audio` (a whole file, WAV, FLAC, MP3 or Ogg, in base64) gets `embedding`; `enrol` and `test` get the fields of a
    `Decision` and its `verdict`. A row that cannot be answered gets `error`, which names it, and costs the others
    nothing.
    """
    given = [field for field in FIELDS if not _missing(row.get(field))]
    with tempfile.TemporaryDirectory(prefix="vgsr-serve-") as folder:
        try:
            files = {field: _file(Path(folder) / field, row[field]) for field in given}
            if given == ["audio"]:
                return {"embedding": model.embed(files["audio"]).tolist()}
            if given == ["enrol", "test"]:
                decision = model.verify(files["enrol"], files["test"])
                return _without(f"{folder}/", {**asdict(decision), "verdict": decision.verdict})
        except (AudioError, RecordingsError) as error:
            return {"error": f"row {number}: {_without(f'{folder}/', str(error))}"}
    said = " and ".join(given) or "none of them"
    return {"error": f"row {number}: give either audio, or enrol and test (base64 of audio files); it has {said}"}


def save(checkpoint: Path, folder: Path) -> None:
    """Write the MLflow model of a checkpoint into a new folder, once it has answered an example.

    Its requirements name this version of VGSR: an environment with it installed serves the model as it is
    (`mlflow models serve --env-manager local`), one that MLflow builds needs a package index that has it.
    """
    for chatty in ("mlflow.pyfunc", "mlflow.models.model"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    hum, model = _hum(), speaker.load(checkpoint)
    example = pd.DataFrame([{"audio": hum}, {"enrol": hum, "test": hum}], columns=list(FIELDS))
    answers = [answer(model, row, n) for n, row in enumerate(example.to_dict("records"))]
    errors = [said["error"] for said in answers if "error" in said]
    if errors:
        raise TrackingError(f"{checkpoint}: this model cannot be served, it does not answer the example ({errors[0]})")
    save_model(
        folder,
        python_model=str(Path(__file__).with_name("from_code.py")),
        artifacts={CHECKPOINT: checkpoint.resolve().as_uri()},
        signature=_signature(),
        input_example=example,
        pip_requirements=[f"vgsr=={vgsr.__version__}"],
    )


def _signature() -> ModelSignature:
    """Every column may be missing: what a row has decides what it gets."""
    kinds: dict[Any, DataType | Array] = {
        float: DataType.double,
        bool: DataType.boolean,
        tuple[str, ...]: Array(DataType.string),
    }
    gets = {
        "embedding": Array(DataType.double),
        **{name: kinds[hint] for name, hint in get_type_hints(Decision).items()},
        "verdict": DataType.string,
        "error": DataType.string,
    }
    return ModelSignature(
        Schema([ColSpec(DataType.string, field, required=False) for field in FIELDS]),
        Schema([ColSpec(kind, name, required=False) for name, kind in gets.items()]),
    )


def _without(folder: str, value: Any) -> Any:
    """What is said of files, with the files called by their fields and not by where they were unpacked."""
    if isinstance(value, dict):
        return {key: _without(folder, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_without(folder, part) for part in value]
    return value.replace(folder, "") if isinstance(value, str) else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _file(path: Path, text: Any) -> Path:
    try:
        path.write_bytes(base64.b64decode(text, validate=True))
    except (TypeError, ValueError) as error:  # a number, or letters that base64 does not have
        raise AudioError(path, f"not base64 ({error})") from error
    seconds = audio.probe(path).seconds
    if seconds > LONGEST_SECONDS:
        raise AudioError(path, f"{seconds:.0f} s is too long (at most {LONGEST_SECONDS:.0f} s)")
    return path


def _hum() -> str:
    """1.2 s of a hum, as a FLAC file in base64: small enough for an example, long enough for a decision."""
    time = np.arange(int(1.2 * audio.RATE)) / audio.RATE
    wave = sum(np.sin(2 * np.pi * 120 * harmonic * time) / harmonic for harmonic in (1, 2, 3)) / 4
    file = io.BytesIO()
    soundfile.write(file, wave, audio.RATE, format="FLAC")
    return base64.b64encode(file.getvalue()).decode()
