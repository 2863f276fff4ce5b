"""What 3D-Speaker calls the layers of its networks (`speakerlab/models/`), and what of ours they are.

Its features have Povey windows, where ours are Hamming, and are of samples in ±1, where Kaldi's floor hides what is
very quiet. Nothing says which is better for it: of its CAM++ of 200,000 speakers the EER was, with our features and
with its own, 3.54 and 3.79 % on 73,536 trials of the 24 actors of RAVDESS, 0.95 and 0.62 % on 56,616 trials of 2 s of
ten readers of LibriSpeech (the windows alone, bootstrapped over speakers: -0.04 to 0.63 apart), 0 on whole utterances.
"""

from torch import Tensor

from vgsr.students.published import Recipe, Sizes, Tensors, Toolkit
from vgsr.students.published.resnet import RESNET
from vgsr.students.published.shared import CAMPPLUS, attention, flat


def _ecapa_sizes(tensors: Tensors) -> Sizes:
    width, embedding = len(tensors["blocks.0.conv.conv.weight"]), len(tensors["fc.conv.weight"])
    return Sizes("ecapa_speechbrain", width, embedding, "astp_speechbrain")


def _ecapa_change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    changed = attention(dict(tensors))
    for names in (".weigh.0.weight", ".weigh.2.weight", "embedding.weight"):
        changed = flat(changed, names)
    return changed


# SpeechBrain's, and named like it: its own ECAPA has the same names.
ECAPA = Recipe(
    "ecapa",
    mark=r"blocks\.1\.res2net_block\.",
    sizes=_ecapa_sizes,
    rules=(
        (r"\.conv\.conv\.", ".conv."),
        (r"\.norm\.norm\.", ".norm."),
        (r"^blocks\.0\.conv\.", "first.0."),
        (r"^blocks\.0\.norm\.", "first.2."),
        (r"^blocks\.([123])\.", lambda found: f"blocks.{int(found[1]) - 1}.layers."),
        (r"\.tdnn1\.", ".0."),
        (r"\.res2net_block\.blocks\.(\d+)\.", r".1.groups.\1."),
        (r"\.tdnn2\.", ".2."),
        (r"\.se_block\.conv1\.conv\.", ".3.weigh.0."),
        (r"\.se_block\.conv2\.conv\.", ".3.weigh.2."),
        (r"^(blocks.*)\.conv\.", r"\1.0."),
        (r"^(blocks.*)\.norm\.", r"\1.2."),
        (r"^mfa\.conv\.", "aggregate.0."),
        (r"^mfa\.norm\.", "aggregate.2."),
        (r"^asp\.tdnn\.conv\.", "pooling.hidden."),
        (r"^asp\.tdnn\.norm\.", "pooling.norm."),
        (r"^asp\.conv\.", "pooling.attention."),
        (r"^asp_bn\.norm\.", "statistics_norm."),
        (r"^fc\.conv\.", "embedding."),
    ),
    change=_ecapa_change,
)


def _eres2netv2_sizes(tensors: Tensors) -> Sizes:
    return Sizes("eres2netv2", len(tensors["conv1.weight"]), len(tensors["seg_1.weight"]), "tstp")


ERES2NETV2 = Recipe(
    "eres2netv2",
    mark=r"layer3_ds\.",
    sizes=_eres2netv2_sizes,
    rules=(
        (r"^conv1\.", "first.0."),
        (r"^bn1\.", "first.1."),
        (r"^layer([1-4])\.", lambda found: f"stages.{int(found[1]) - 1}."),
        (r"\.conv1\.", ".enter.0."),
        (r"\.bn1\.", ".enter.1."),
        (r"\.convs\.(\d+)\.", r".groups.\1.0."),
        (r"\.bns\.(\d+)\.", r".groups.\1.1."),
        (r"\.fuse_models\.(\d+)\.local_att\.", r".fusions.\1.weigh."),
        (r"\.conv3\.", ".leave.0."),
        (r"\.bn3\.", ".leave.1."),
        (r"^layer3_ds\.", "downsample."),
        (r"^fuse34\.local_att\.", "fusion.weigh."),
        (r"^seg_1\.", "embedding."),
    ),
)

TOOLKIT = Toolkit(
    "3D-Speaker",
    left_out=r"$^",  # its classifiers are files of their own
    features="Povey instead of Hamming windows",
    recipes=(CAMPPLUS, ECAPA, ERES2NETV2, RESNET),
)
