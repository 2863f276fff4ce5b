"""What more than one toolkit calls the same: CAM++, and the attention of ECAPA's pooling."""

import torch
from torch import Tensor

from vgsr.students.published import Recipe, Sizes, Tensors


def attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`pooling.hidden`, their layer on [frame, mean, deviation], as our layer on the frame and one on the context.

    Where theirs looks at no context, that one is 0.
    """
    whole = tensors.pop("pooling.hidden.weight")
    channels = len(tensors["pooling.attention.weight"])
    context = whole[:, channels:, 0]
    tensors["pooling.frames.weight"] = whole[:, :channels]
    tensors["pooling.frames.bias"] = tensors.pop("pooling.hidden.bias")
    tensors["pooling.context.weight"] = context if context.shape[1] else torch.zeros(len(whole), 2 * channels)
    return tensors


def flat(tensors: dict[str, Tensor], names: str) -> dict[str, Tensor]:
    """Weights [out, in, 1] whose names end so, as [out, in]: they act on one vector, where nothing is convolved."""
    return {
        name: tensor.squeeze(2) if name.endswith(names) and tensor.dim() == 3 else tensor
        for name, tensor in tensors.items()
    }


def _campplus_sizes(tensors: Tensors) -> Sizes:
    width, embedding = len(tensors["head.conv1.weight"]), len(tensors["xvector.dense.linear.weight"])
    return Sizes("campplus", width, embedding, "tstp")


# 3D-Speaker's, whose names WeSpeaker has kept.
CAMPPLUS = Recipe(
    "campplus",
    mark=r"xvector\.tdnn\.linear\.",
    sizes=_campplus_sizes,
    rules=(
        (r"^head\.conv1\.", "front.first.0."),
        (r"^head\.bn1\.", "front.first.1."),
        (r"^head\.conv2\.", "front.last.0."),
        (r"^head\.bn2\.", "front.last.1."),
        (r"^head\.layer([12])\.([01])\.", lambda found: f"front.blocks.{2 * int(found[1]) - 2 + int(found[2])}."),
        (r"^(front\.blocks\.\d)\.conv1\.", r"\1.layers.0."),
        (r"^(front\.blocks\.\d)\.bn1\.", r"\1.layers.1."),
        (r"^(front\.blocks\.\d)\.conv2\.", r"\1.layers.3."),
        (r"^(front\.blocks\.\d)\.bn2\.", r"\1.layers.4."),
        (r"^xvector\.", ""),
        (r"\bnonlinear(\d?)\.batchnorm\.", r"nonlinear\1."),
        (r"^tdnn\.linear\.", "first.0."),
        (r"^tdnn\.nonlinear\.", "first.1."),
        (r"^block([123])\.tdnnd(\d+)\.", lambda found: f"blocks.{int(found[1]) - 1}.{int(found[2]) - 1}."),
        (r"^(blocks.*)\.nonlinear1\.", r"\1.reduce.0."),
        (r"^(blocks\.\d\.\d+)\.linear1\.", r"\1.reduce.2."),
        (r"^(blocks.*)\.nonlinear2\.", r"\1.reduce.3."),
        (r"\.cam_layer\.linear_local\.", ".local."),
        (r"\.cam_layer\.linear1\.", ".mask.0."),
        (r"\.cam_layer\.linear2\.", ".mask.2."),
        (r"^transit([123])\.", lambda found: f"transits.{int(found[1]) - 1}."),
        (r"^(transits\.\d)\.nonlinear\.", r"\1.0."),
        (r"^(transits\.\d)\.linear\.", r"\1.2."),
        (r"^out_nonlinear\.batchnorm\.", "norm.0."),
        (r"^dense\.linear\.", "embedding."),
        (r"^dense\.nonlinear\.", "embedding_norm."),
    ),
    change=lambda tensors: flat(tensors, "embedding.weight"),
)
