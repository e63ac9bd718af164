"""
Cores as they are filled: axons with a type, neurons with four weights, and which axons reach which neurons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from spikeloom.backend.truenorth import limits

Kind = Literal["gates", "partial", "merge", "splitter"]
HOST, NOWHERE = -1, -2
"""Targets that are no core: neurons that answer send off the chip, some send to nobody."""
LINEAR, NORMAL = "linear", "normal"


@final
@dataclass
class Neuron:
    """Parameters of the published neuron (Cassidy et al. 2013) as `simulator` runs them; `target` is (core, axon, delay)."""

    weights: tuple[int, int, int, int]
    axons: list[int]
    threshold: int
    leak: int = 0
    negative_threshold: int = 0
    reset_mode: str = NORMAL
    saturates: bool = False
    start: int = 0
    target: tuple[int, int, int] = (NOWHERE, 0, 1)


@final
@dataclass
class Core:
    """One core: what its axons carry is known by key, so that an input has an axon of each type only once."""

    kind: Kind
    layer: str
    types: list[int] = field(default_factory=list[int])
    keys: dict[object, int] = field(default_factory=dict[object, int])
    neurons: list[Neuron] = field(default_factory=list[Neuron])

    def axon(self, key: object, kind: int) -> int:
        """The axon of a key, made where there is none."""
        if key not in self.keys:
            self.keys[key] = len(self.types)
            self.types.append(kind)
        return self.keys[key]

    def takes(self, keys: Sequence[object], spare: int) -> bool:
        """Whether a neuron with these axons still fits, some axons and neurons being kept back."""
        new = sum(key not in self.keys for key in keys)
        return len(self.types) + new + spare <= limits.AXONS and len(self.neurons) + 1 + spare <= limits.NEURONS


def padded(weights: Sequence[int]) -> tuple[int, int, int, int]:
    """Four weights, 0 where a type is not used."""
    a, b, c, d = (*map(int, weights), 0, 0, 0, 0)[:4]
    return a, b, c, d
