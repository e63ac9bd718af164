"""What the tests of compression share: small networks with a stream of samples whose features go together."""

from collections.abc import Iterator

import torch
from tests.ir.networks import conv
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.ir import Context, Program, run
from spikeloom.plan import Fuse, Plan

SHAPES = {"linear": (12,), "convolution": (3, 8, 8), "depthwise": (4, 8, 8), "transposed": (3, 6, 6)}


def model(name: str) -> nn.Module:
    """A network of random weights, always the same."""
    torch.manual_seed(5)
    match name:
        case "linear":
            return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 16, bias=False), nn.ReLU(), nn.Linear(16, 4))
        case "convolution":
            return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 4))
        case "depthwise":
            return nn.Sequential(conv(4, 4, groups=4), nn.ReLU(), conv(4, 8, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 4))
        case _:
            return nn.Sequential(conv(3, 8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3), nn.ReLU(), conv(4, 2))


def prepared(name: str) -> Program:
    """The network as it is when its weights are rounded."""
    return run([Plan(), Fuse()], capture(model(name).eval(), (samples(name, 2, 0),)), Context())


def samples(name: str, count: int, seed: int) -> Tensor:
    """Samples whose features are mixtures of few: inputs of a layer go together."""
    shape, generator = SHAPES[name], torch.Generator().manual_seed(seed)
    size = torch.Size(shape).numel()
    mixed = torch.randn(size // 3, size, generator=torch.Generator().manual_seed(99)) / 2
    x = torch.randn(count, size // 3, generator=generator) @ mixed + 0.3 * torch.randn(count, size, generator=generator)
    return x.view(count, *shape)


def stream(name: str, count: int = 128, seed: int = 1) -> Context:
    """A context that calibrates on samples of that network."""

    def batches() -> Iterator[tuple[Tensor]]:
        yield from ((part,) for part in samples(name, count, seed).split(32))

    return Context(batches)


def lost(program: Program, exact: Program, name: str) -> float:
    """Mean squared error of the outputs on samples nothing was fitted to, as a share of their power."""
    x = samples(name, 256, 77)
    with torch.no_grad():
        meant, found = exact.module()(x), program.module()(x)
    return float((found - meant).square().sum() / meant.square().sum())
