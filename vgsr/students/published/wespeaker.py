"""What WeSpeaker calls the layers of its networks (`wespeaker/models/*.py`), and what of ours they are.

Its features are ours: Hamming windows, samples of 16 bits, the mean over time taken off.
"""

from torch import Tensor

from vgsr.students.published import Recipe, Sizes, Tensors, Toolkit
from vgsr.students.published.resnet import RESNET
from vgsr.students.published.shared import CAMPPLUS, attention

GROUPS = 8  # of ECAPA's Res2 convolutions


def _ecapa_sizes(tensors: Tensors) -> Sizes:
    return Sizes("ecapa_wespeaker", len(tensors["layer1.conv.weight"]), len(tensors["linear.weight"]), "astp")


def _ecapa_change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Groups in our order, the attention in frames and context, a batch norm of the embedding within its layer."""
    changed = attention(dict(tensors))
    for block in range(3):
        # Theirs passes the last group of channels unchanged, ours the first: the layer before writes them in another
        # order, and the layer after reads them so.
        for name in ("0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias", "0.2.running_mean", "0.2.running_var"):
            key = f"blocks.{block}.layers.{name}"
            changed[key] = changed[key].roll(len(changed[key]) // GROUPS, 0)
        key = f"blocks.{block}.layers.2.0.weight"
        changed[key] = changed[key].roll(changed[key].shape[1] // GROUPS, 1)
    if "bn2.weight" in changed:
        norm = {part: changed.pop(f"bn2.{part}") for part in ("weight", "bias", "running_mean", "running_var")}
        changed.pop("bn2.num_batches_tracked", None)
        slope = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        changed["embedding.weight"] = slope.unsqueeze(1) * changed["embedding.weight"]
        changed["embedding.bias"] = slope * (changed["embedding.bias"] - norm["running_mean"]) + norm["bias"]
    return changed


ECAPA = Recipe(
    "ecapa",
    mark=r"layer2\.se_res2block\.",
    sizes=_ecapa_sizes,
    rules=(
        (r"^layer1\.conv\.", "first.0."),
        (r"^layer1\.bn\.", "first.2."),
        (r"^layer([234])\.se_res2block\.", lambda found: f"blocks.{int(found[1]) - 2}.layers."),
        (r"\.layers\.([02])\.conv\.", r".layers.\1.0."),
        (r"\.layers\.([02])\.bn\.", r".layers.\1.2."),
        (r"\.layers\.1\.convs\.(\d+)\.", r".layers.1.groups.\1.0."),
        (r"\.layers\.1\.bns\.(\d+)\.", r".layers.1.groups.\1.2."),
        (r"\.layers\.3\.linear1\.", ".layers.3.weigh.0."),
        (r"\.layers\.3\.linear2\.", ".layers.3.weigh.2."),
        (r"^conv\.", "aggregate.0."),
        (r"^pool\.linear1\.", "pooling.hidden."),
        (r"^pool\.linear2\.", "pooling.attention."),
        (r"^bn\.", "statistics_norm."),
        (r"^linear\.", "embedding."),
    ),
    change=_ecapa_change,
)

TOOLKIT = Toolkit("WeSpeaker", left_out=r"projection\.", features="", recipes=(CAMPPLUS, ECAPA, RESNET))
