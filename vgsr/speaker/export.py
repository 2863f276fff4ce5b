"""The finished model as one ONNX file: waveforms [B, T] at 16 kHz in, embeddings [B, d] out, the filterbank inside.

The file carries in its metadata what a decision needs (calibration, threshold) and whose it is (digest, version).
"""

import copy
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

import vgsr
from vgsr.corpora import voice
from vgsr.corpora.identities import VOICED, voice_of
from vgsr.data import audio
from vgsr.data.features import PREEMPHASIS, Fbank
from vgsr.speaker.model import Speaker

# Largest difference of any number of an embedding from torch's, in lengths of that embedding. Both compute in float32
# in another order, which makes about 1e-6.
TOLERANCE = 1e-4
OPSET = 17
# What the written file is compared on: lengths of speech in seconds, the first as short as `embed` takes.
SECONDS = (0.5, 1.73, 4.0, 9.41)


class ExportError(Exception):
    """A model that ONNX cannot express truly; no file is left."""


class MatrixFbank(nn.Module):
    """`Fbank` in operations that ONNX has: pre-emphasis, window and Fourier transform are one matrix, of float64.

    Each frame's mean is taken off before it: inside the matrix, a large offset would have to cancel in float32.
    Equal to `Fbank` but for rounding, which in bins with no energy in them (a dead microphone's) reaches some 0.01.
    """

    matrix: Tensor
    mel: Tensor

    def __init__(self, fbank: Fbank) -> None:
        super().__init__()
        self.length, self.shift = fbank.length, fbank.shift
        emphasis = torch.eye(self.length, dtype=torch.float64)
        emphasis -= PREEMPHASIS * torch.diag(torch.ones(self.length - 1, dtype=torch.float64), -1)
        emphasis[0, 0] = 1 - PREEMPHASIS  # a frame's first sample is its own predecessor
        windowed = fbank.window.cpu().double().unsqueeze(1) * emphasis
        spectrum = torch.fft.rfft(windowed, fbank.points, dim=0)
        self.register_buffer("matrix", torch.cat((spectrum.real, spectrum.imag)).T.float().contiguous())
        self.register_buffer("mel", fbank.mel.cpu().clone())

    def forward(self, wave: Tensor) -> Tensor:
        """[B, T] in [-1, 1] -> [B, frames, bins], mean-normalised; T is at least one frame."""
        starts = self.shift * torch.arange((wave.shape[1] - self.length) // self.shift + 1)
        cut = wave[:, starts.unsqueeze(1) + torch.arange(self.length)]
        real, imaginary = ((cut - cut.mean(dim=2, keepdim=True)) @ self.matrix).chunk(2, dim=2)
        power = (real * real + imaginary * imaginary) @ self.mel
        features = power.clamp(min=torch.finfo(torch.float32).eps).log()
        return features - features.mean(dim=1, keepdim=True)


def export(model: Speaker, out: str | Path) -> float:
    """Write the model to the ONNX file `out`; how far its embeddings are from the model's (see TOLERANCE).

    The file, with its metadata, is compared on speech-like sound of several lengths and on batches, and put in its
    place only then. ExportError where it differs by more than TOLERANCE, or `out` cannot be written.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ExportError(f"{out}: the name of an ONNX file ends in .onnx")
    whole = nn.Sequential(MatrixFbank(model.fbank), copy.deepcopy(model.student).cpu()).eval()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, staging = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".onnx", dir=out.parent)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error.strerror})") from error
    os.close(handle)
    try:
        _trace(whole, staging)
        _describe(model, staging)
        worst = max(difference(model, staging, waves) for waves in _speech())
        if not worst <= TOLERANCE:
            raise ExportError(
                f"{out}: not written: its embeddings would differ from the model's by {worst:.1e} of their length "
                f"(at most {TOLERANCE:g}); this student has an operation that ONNX computes differently"
            )
        os.chmod(staging, 0o644)
        os.replace(staging, out)
    finally:
        Path(staging).unlink(missing_ok=True)
    return worst


def difference(model: Speaker, file: str | Path, waves: np.ndarray) -> float:
    """Largest |ONNX - torch| over the numbers of the embeddings of waves [B, T], in lengths of torch's embedding.

    The file embeds them as one batch, the model one by one.
    """
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(None, {"waveform": waves.astype(np.float32)})[0]
    wanted = np.stack([model.embed(wave) for wave in waves])
    return float((np.abs(found - wanted).max(axis=1) / np.linalg.norm(wanted, axis=1)).max())


def _trace(whole: nn.Module, file: str) -> None:
    example = torch.zeros(2, audio.RATE)
    with warnings.catch_warnings():
        # The tracing exporter is called outdated. The other one needs two more packages and twenty times as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            whole,
            (example,),
            file,
            input_names=["waveform"],
            output_names=["embedding"],
            dynamic_axes={"waveform": {0: "batch", 1: "samples"}, "embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _describe(model: Speaker, file: str) -> None:
    written = onnx.load(file)
    facts = {"sample_rate": audio.RATE, "model_digest": model.digest, "vgsr_version": vgsr.__version__}
    if not model.imported:
        facts |= {
            "calibration_scale": model.calibration.scale,
            "calibration_offset": model.calibration.offset,
            "eer_threshold": model.facts["eer_threshold"],
            "validation": model.facts["validation"],
        }
    onnx.helper.set_model_props(written, {name: str(value) for name, value in facts.items()})
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, file)


def _speech() -> list[np.ndarray]:
    """Batches [B, T] of two voices in 16 bits: alone and together, of several lengths, one with dead stretches."""
    rng = np.random.default_rng(0)
    voices = [voice_of(rng.standard_normal(VOICED)) for _ in range(2)]
    batches = [
        0.05 * np.stack([voice.speak(one, seconds, rng) for one in speakers])
        for seconds in SECONDS
        for speakers in (voices[:1], voices)
    ]
    gap = audio.RATE // 4
    batches[-1][0, gap : 2 * gap] = 0
    batches[-1][1, gap : 2 * gap] = 0.1
    return [(np.round(32768 * batch) / 32768).astype(np.float32) for batch in batches]
