"""What WeSpeaker calls the layers of its ResNets, and 3D-Speaker after it, and what of ours they are."""

import re

from torch import Tensor

from vgsr.students.published import Recipe, Sizes, Tensors
from vgsr.students.resnet import DEEP, SMALL

DEPTHS = {(deep, blocks): depth for deep, sizes in ((False, SMALL), (True, DEEP)) for depth, blocks in sizes.items()}


def _sizes(tensors: Tensors) -> Sizes:
    found = {match[1]: match for name in tensors if (match := re.match(r"layer([1-4]\.\d+)\.", name))}
    blocks = tuple(sum(name.startswith(str(stage)) for name in found) for stage in (1, 2, 3, 4))
    depth = DEPTHS["layer1.0.conv3.weight" in tensors, blocks]
    second = "_speakerlab" if "seg_2.weight" in tensors else ""
    return Sizes(f"resnet{depth}{second}", len(tensors["conv1.weight"]), len(tensors["seg_1.weight"]), "tstp")


def _change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The embedding's layer is the first of several where there is a second one."""
    several = "embedding.3.weight" in tensors
    moved = {"embedding.weight": "embedding.0.weight", "embedding.bias": "embedding.0.bias"} if several else {}
    return {moved.get(name, name): tensor for name, tensor in tensors.items()}


RESNET = Recipe(
    "resnet",
    mark=r"layer1\.0\.conv2\.",
    sizes=_sizes,
    rules=(
        (r"^conv1\.", "first.0."),
        (r"^bn1\.", "first.1."),
        (r"^layer([1-4])\.", lambda found: f"stages.{int(found[1]) - 1}."),
        (r"\.conv([123])\.", lambda found: f".convolutions.{int(found[1]) - 1}."),
        (r"\.bn([123])\.", lambda found: f".norms.{int(found[1]) - 1}."),
        (r"^seg_1\.", "embedding."),
        (r"^seg_bn_1\.", "embedding.2."),
        (r"^seg_2\.", "embedding.3."),
    ),
    change=_change,
)
