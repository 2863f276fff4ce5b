"""ResNet: its published sizes, one block against plain functions, its strides, and how it lies in memory."""

import copy

import pytest
import torch
from torch.nn import functional as F

from vgsr import students
from vgsr.students import StudentError
from vgsr.students.resnet import Block

PUBLISHED = {  # million: WeSpeaker's READMEs and 3D-Speaker's; 18, 50 and 152 counted in WeSpeaker's code
    "resnet18": 4.105440,
    "resnet34": 6.63,
    "resnet50": 11.131360,
    "resnet101": 15.95,
    "resnet152": 19.814880,
    "resnet221": 23.79,
    "resnet293": 28.62,
    "resnet34_speakerlab": 6.34,
}


def small(name="resnet34", channels=4, bins=16, **sizes):
    torch.manual_seed(0)
    return students.build(name, bins=bins, channels=channels, embedding=6, **sizes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_as_large_as_published(name):
    with torch.device("meta"):
        student = students.build(name, bins=80)
    million = sum(parameter.numel() for parameter in student.parameters()) / 1e6
    assert million == pytest.approx(PUBLISHED[name], rel=0.005)
    assert students.find(name).parameters == pytest.approx(PUBLISHED[name], abs=0.005)


def plain_block(state, maps, stride):
    """A block in training, of functions alone; every third name of `state` is a convolution's weight."""

    def norm(name, maps):
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
        scaled = (maps - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def convolve(name, maps, stride=1):
        """As a product with every patch of the padded image."""
        weight = state[f"{name}.weight"]
        size = weight.shape[2]
        height, width = (-(-side // stride) for side in maps.shape[2:])
        patches = F.unfold(maps, size, padding=size // 2, stride=stride)
        return (weight.flatten(1) @ patches).view(len(maps), len(weight), height, width)

    layers = sum(name.startswith("norms.") and name.endswith(".bias") for name in state)
    strided, out = (0 if layers == 2 else 1), maps
    for number in range(layers):
        out = convolve(f"convolutions.{number}", out, stride if number == strided else 1)
        out = norm(f"norms.{number}", out)
        out = out if number == layers - 1 else out.clamp(min=0)
    if "shortcut.0.weight" in state:
        maps = norm("shortcut.1", convolve("shortcut.0", maps, stride))
    return (out + maps).clamp(min=0)


@pytest.mark.parametrize(
    ("channels", "planes", "stride", "deep"), [(3, 3, 1, False), (3, 6, 2, False), (8, 2, 1, True), (3, 2, 2, True)]
)
def test_a_block_and_its_gradients_against_plain_functions(channels, planes, stride, deep):
    torch.manual_seed(1)
    block = Block(channels, planes, stride, deep).double()
    for name, parameter in block.named_parameters():
        if "norms" in name or "shortcut.1" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    maps = torch.randn(3, channels, 5, 7, dtype=torch.float64)
    laid_out = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
    written = maps.clone().requires_grad_()
    state = {name: value.detach().clone().requires_grad_() for name, value in block.named_parameters()}
    ours, wanted = block(laid_out), plain_block(state, written, stride)
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(wanted)
    ours.backward(direction)
    wanted.backward(direction)
    torch.testing.assert_close(laid_out.grad, written.grad, rtol=1e-8, atol=1e-9)
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("frames", "bins"), [(1, 16), (2, 17), (31, 80), (40, 23)])
def test_three_stages_halve_frequency_and_time(name, frames, bins):
    student, shapes = small(name, channels=2, bins=bins).eval(), []
    for stage in student.stages:
        stage.register_forward_hook(lambda stage, given, out: shapes.append(tuple(out.shape[1:])))
    assert student(torch.randn(2, frames, bins)).shape == (2, 6)
    wide = 4 if name == "resnet50" else 1
    for number, shape in enumerate(shapes):
        width = 2 * 2**number * wide
        assert shape == (width, -(-bins // 2**number), -(-frames // 2**number))


def test_a_long_shift_in_time_moves_the_maps_by_the_strides():
    student = small("resnet18").double().eval()
    features = torch.zeros(1, 700, 16, dtype=torch.float64)
    features[:, 300:304] = torch.randn(4, 16, dtype=torch.float64)

    def maps(features):
        return student.stages(student.first(features.transpose(1, 2).unsqueeze(1)))

    before, after = maps(features), maps(features.roll(64, 1))
    torch.testing.assert_close(after[..., 20:70], before[..., 12:62])
    assert float((before[..., 30:45] - before[..., :1]).detach().abs().max()) > 1e-6


def test_one_frame_and_half_precision():
    student = small()
    assert student(torch.randn(2, 1, 16)).isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        found = student(torch.randn(2, 30, 16))
    assert found.isfinite().all()


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_channels_are_last_in_memory_throughout(name):
    student, maps = small(name, channels=8), []

    last = student.stages[-1][-1].norms[-1]  # its gradient is as the pooling left it

    def kept(module, given, out):
        maps.append(out)
        if module is not last:
            out.register_hook(maps.append)

    for module in student.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            module.register_forward_hook(kept)
    student(torch.randn(2, 32, 16)).sum().backward()
    assert len(maps) == 4 * sum(isinstance(module, torch.nn.Conv2d) for module in student.modules()) - 1
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in maps)
    for module in student.modules():
        if isinstance(module, torch.nn.Conv2d):
            for tensor in (module.weight, module.weight.grad):
                assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_a_checkpoint_says_nothing_of_the_order_in_memory(tmp_path):
    from safetensors.torch import load_file, save_file

    student, features = small().eval(), torch.randn(2, 30, 16)
    save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, tmp_path / "one")
    stored = load_file(tmp_path / "one")
    assert stored["stages.1.0.convolutions.0.weight"].shape == (8, 4, 3, 3)
    other = small(channels=4).eval()
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(stored)
    weight = other.stages[1][0].convolutions[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    ordinary = copy.deepcopy(other).to(memory_format=torch.contiguous_format)
    assert torch.equal(other(features), student(features))
    torch.testing.assert_close(ordinary(features), student(features))


def test_a_width_of_nothing_is_refused():
    with pytest.raises(StudentError, match=r"student\.channels is 0"):
        small(channels=0)
