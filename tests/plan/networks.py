"""What the tests of rotation and of its choice share: a pre-norm residual network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A pre-norm residual network: embed + Σ layer(norm(x)), read by a norm and a head."""

    def __init__(self, norm: Callable[[int], nn.Module], size: int = 24) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(5, size), nn.Linear(size, 3)
        self.norms = nn.ModuleList([norm(size) for _ in range(3)])
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(size, 40), nn.GELU(), nn.Linear(40, size)) for _ in range(2)])
        self.place = nn.Parameter(torch.randn(4, size))
        for parameter in self.norms.parameters():
            nn.init.normal_(parameter, 1.0, 0.5)

    def stream(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        for norm, layer in zip(self.norms, self.layers, strict=False):
            x = x + layer(norm(x))
        return x

    def forward(self, x: Tensor) -> Any:
        return self.head(self.norms[-1](self.stream(x)))
