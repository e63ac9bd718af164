"""
A logic-gated network as a flat list of threshold gates: what is left of it when tensors are unrolled.

    bit     1 where one value of the input reaches a threshold
    gate    1 where Σ plus − Σ minus ≥ threshold, over bits and earlier gates                      (1)
    class   Σ plus − Σ minus + offset: the answer is the class with the most, the lowest of equals     (2)

An input that counts twice is named twice. Names are identifiers, none twice, and nothing reads what comes after it.
Source: (1) McCulloch & Pitts 1943; Muroga 1971, Threshold Logic and its Applications.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from spikeloom.errors import DataError

AT_ONCE = 4096
"""Samples that are evaluated together."""


@final
@dataclass(frozen=True)
class InputBit:
    """1 where value number `value` of a sample, counted in its flat order, is at least `threshold`."""

    name: str
    value: int
    threshold: float


@final
@dataclass(frozen=True)
class ThresholdGate:
    """(1)"""

    name: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    threshold: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it reads, each once, in the order named."""
        return tuple(dict.fromkeys((*self.plus, *self.minus)))


@final
@dataclass(frozen=True)
class ClassCount:
    """(2)"""

    name: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    offset: int


@final
@dataclass(frozen=True)
class GateList:
    """`shape` is that of one sample; gates stand in an order in which they can be evaluated."""

    shape: tuple[int, ...]
    bits: tuple[InputBit, ...]
    gates: tuple[ThresholdGate, ...]
    classes: tuple[ClassCount, ...]

    @property
    def wires(self) -> int:
        """Inputs of gates and classes together."""
        return sum(len(each.plus) + len(each.minus) for each in (*self.gates, *self.classes))

    def __call__(self, x: Float[Tensor, "b *any"]) -> Int32[Tensor, "b classes"]:
        """The count of each class, as `PackedNetwork` gives it. Raises DataError for inputs of another shape."""
        check_shape(x, self.shape)
        return torch.cat([self._counts(part) for part in x.flatten(1).split(AT_ONCE)])

    def _counts(self, x: Tensor) -> Tensor:
        place = {each.name: number for number, each in enumerate((*self.bits, *self.gates))}
        found = np.empty((len(place), len(x)), dtype=np.uint8)
        found[: len(self.bits)] = bit_rows(self.bits, x)
        for number, gate in enumerate(self.gates, len(self.bits)):
            found[number] = _total(found, place, gate) >= gate.threshold
        return torch.from_numpy(np.stack([_total(found, place, each) + each.offset for each in self.classes], 1).astype(np.int32))


def check_shape(x: Tensor, shape: tuple[int, ...]) -> None:
    """Raises DataError where samples are of another shape."""
    if tuple(x.shape[1:]) != shape:
        raise DataError("inputs of another shape than the network's", found=tuple(x.shape[1:]), allowed=shape)


def bit_rows(bits: Iterable[InputBit], x: Float[Tensor, "b values"]) -> np.ndarray:
    """The bits of samples: uint8 [bits, B]."""
    kept = tuple(bits)
    columns = x[:, [bit.value for bit in kept]]
    return (columns >= torch.tensor([bit.threshold for bit in kept], dtype=x.dtype)).T.to(torch.uint8).numpy()


def _total(found: np.ndarray, place: dict[str, int], each: ThresholdGate | ClassCount) -> np.ndarray:
    plus, minus = ([place[name] for name in names] for names in (each.plus, each.minus))
    return found[plus].sum(0, dtype=np.int64) - found[minus].sum(0, dtype=np.int64)


def swept_gates(given: GateList) -> GateList:
    """Without the bits and gates that no class depends on."""
    needed = {name for each in given.classes for name in (*each.plus, *each.minus)}
    kept = list[ThresholdGate]()
    for gate in reversed(given.gates):
        if gate.name in needed:
            kept.append(gate)
            needed.update(gate.inputs)
    bits = tuple(bit for bit in given.bits if bit.name in needed)
    return GateList(given.shape, bits, tuple(reversed(kept)), given.classes)


def representatives(bits: Iterable[InputBit], shape: tuple[int, ...]) -> list[tuple[float, ...]]:
    """For each value of a sample, one number for each way it can set its bits: below all its thresholds, and at each.

    A value without bits has one; a value whose one threshold is above 0 and at most 1 has 0 and 1.
    """
    thresholds: dict[int, set[float]] = {}
    for bit in bits:
        thresholds.setdefault(bit.value, set()).add(bit.threshold)
    found = list[tuple[float, ...]]()
    for value in range(prod(shape)):
        rising = sorted(thresholds.get(value, ()))
        plain = len(rising) == 1 and 0 < rising[0] <= 1
        found.append((0.0, 1.0) if plain else (min([*rising, 1.0]) - 1.0, *rising))
    return found


def winning_gates(given: GateList) -> tuple[tuple[ThresholdGate, ...], tuple[ThresholdGate, ...]]:
    """Gates of a class against a later one, then for each class the gate that is 1 where it wins: (2) as threshold gates."""
    classes, pairs = given.classes, dict[tuple[int, int], ThresholdGate]()
    for a, first in enumerate(classes):
        for b, second in enumerate(classes[a + 1 :], a + 1):
            plus, minus = _apart((*first.plus, *second.minus), (*first.minus, *second.plus))
            pairs[a, b] = ThresholdGate(f"{first.name}_over_{second.name}", plus, minus, second.offset - first.offset)
    wins = list[ThresholdGate]()
    for number, each in enumerate(classes):
        plus = tuple(gate.name for (a, _), gate in pairs.items() if a == number)
        minus = tuple(gate.name for (_, b), gate in pairs.items() if b == number)
        wins.append(ThresholdGate(f"{each.name}_wins", plus, minus, len(plus)))
    return tuple(pairs.values()), tuple(wins)


def _apart(plus: tuple[str, ...], minus: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Without what stands on both sides."""
    net: dict[str, int] = {}
    for names, sign in ((plus, 1), (minus, -1)):
        for name in names:
            net[name] = net.get(name, 0) + sign
    return tuple(n for n, k in net.items() for _ in range(k)), tuple(n for n, k in net.items() for _ in range(-k))
