"""Face embedding: aligned faces in, one raw (not normalised) embedding a face out.

Any ONNX network in the manner of ArcFace works (112x112 aligned colour faces to a vector); `Feed` says how it
wants its pixels. Aligned faces come from `align`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from vgsr.teachers.align import SIZE


class ModelError(Exception):
    """A face network that cannot be used; the text names the file and what is wrong with it."""


@dataclass(frozen=True)
class Feed:
    """What the network is fed: `(pixel - mean) / scale`, channels in `order`, axes in `layout`.

    The defaults are those of ArcFace networks (insightface): RGB, -1..1, channels first.
    """

    mean: float = 127.5
    scale: float = 127.5
    order: str = "rgb"
    layout: str = "nchw"

    def __post_init__(self) -> None:
        for key, value, known in (
            ("order", self.order, ("rgb", "bgr")),
            ("layout", self.layout, ("nchw", "nhwc")),
        ):
            if value not in known:
                raise ModelError(f"feed.{key}: {value!r} is unknown, use one of {', '.join(known)}")
        if not self.scale:
            raise ModelError("feed.scale: must not be 0")


ARCFACE_FEED = Feed()
SFACE_FEED = Feed(mean=0.0, scale=1.0)
"""SFace normalises inside its graph: it wants raw 0..255."""


@dataclass(frozen=True)
class FaceModel:
    """A loaded face network; `batch` is how many faces a run takes (1 where the graph is fixed to one)."""

    name: str
    digest: str
    dimension: int
    feed: Feed
    batch: int
    session: onnxruntime.InferenceSession


def load(path: str | Path, feed: Feed, *, name: str | None = None, batch: int = 16) -> FaceModel:
    """`build` of the ONNX file `path`; raises ModelError where there is none, too."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    return build(path.read_bytes(), feed, name=name or path.stem, batch=batch)


def build(content: bytes, feed: Feed, *, name: str, batch: int = 16, gpu: bool = True) -> FaceModel:
    """The ONNX face network in `content`, for runs of `batch` faces, on the GPU if this onnxruntime has one.

    Without `gpu` it is on the CPU in any case. A run is one thread there, because the last digits depend on how many
    there are; several may run at once. A batch dimension fixed to 1 is made symbolic in memory; where the graph then
    still refuses several faces it is run one face at a time. Raises ModelError for what is not such a network.
    """
    _refuse_files_beside(name, content)
    session = _session(name, content, gpu)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    wanted = [3, SIZE, SIZE] if feed.layout == "nchw" else [SIZE, SIZE, 3]
    shape = inputs[0].shape
    sizes_fit = len(shape) == 4 and all(
        not isinstance(have, int) or have == want for have, want in zip(shape[1:], wanted, strict=True)
    )
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not sizes_fit:
        raise ModelError(f"{name}: takes {[(i.type, i.shape) for i in inputs]}, not float [batch, *{wanted}]")
    if shape[0] == 1 and batch > 1:
        freed = _free_batch(_free_batch(content, inputs[0]), outputs[0])
        session = _session(name, freed, gpu) if freed != content else session
    refused = None
    for faces in (batch, 1):
        try:
            answer = session.run(None, {inputs[0].name: np.zeros((faces, *wanted), np.float32)})[0]
        except Exception as error:  # see _session
            refused = error
            continue
        if answer.ndim == 2 and len(answer) == faces:
            return FaceModel(name, hashlib.sha256(content).hexdigest(), answer.shape[1], feed, faces, session)
    reason = refused or "it does not answer [n, dimension] for n faces"
    raise ModelError(f"{name}: not a face embedding network ({reason})") from refused


def embed(model: FaceModel, faces: np.ndarray) -> np.ndarray:
    """Raw embeddings [n, d] (float32) of aligned faces [n, 112, 112, 3] (RGB, uint8).

    The last run is filled up with black faces: in smaller runs the last digits of an embedding would be others, and it
    would depend on how many faces came with it.
    """
    pixels = (faces.astype(np.float32) - model.feed.mean) / model.feed.scale
    if model.feed.order == "bgr":
        pixels = pixels[..., ::-1]
    if model.feed.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    name = model.session.get_inputs()[0].name
    found = [np.empty((0, model.dimension), np.float32)]
    for start in range(0, len(pixels), model.batch):
        faces_here = pixels[start : start + model.batch]
        block = np.zeros((model.batch, *pixels.shape[1:]), np.float32)
        block[: len(faces_here)] = faces_here
        found.append(model.session.run(None, {name: block})[0][: len(faces_here)])
    return np.concatenate(found)


def _refuse_files_beside(name: str, content: bytes) -> None:
    """ModelError for a network that names other files to take its weights from: any file of this machine, that is."""
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # protobuf's own, and whatever a damaged one makes onnx stumble over
        raise ModelError(f"{name}: not a usable ONNX network ({str(error)[:200]})") from error
    if beside := _beside(graph):
        raise ModelError(
            f"{name}: refused: its weights are not all in it but in {beside[:200]!r}; save it as one file "
            "(onnx.save_model with save_as_external_data=False)"
        )


def _beside(graph: onnx.GraphProto) -> str | None:
    """The first other file that a graph, or one within it, takes weights from."""
    tensors = [*graph.initializer, *(part for one in graph.sparse_initializer for part in (one.values, one.indices))]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize() and (found := _beside(inner)):
                    return found
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            return next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
    return None


def _session(name: str, content: bytes, gpu: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Errors reach us as exceptions; below them are only warnings about older exports, one for every weight.
    options.log_severity_level = 4
    have = onnxruntime.get_available_providers()
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider") if gpu else ("CPUExecutionProvider",)
    providers = [name for name in wanted if name in have]
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own that share no base but Exception
        raise ModelError(f"{name}: not a usable ONNX network ({error})") from error


def _free_batch(content: bytes, value: onnxruntime.NodeArg) -> bytes:
    """`content` with the batch dimension of one graph input or output (fixed to 1) left open, if found once.

    In the ONNX wire format a dimension of 1 is `08 01` (dim_value = 1) and an open one `12 00` (dim_param =
    ""), so the edit keeps every length; it needs no ONNX package. The graph's nodes are not touched.
    """
    if not all(isinstance(size, int) for size in value.shape):
        return content
    shape = b"".join(_field(1, _varint(1 << 3) + _varint(size)) for size in value.shape)
    tensor = b"\x08\x01" + _field(2, shape)
    info = _field(1, value.name.encode()) + _field(2, _field(1, tensor))
    if content.count(info) != 1:
        return content
    batch = len(info) - len(shape) + 2
    return content.replace(info, info[:batch] + b"\x12\x00" + info[batch + 2 :])


def _field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
