"""What the teachers' tests share: a small manifest of pictures, a tiny face network, the real weights."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.teachers import weights

Onnx = Callable[..., Path]


@pytest.fixture
def pictures(tmp_path: Path) -> Manifest:
    """Ten noise pictures of five speakers; face 3 is not an image, face 6 is not there, face 8 is cut short."""
    root = tmp_path / "corpus"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        cv2.imwrite(str(root / f"{number}.png"), rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    (root / "3.png").write_text("not an image")
    (root / "6.png").unlink()
    (root / "8.png").write_bytes((root / "8.png").read_bytes()[:600])
    faces = [
        {"face_id": f"face-{n}", "speaker": f"speaker-{n // 2}", "session": f"session-{n}", "uri": f"{n}.png"}
        for n in range(10)
    ]
    return manifests.write(
        tmp_path / "manifest",
        corpus="pictures",
        root=root,
        synthetic=True,
        utterances=[],
        faces=faces,
        trials={},
        problems=[],
    )


@pytest.fixture
def tiny_onnx(tmp_path: Path) -> Onnx:
    """Writes a network that answers the mean of each colour plane, [n, 3], in the ONNX wire format.

    `batch` is the declared batch size (None: symbolic); `stubborn` fixes it in the graph by a Reshape as well.
    """

    def write(batch: int | None = None, stubborn: bool = False) -> Path:
        ints = struct.pack("<2q", 1, 3)
        shape = _number(1, 2) + _number(2, 7) + _bytes(8, b"shape") + _bytes(9, ints)
        last = _node("Reshape", ["mean", "shape"], "out") if stubborn else _node("Flatten", ["mean"], "out")
        graph = (
            _bytes(1, _node("GlobalAveragePool", ["data"], "mean"))
            + _bytes(1, last)
            + _bytes(2, b"tiny")
            + (_bytes(5, shape) if stubborn else b"")
            + _bytes(11, _value("data", [batch, 3, 112, 112]))
            + _bytes(12, _value("out", [batch, 3]))
        )
        path = tmp_path / f"tiny-{batch}-{stubborn}.onnx"
        path.write_bytes(_number(1, 6) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, 11)))
        return path

    return write


@pytest.fixture(scope="session")
def sface() -> Path:
    return _real(weights.SFACE)


@pytest.fixture(scope="session")
def yunet() -> Path:
    return _real(weights.YUNET)


def _real(weight: weights.Weight) -> Path:
    try:
        return weights.locate(weight)
    except weights.WeightError as error:
        pytest.skip(f"real weights cannot be had here: {error}")


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    names = b"".join(_bytes(1, name.encode()) for name in inputs)
    return names + _bytes(2, output.encode()) + _bytes(4, kind.encode())


def _value(name: str, sizes: list[int | None]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, b"N") if size is None else _number(1, size)) for size in sizes)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))
