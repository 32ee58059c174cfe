#!/usr/bin/env python3
"""Record the passes of a ResNet18 with a 3x3 stem in PyTorch, for cpr-gpu/tests/resnet18.rs (needs torch, no torchvision):

    python3 scripts/record_resnet.py > cpr-gpu/tests/resnet18.txt

The network is torchvision's ResNet18 with a 3x3 stem of stride 1 and no max pool, an eighth as wide, in f64 in training
mode; its parameters, images and labels follow from a formula that the test has too. A line is a name and numbers: of a
tensor its norm, its sum, and four sums weighted by the same formula, which no change of a few elements leaves alone.
"""

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, CLASSES, BATCH, SIDE, SMOOTHING = 8, 10, 6, 16, 0.1


def noise(stream, count):
    """Numbers in [-1, 1), multiples of 2^-23: the upper bits of a hash of stream and place."""
    x = torch.arange(count, dtype=torch.int64) + stream * 1_000_003
    mask = 0xFFFFFFFF
    x = (x * 2_654_435_761) & mask
    x = ((x ^ (x >> 15)) * 739_391) & mask
    x = ((x ^ (x >> 13)) * 461_845) & mask
    return (x >> 8).double() / (1 << 23) - 1.0


class Block(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage in range(4):
            channels, stride = width << stage, 1 if stage == 0 else 2
            blocks = [Block(inputs, channels, stride), Block(channels, channels, 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = channels
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def set_parameters(model):
    """Kaiming's scale for matrices; batch norms near the identity."""
    with torch.no_grad():
        for stream, (name, parameter) in enumerate(model.named_parameters()):
            values = noise(stream, parameter.numel()).reshape(parameter.shape)
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(values * (3.0 / fan_in) ** 0.5)
            elif name.endswith("weight"):
                parameter.copy_(1.0 + 0.25 * values)
            else:
                parameter.copy_(0.25 * values)


def line(name, tensor):
    flat = tensor.detach().double().flatten()
    sums = [flat.square().sum().sqrt(), flat.sum()]
    sums += [(flat * noise(2000 + k, flat.numel())).sum() for k in range(4)]
    print(name, *(repr(float(x)) for x in sums))


def main():
    model = ResNet18(WIDTH, CLASSES).double()
    set_parameters(model)
    images = noise(1000, BATCH * 3 * SIDE * SIDE).reshape(BATCH, 3, SIDE, SIDE) * 2.0
    labels = torch.tensor([3 * index % CLASSES for index in range(BATCH)])
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
    loss.backward()
    line("logits", logits)
    line("loss", loss)
    for name, parameter in model.named_parameters():
        line(name, parameter.grad)
    for name, buffer in model.named_buffers():
        if not name.endswith("num_batches_tracked"):
            line(name, buffer)
    model.eval()
    line("evaluated", model(images))


if __name__ == "__main__":
    main()
