"""The ECAPA students of published checkpoints; what they compute is in `test_published`."""

import pytest
import torch

from vgsr.students import STUDENTS, build


@pytest.mark.parametrize(
    ("name", "channels", "published"),
    [("ecapa_wespeaker", 512, 6.19), ("ecapa_wespeaker", 1024, 14.65), ("ecapa_speechbrain", 1024, 20.8)],
)
def test_published_sizes(name, channels, published):
    with torch.device("meta"):
        model = build(name, bins=80, channels=channels)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(published, rel=0.02)
    if channels == STUDENTS[name].channels:
        assert STUDENTS[name].parameters == published


@pytest.mark.parametrize("name", ["ecapa_wespeaker", "ecapa_speechbrain"])
def test_it_learns_and_embeds_each_utterance_alone(name):
    torch.manual_seed(0)
    model = build(name, bins=20, channels=32, embedding=16)
    features = torch.randn(6, 60, 20)
    for _ in range(3):
        out = model(features)
    (out * torch.randn(6, 16)).sum().backward()
    for key, parameter in model.named_parameters():
        # A bias before batch norm or softmax cancels out, up to rounding; nothing else may be without gradient.
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert parameter.grad.any() or key.endswith("bias")
    model.eval()
    alone = torch.cat([model(one.unsqueeze(0)) for one in features])
    torch.testing.assert_close(model(features), alone, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(features)
    assert (torch.nn.functional.cosine_similarity(model(features), rough.float()) > 0.99).all()


@pytest.mark.parametrize("name", ["ecapa_wespeaker", "ecapa_speechbrain"])
@pytest.mark.parametrize("frames", [1, 3, 4, 5])
def test_any_length(name, frames):
    model = build(name, bins=80, channels=8, embedding=12).eval()
    assert model(torch.randn(2, frames, 80)).isfinite().all()
