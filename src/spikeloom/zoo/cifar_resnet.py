"""
CIFAR ResNets of depth 6n + 2 with parameter-free shortcuts: three stages of n blocks, 16, 32 and 64 channels wide.

    y = ReLU(F(x) + S(x))        S: the identity, or where the stage begins every second pixel and zeros for the new channels  ("option A")

Source: He et al., Deep Residual Learning for Image Recognition (2016), §4.2. Module names are those of akamaster/pytorch_resnet_cifar10,
whose state dicts load as they are.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)


def shortcut(x: Float[Tensor, "b c h w"], width: int, stride: int) -> Float[Tensor, "b width h2 w2"]:
    """Every `stride`-th pixel of x, with as many channels of zeros before and after as make it `width` channels wide."""
    missing = width - x.shape[1]
    if stride == 1 and missing == 0:
        return x
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, missing // 2, missing - missing // 2))


@final
class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.width, self.stride = width, stride
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width h2 w2"]:
        """The block's output; height and width are divided by the stride, rounded up."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut(x, self.width, self.stride))


@final
class CifarResNet(nn.Module):
    """A ResNet for 32x32 pictures: stem, three stages of `blocks` blocks, global mean, linear."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], blocks, stride=1)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], blocks, stride=2)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], blocks, stride=2)
        self.linear = nn.Linear(WIDTHS[2], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` blocks of one width, of which the first takes the stride."""
    return nn.Sequential(Block(inputs, width, stride), *(Block(width, width, 1) for _ in range(blocks - 1)))


def cifar_resnet(depth: int, classes: int) -> CifarResNet:
    """An untrained CIFAR ResNet of depth 6n + 2: [batch, 3, 32, 32] → logits [batch, classes]."""
    return CifarResNet((depth - 2) // 6, classes)
