"""What every registered student does, the ones that come later included."""

import io
from functools import cache

import pytest
import torch

from vgsr.students import STUDENTS, StudentError, build

LENGTHS = (1, 2, 37, 200)
# (bins, channels), the smallest first: what a student does, it does of the first of these that it can have.
SIZES = ((8, 8), (8, 16), (16, 16), (24, 16), (48, 16))
# These differ from another by numbers of layers alone, and take long.
DEEPER = {"resnet101", "resnet152", "resnet221", "resnet293", "redimnet_b4", "redimnet_b5", "redimnet_b6"}
ONES = [name for name in STUDENTS if name not in DEEPER]


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@cache
def size(name):
    """The `bins` and `channels` of a small student."""
    for bins, channels in SIZES:
        try:
            with torch.device("meta"):
                build(name, bins=bins, channels=channels, embedding=12)
        except StudentError:
            continue
        return {"bins": bins, "channels": channels}
    return {"bins": STUDENTS[name].bins, "channels": STUDENTS[name].channels}


def small(name, **changes):
    torch.manual_seed(0)
    return build(name, **size(name), embedding=12, **changes)


def features(name, utterances, frames):
    return torch.randn(utterances, frames, size(name)["bins"])


@cache
def settled(name):
    """A small one in evaluation, its batch norms' statistics those of some features."""
    model = small(name)
    with torch.no_grad():
        for _ in range(3):
            model(features(name, 4, 40))
    return model.eval()


@pytest.mark.parametrize("name", STUDENTS)
def test_published_size(name):
    known = STUDENTS[name]
    with torch.device("meta"):
        model = build(name)
    assert parameters(model) / 1e6 == pytest.approx(known.parameters, rel=0.02)
    assert known.source


@pytest.mark.parametrize("name", ONES)
def test_any_length(name):
    for frames in LENGTHS:
        with torch.no_grad():
            found = settled(name)(features(name, 2, frames))
        assert found.shape == (2, 12)
        assert found.isfinite().all()


@pytest.mark.parametrize("name", ONES)
def test_mixed_precision_is_close_to_float32(name):
    torch.manual_seed(0)
    model, heard = settled(name), features(name, 3, 37)
    with torch.no_grad():
        exact = model(heard)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(heard)
    assert rough.dtype in (torch.float32, torch.bfloat16)
    assert (torch.nn.functional.cosine_similarity(exact, rough.float()) > 0.98).all()


@pytest.mark.parametrize("name", ONES)
def test_an_utterance_is_embedded_without_the_rest_of_the_batch(name):
    torch.manual_seed(0)
    heard = features(name, 3, 37)
    with torch.no_grad():
        together = settled(name)(heard)
        alone = torch.cat([settled(name)(one) for one in heard.split(1)])
    scale = float((together - together.mean(0)).abs().max())
    assert scale > 0  # it is no constant
    torch.testing.assert_close(together, alone, atol=1e-3 * scale, rtol=1e-3)


@pytest.mark.parametrize("name", ONES)
def test_a_state_dict_is_all_of_it(name):
    written = io.BytesIO()
    torch.save(settled(name).state_dict(), written)
    written.seek(0)
    torch.manual_seed(1)
    other = build(name, **size(name), embedding=12).eval()
    heard = features(name, 2, 37)
    with torch.no_grad():
        assert not torch.equal(other(heard), settled(name)(heard))
        other.load_state_dict(torch.load(written))
        assert torch.equal(other(heard), settled(name)(heard))


@pytest.mark.parametrize("name", ONES)
def test_every_parameter_learns_from_every_utterance(name):
    model = small(name)
    heard = features(name, 4, 37).requires_grad_()
    (model(heard) * torch.randn(4, 12)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        # A bias before batch norm or softmax cancels out, up to rounding; nothing else may be without gradient.
        assert parameter.grad.any() or key.endswith("bias"), key
    assert (heard.grad.abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("name", STUDENTS)
def test_it_takes_every_pooling(name):
    # The 1500 channels of an x-vector network do not divide into 8 heads.
    poolings = ("astp", "tstp") if name == "xvector" else ("astp", "mqmhastp", "tstp")
    with torch.device("meta"):
        sizes = {parameters(small(name, pooling=pooling)) for pooling in poolings}
    assert len(sizes) == len(poolings)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize(("key", "wrong"), [("channels", 0), ("channels", -8), ("pooling", "tsp")])
def test_what_cannot_be_built_names_its_key(name, key, wrong):
    with pytest.raises(StudentError, match=rf"student\.{key}\b"), torch.device("meta"):
        build(name, **size(name) | {key: wrong})
