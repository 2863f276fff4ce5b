"""The ECAPA student against the published sizes, and what any student must do."""

import pytest
import torch

from vgsr.students import STUDENTS, StudentError, build


def size(channels: int) -> int:
    model = build("ecapa", bins=80, channels=channels, embedding=192)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("channels", "published"), [(512, 6.19e6), (1024, 14.65e6)])
def test_published_sizes(channels: int, published: float) -> None:
    assert size(channels) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("channels", [8, 32, 64])
def test_small_widths_embed_any_length(channels: int) -> None:
    model = build("ecapa", bins=40, channels=channels, embedding=24).eval()
    for frames in (1, 7, 101):
        assert model(torch.randn(3, frames, 40)).shape == (3, 24)


def test_small_width_is_small() -> None:
    assert size(32) < 1e5 < size(128) < 1e6


@pytest.mark.parametrize("channels", [0, 4, 30, 513])
def test_channels_that_do_not_split_into_groups(channels: int) -> None:
    with pytest.raises(StudentError, match="multiple of 8"):
        build("ecapa", bins=80, channels=channels, embedding=192)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(StudentError, match="did you mean 'ecapa'"):
        build("ecappa", bins=80, channels=32, embedding=16)
    assert "ecapa" in STUDENTS


def test_an_utterance_alone_is_what_it_is_in_a_batch() -> None:
    torch.manual_seed(0)
    model = build("ecapa", bins=20, channels=32, embedding=16)
    features = torch.randn(6, 60, 20)
    for _ in range(3):
        model(features)  # moves the batch-norm statistics off their start
    model.eval()
    batch = model(features)
    alone = torch.cat([model(one.unsqueeze(0)) for one in features])
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=1e-4)


def test_every_parameter_learns_from_every_embedding() -> None:
    torch.manual_seed(0)
    model = build("ecapa", bins=20, channels=32, embedding=16)
    features = torch.randn(4, 30, 20, requires_grad=True)
    (model(features) * torch.randn(4, 16)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert features.grad is not None
    assert (features.grad.abs().sum(dim=(1, 2)) > 0).all()
    still = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    # A bias before batch norm or softmax cancels out, up to rounding; nothing else may be without gradient.
    assert all(name.endswith("bias") for name in still)


def test_bfloat16_autocast_is_close_to_float32() -> None:
    torch.manual_seed(0)
    model = build("ecapa", bins=20, channels=32, embedding=16).eval()
    features = torch.randn(4, 50, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(features)
    similarity = torch.nn.functional.cosine_similarity(model(features), rough.float())
    assert (similarity > 0.99).all()
