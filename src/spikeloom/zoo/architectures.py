"""The table of our own architectures: what each is called, what it takes, how its pictures are prepared, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import nn

from spikeloom.errors import SourceError
from spikeloom.zoo.cifar_resnet import cifar_resnet
from spikeloom.zoo.digits_cnn import digits_cnn
from spikeloom.zoo.lenet import lenet
from spikeloom.zoo.resnet18 import resnet18

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@final
@dataclass(frozen=True)
class Architecture:
    """
    One architecture: `make(classes)` builds it untrained.

    A picture of `input_shape` (channels, height, width), its pixels divided by 255, is normalised by (pixel - mean) / std per channel.
    `dataset` is the address of the data set it is meant for, which has `classes` classes.
    """

    name: str
    make: Callable[[int], nn.Module]
    input_shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dataset: str

    def build(self, classes: int | None = None, *, seed: int = 0) -> nn.Module:
        """The network with random weights drawn from `seed` (torch's global generator is left as it was), for `classes` classes."""
        wanted = self.classes if classes is None else classes
        if wanted < 1:
            raise SourceError(f"zoo:{self.name} cannot be built", found=f"{wanted} classes", allowed="1 or more classes")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.make(wanted)


def _cifar_resnet(depth: int) -> Architecture:
    # The ImageNet statistics are what the published weights were trained with (akamaster/pytorch_resnet_cifar10).
    return Architecture(
        f"cifar-resnet{depth}", partial(cifar_resnet, depth), (3, 32, 32), 10, IMAGENET_MEAN, IMAGENET_STD, dataset="cifar10"
    )


ARCHITECTURES: dict[str, Architecture] = {
    "digits-cnn": Architecture("digits-cnn", digits_cnn, (1, 8, 8), 10, (0.0,), (1.0,), dataset="digits"),
    "lenet": Architecture("lenet", lenet, (1, 28, 28), 10, (0.0,), (1.0,), dataset="mnist"),
    "cifar-resnet20": _cifar_resnet(20),
    "cifar-resnet32": _cifar_resnet(32),
    "cifar-resnet44": _cifar_resnet(44),
    "cifar-resnet56": _cifar_resnet(56),
    "cifar-resnet110": _cifar_resnet(110),
    "resnet18": Architecture("resnet18", resnet18, (3, 32, 32), 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), dataset="cifar10"),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name. SourceError lists the known names where there is none."""
    if name not in ARCHITECTURES:
        raise SourceError(
            f"there is no architecture called {name!r} in the zoo",
            found=name,
            allowed=", ".join(ARCHITECTURES),
            todo="name one of these, or give the model by another address (torchvision:, timm:, hf:, onnx:, py:)",
        )
    return ARCHITECTURES[name]


def build(name: str, classes: int | None = None, *, seed: int = 0) -> nn.Module:
    """The architecture of that name with random weights drawn from `seed`; `classes` defaults to its own number. SourceError as above."""
    return architecture(name).build(classes, seed=seed)
