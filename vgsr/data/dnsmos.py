"""A waveform [T] in, how a listener would rate it overall (1 to 5) out: OVRL of DNSMOS P.835.

Reddy, Gopal & Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate Noise
Suppressors", ICASSP 2022; their network (not the personalised one) and their way of cutting, so the figures are
theirs. It hears 9.01 s at a time and takes about a quarter of a second of a core for each.
"""

from pathlib import Path

import numpy as np
import onnxruntime

from vgsr.data.audio import RATE

SECONDS = 9.01
WINDOW = int(SECONDS * RATE)
OVERALL = np.poly1d([-0.06766283, 1.11546468, 0.04602535])
"""The authors' fit of the network's third output to listeners' ratings."""


def load(network: str | Path | bytes) -> onnxruntime.InferenceSession:
    """The network in a file, or its content; one thread a run: several threads may share it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = network if isinstance(network, bytes) else str(network)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def overall(network: onnxruntime.InferenceSession, wave: np.ndarray) -> float:
    """Mean rating over the windows of `wave` [T] (16 kHz), one a second; a short wave is doubled until it fills one."""
    if not len(wave):
        return float("nan")
    while len(wave) < WINDOW:
        wave = np.concatenate((wave, wave))
    ratings = []
    for second in range(int(len(wave) // RATE - SECONDS) + 1):
        # As the authors cut: where (second + 9.01) * 16000 rounds down, the window is a sample short and left out.
        window = wave[second * RATE : int((second + SECONDS) * RATE)]
        if len(window) == WINDOW:
            raw = network.run(None, {"input_1": window[None].astype(np.float32)})[0][0, 2]
            ratings.append(OVERALL(float(raw)))
    return float(np.mean(ratings))
