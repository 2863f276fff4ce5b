"""Networks of other toolkits in a few lines each, under the names that they have there.

A function runs a network on features and draws each tensor when it first meets its name: the state dict and the
embedding that belongs to it come of one description, which knows nothing of ours.
"""

import torch
from torch.nn import functional as F


class Drawn:
    """Layers whose tensors are drawn at their first use and are in `state` afterwards."""

    def __init__(self, seed=0):
        self.state = {}
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, name, *shape, low=None, high=None):
        if name not in self.state:
            drawn = torch.rand(shape, generator=self.random)
            fan = max(1, drawn[0].numel()) if drawn.dim() > 1 else 4
            self.state[name] = low + drawn * (high - low) if low is not None else (drawn - 0.5) * 3 / fan**0.5
        return self.state[name]

    def convolution(self, name, x, out, kernel=1, bias=True, **how):
        flat = x.dim() == 3
        weight = self.draw(f"{name}.weight", out, x.shape[1], *[kernel] * (1 if flat else 2))
        return (F.conv1d if flat else F.conv2d)(x, weight, self.draw(f"{name}.bias", out) if bias else None, **how)

    def linear(self, name, x, out):
        return F.linear(x, self.draw(f"{name}.weight", out, x.shape[1]), self.draw(f"{name}.bias", out))

    def norm(self, name, x, affine=True):
        count = x.shape[1]
        mean, variance = (
            self.draw(f"{name}.running_mean", count),
            self.draw(f"{name}.running_var", count, low=0.5, high=2),
        )
        scale = (
            (self.draw(f"{name}.weight", count, low=0.5, high=2), self.draw(f"{name}.bias", count)) if affine else ()
        )
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return F.batch_norm(x, mean, variance, *scale)


def statistics(x, epsilon=0.0):
    return torch.cat((x.mean(-1).flatten(1), (x.var(-1) + epsilon).sqrt().flatten(1)), 1)


def wespeaker_ecapa(net, features, channels, embedding, context=True, last_norm=False):
    def layer(name, x, out, **how):
        return net.norm(f"{name}.bn", F.relu(net.convolution(f"{name}.conv", x, out, **how)))

    def block(name, x, dilation):
        y = layer(f"{name}.0", x, channels)
        *parts, last = y.split(channels // 8, 1)
        done = []
        for i, part in enumerate(parts):
            part = part + done[-1] if done else part
            part = net.convolution(f"{name}.1.convs.{i}", part, channels // 8, 3, padding=dilation, dilation=dilation)
            done.append(net.norm(f"{name}.1.bns.{i}", F.relu(part)))
        y = layer(f"{name}.2", torch.cat((*done, last), 1), channels)
        weight = F.relu(net.linear(f"{name}.3.linear1", y.mean(2), min(128, channels)))
        return x + y * net.linear(f"{name}.3.linear2", weight, channels).sigmoid().unsqueeze(2)

    x = layer("layer1", features.transpose(1, 2), channels, kernel=5, padding=2)
    outs = []
    for number in (2, 3, 4):
        x = block(f"layer{number}.se_res2block", x, number)
        outs.append(x)
    x = F.relu(net.convolution("conv", torch.cat(outs, 1), min(1536, 3 * channels)))
    seen = x
    if context:
        seen = torch.cat((x, *(s.unsqueeze(2).expand_as(x) for s in statistics(x, 1e-7).chunk(2, 1))), 1)
    weight = net.convolution("pool.linear1", seen, min(128, channels)).tanh()
    weight = net.convolution("pool.linear2", weight, x.shape[1]).softmax(2)
    mean = (weight * x).sum(2)
    pooled = torch.cat((mean, ((weight * x**2).sum(2) - mean**2).clamp(min=1e-7).sqrt()), 1)
    out = net.linear("linear", net.norm("bn", pooled), embedding)
    return net.norm("bn2", out) if last_norm else out


def speakerlab_ecapa(net, features, channels, embedding):
    def layer(name, x, out, kernel=1, dilation=1):
        reach = dilation * (kernel // 2)
        x = F.pad(x, (reach, reach), mode="reflect") if reach else x
        return net.norm(
            f"{name}.norm.norm", F.relu(net.convolution(f"{name}.conv.conv", x, out, kernel, dilation=dilation))
        )

    def block(name, x, dilation):
        done = list(layer(f"{name}.tdnn1", x, channels).chunk(8, 1))
        for i in range(1, 8):
            part = done[i] + done[i - 1] if i > 1 else done[i]
            done[i] = layer(f"{name}.res2net_block.blocks.{i - 1}", part, channels // 8, 3, dilation)
        y = layer(f"{name}.tdnn2", torch.cat(done, 1), channels)
        weight = net.convolution(f"{name}.se_block.conv1.conv", y.mean(2, keepdim=True), min(128, channels)).relu()
        return x + y * net.convolution(f"{name}.se_block.conv2.conv", weight, channels).sigmoid()

    x = layer("blocks.0", features.transpose(1, 2), channels, 5)
    outs = []
    for number in (1, 2, 3):
        x = block(f"blocks.{number}", x, number + 1)
        outs.append(x)
    x = layer("mfa", torch.cat(outs, 1), 3 * channels)
    mean, deviation = x.mean(2, keepdim=True), x.var(2, keepdim=True, correction=0).sqrt()
    seen = torch.cat((x, mean.expand_as(x), deviation.expand_as(x)), 1)
    weight = net.convolution("asp.conv.conv", layer("asp.tdnn", seen, min(128, channels)).tanh(), x.shape[1]).softmax(2)
    mean = (weight * x).sum(2, keepdim=True)
    pooled = torch.cat((mean, (weight * (x - mean) ** 2).sum(2, keepdim=True).clamp(min=1e-12).sqrt()), 1)
    return net.convolution("fc.conv", net.norm("asp_bn.norm", pooled), embedding).squeeze(2)


def campplus(net, features, growth, embedding, epsilon=0.0):
    def residual(name, x, stride):
        y = F.relu(net.norm(f"{name}.bn1", conv2d(f"{name}.conv1", x, stride)))
        y = net.norm(f"{name}.bn2", conv2d(f"{name}.conv2", y, 1))
        if stride > 1:
            x = net.convolution(f"{name}.shortcut.0", x, growth, bias=False, stride=(stride, 1))
            x = net.norm(f"{name}.shortcut.1", x)
        return F.relu(x + y)

    def conv2d(name, x, stride):
        return net.convolution(name, x, growth, 3, bias=False, stride=(stride, 1), padding=1)

    def active(name, x):
        return F.relu(net.norm(f"{name}.batchnorm", x))

    def dense(name, x, dilation):
        y = net.convolution(f"{name}.linear1", active(f"{name}.nonlinear1", x), 4 * growth, bias=False)
        y = active(f"{name}.nonlinear2", y)
        part = torch.stack([y[..., t // 100 * 100 : t // 100 * 100 + 100].mean(2) for t in range(y.shape[2])], 2)
        cam = f"{name}.cam_layer"
        mask = net.convolution(f"{cam}.linear1", y.mean(2, keepdim=True) + part, 2 * growth).relu()
        mask = net.convolution(f"{cam}.linear2", mask, growth).sigmoid()
        local = net.convolution(f"{cam}.linear_local", y, growth, 3, bias=False, padding=dilation, dilation=dilation)
        return torch.cat((x, local * mask), 1)

    x = F.relu(net.norm("head.bn1", conv2d("head.conv1", features.transpose(1, 2).unsqueeze(1), 1)))
    for number, stride in (("1.0", 2), ("1.1", 1), ("2.0", 2), ("2.1", 1)):
        x = residual(f"head.layer{number}", x, stride)
    x = F.relu(net.norm("head.bn2", conv2d("head.conv2", x, 2))).flatten(1, 2)
    x = net.convolution("xvector.tdnn.linear", x, 4 * growth, 5, bias=False, stride=2, padding=2)
    x = active("xvector.tdnn.nonlinear", x)
    for number, layers, dilation in ((1, 12, 1), (2, 24, 2), (3, 16, 2)):
        for one in range(1, layers + 1):
            x = dense(f"xvector.block{number}.tdnnd{one}", x, dilation)
        x = active(f"xvector.transit{number}.nonlinear", x)
        x = net.convolution(f"xvector.transit{number}.linear", x, x.shape[1] // 2, bias=False)
    pooled = statistics(active("xvector.out_nonlinear", x), epsilon).unsqueeze(2)
    out = net.convolution("xvector.dense.linear", pooled, embedding, bias=False).squeeze(2)
    return net.norm("xvector.dense.nonlinear.batchnorm", out, affine=False)


def eres2netv2(net, features, channels, embedding):
    def fuse(name, x, y):
        name = f"{name}.local_att"
        w = net.norm(f"{name}.1", net.convolution(f"{name}.0", torch.cat((x, y), 1), x.shape[1] // 4))
        w = 1 + net.norm(f"{name}.4", net.convolution(f"{name}.3", F.silu(w), x.shape[1])).tanh()
        return x * w + y * (2 - w)

    def block(name, x, planes, stride, fused):
        width = int(planes * 26 / 64)
        y = net.norm(f"{name}.bn1", net.convolution(f"{name}.conv1", x, 2 * width, bias=False, stride=stride))
        first, second = y.clamp(0, 20).split(width, 1)
        first = net.convolution(f"{name}.convs.0", first, width, 3, bias=False, padding=1)
        first = net.norm(f"{name}.bns.0", first).clamp(0, 20)
        second = fuse(f"{name}.fuse_models.0", first, second) if fused else first + second
        second = net.convolution(f"{name}.convs.1", second, width, 3, bias=False, padding=1)
        second = net.norm(f"{name}.bns.1", second).clamp(0, 20)
        y = net.norm(
            f"{name}.bn3", net.convolution(f"{name}.conv3", torch.cat((first, second), 1), 2 * planes, bias=False)
        )
        if stride > 1 or x.shape[1] != 2 * planes:
            x = net.convolution(f"{name}.shortcut.0", x, 2 * planes, bias=False, stride=stride)
            x = net.norm(f"{name}.shortcut.1", x)
        return (x + y).clamp(0, 20)

    x = features.transpose(1, 2).unsqueeze(1)
    x = F.relu(net.norm("bn1", net.convolution("conv1", x, channels, 3, bias=False, padding=1)))
    outs = []
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for one in range(blocks):
            stride = 2 if stage and not one else 1
            x = block(f"layer{stage + 1}.{one}", x, channels * 2**stage, stride, stage > 1)
        outs.append(x)
    down = net.convolution("layer3_ds", outs[2], 16 * channels, 3, bias=False, stride=2, padding=1)
    return net.linear("seg_1", statistics(fuse("fuse34", outs[3], down), 1e-8), embedding)


def resnet(net, features, channels, embedding, blocks=(3, 4, 6, 3), two=False, deep=False):
    x = features.transpose(1, 2).unsqueeze(1)
    x = F.relu(net.norm("bn1", net.convolution("conv1", x, channels, 3, bias=False, padding=1)))
    for stage, count in enumerate(blocks):
        for one in range(count):
            name, planes, stride = f"layer{stage + 1}.{one}", channels * 2**stage, 2 if stage and not one else 1
            first, second = (planes, 3, stride), (planes, 3, 1)
            layers = ((planes, 1, 1), (planes, 3, stride), (4 * planes, 1, 1)) if deep else (first, second)
            y = x
            for number, (out, kernel, step) in enumerate(layers, 1):
                y = F.relu(y) if number > 1 else y
                y = net.convolution(
                    f"{name}.conv{number}", y, out, kernel, bias=False, stride=step, padding=kernel // 2
                )
                y = net.norm(f"{name}.bn{number}", y)
            if stride > 1 or x.shape[1] != out:
                x = net.convolution(f"{name}.shortcut.0", x, out, bias=False, stride=stride)
                x = net.norm(f"{name}.shortcut.1", x)
            x = F.relu(y + x)
    out = net.linear("seg_1", statistics(x, 1e-7), embedding)
    return net.linear("seg_2", net.norm("seg_bn_1", F.relu(out), affine=False), embedding) if two else out
