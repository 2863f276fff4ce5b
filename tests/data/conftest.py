"""What tests of recordings share: AAC files, and manifests of files that are there."""

import av
import numpy as np
import pytest

from vgsr.data import manifest as manifests


def _speech_like(seconds, rate, channels=1):
    time = np.arange(round(seconds * rate)) / rate
    loud = 0.1 + 0.2 * np.abs(np.sin(2 * np.pi * 1.3 * time))
    noise = np.random.default_rng(0).normal(0, 0.2, (channels, len(time)))
    return (loud * (np.sin(2 * np.pi * 180 * time) + noise)).astype(np.float32)


def _encode(file, wave, rate=16000, bit_rate=64000, **options):
    layout = {1: "mono", 2: "stereo"}[len(wave)]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout, options=options)
        stream.bit_rate = bit_rate
        for at in range(0, wave.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", layout)
            frame.sample_rate, frame.pts = rate, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def _manifest(folder, root, rows):
    utterances = [
        {"utterance_id": f"u{n:03}", "speaker": f"p{n}", "session": "s", "uri": uri, "split": "train"}
        | {"start": start, "seconds": seconds, "sample_rate": rate}
        for n, (uri, start, seconds, rate) in enumerate(rows)
    ]
    settings = {"corpus": "c", "synthetic": False, "faces": [], "problems": [], "trials": {}}
    return manifests.write(folder, root=root, utterances=utterances, **settings)


@pytest.fixture(scope="session")
def speech_like():
    """`speech_like(seconds, rate, channels)`: a waveform `[channels, T]` that a codec has work with."""
    return _speech_like


@pytest.fixture(scope="session")
def aac():
    """`aac(file, wave, rate, bit_rate, **options of the encoder)` writes `[channels, T]` as AAC; returns the file."""
    return _encode


@pytest.fixture(scope="session")
def manifest_of():
    """`manifest_of(folder, root, rows)`: a manifest of utterances (uri, start, seconds, rate)."""
    return _manifest
