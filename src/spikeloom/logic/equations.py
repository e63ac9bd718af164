"""
Threshold gates as Boolean equations: sums of products, each of few inputs minimised, larger ones as a ladder of small ones.

    table        a gate of n ≤ 12 inputs, 2^n rows; bit i of a row's number is input i
    minimised    the least sum of products of a table, by espresso
    ladder       a(i, j), "at least j of the first i literals" = a(i−1, j) | x_i & a(i−1, j−1)          (1)
    whole        up to 12 input bits: each class that wins as one sum of products over them

An equation is a disjunction of products of literals. A threshold gate is unate, so its least sum of products is the one of all its prime
implicants. Sources: Brayton et al. 1984 (espresso, through pyeda); (1) Sinz 2005, sequential counters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.errors import ResourceError, UnsupportedError
from spikeloom.logic.gates import GateList, InputBit, ThresholdGate, bit_rows, check_shape, winning_gates

MOST_INPUTS = 12
"""Inputs of a truth table that is minimised."""
MOST_PRODUCTS = 1 << 19
"""Products of a network's equations, all together."""
AT_ONCE = 4096


@final
@dataclass(frozen=True)
class Literal:
    """A signal, or where not `positive` its complement."""

    name: str
    positive: bool = True

    def __str__(self) -> str:
        return self.name if self.positive else f"!{self.name}"


Product = tuple[Literal, ...]


@final
@dataclass(frozen=True)
class Equation:
    """1 where all literals of any product hold: no products is never, a product without literals is always."""

    name: str
    products: tuple[Product, ...]


@final
@dataclass(frozen=True)
class Equations:
    """`wins` names, class by class, what is 1 where the class wins; one of them is, for every input."""

    shape: tuple[int, ...]
    bits: tuple[InputBit, ...]
    equations: tuple[Equation, ...]
    wins: tuple[str, ...]

    @property
    def products(self) -> int:
        """Of all equations together."""
        return sum(len(each.products) for each in self.equations)

    def __call__(self, x: Float[Tensor, "b *any"]) -> Bool[Tensor, "b classes"]:
        """Which class wins, as the equations say. Raises DataError for inputs of another shape."""
        check_shape(x, self.shape)
        return torch.cat([self._wins(part) for part in x.flatten(1).split(AT_ONCE)])

    def _wins(self, x: Tensor) -> Tensor:
        values = dict(zip((bit.name for bit in self.bits), bit_rows(self.bits, x).astype(bool), strict=True))
        for each in self.equations:
            values[each.name] = evaluated(each, values, len(x))
        return torch.from_numpy(np.stack([values[name] for name in self.wins], 1))


def evaluated(equation: Equation, values: dict[str, np.ndarray], samples: int) -> np.ndarray:
    """The equation's value [samples], from those of the signals it reads."""
    found = np.zeros(samples, dtype=bool)
    for product in equation.products:
        holds = np.ones(samples, dtype=bool)
        for literal in product:
            holds &= values[literal.name] if literal.positive else ~values[literal.name]
        found |= holds
    return found


def table(gate: ThresholdGate) -> Bool[np.ndarray, " rows"]:
    """The gate's truth table; bit i of a row's number is `gate.inputs[i]`. Raises UnsupportedError for over `MOST_INPUTS` inputs."""
    inputs = gate.inputs
    if len(inputs) > MOST_INPUTS:
        raise UnsupportedError(f"{gate.name} has too many inputs for a truth table", found=len(inputs), allowed=f"at most {MOST_INPUTS}")
    weights = np.array([gate.plus.count(name) - gate.minus.count(name) for name in inputs], dtype=np.int64)
    return rows_of(len(inputs)) @ weights >= gate.threshold


def rows_of(inputs: int) -> np.ndarray:
    """All rows of a truth table, uint8 [2^inputs, inputs]."""
    return (np.arange(1 << inputs)[:, None] >> np.arange(inputs) & 1).astype(np.uint8)


def minimised(name: str, inputs: Sequence[str], truth: Bool[np.ndarray, " rows"]) -> Equation:
    """A least sum of products of a truth table. Raises ResourceError where pyeda is missing."""
    if not truth.any() or truth.all():
        return Equation(name, ((),) if truth.all() else ())
    cubes = {(tuple(int(v) + 1 for v in row), (1,)) for row in rows_of(len(inputs))[truth]}
    espresso, kind = _espresso()
    least = sorted(cube for cube, _ in espresso(len(inputs), 1, cubes, kind))
    products = (tuple(Literal(n, value == 2) for n, value in zip(inputs, cube, strict=True) if value != 3) for cube in least)
    return Equation(name, tuple(products))


def _espresso():
    try:
        from pyeda.boolalg.espresso import FTYPE, espresso  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ResourceError(
            "minimising Boolean equations needs the library 'pyeda'", found=str(error), todo="pip install 'spikeloom[logic]'"
        ) from error
    return espresso, FTYPE


def ladder(gate: ThresholdGate) -> tuple[Equation, ...]:
    """The gate by (1), of any number of inputs: the last equation is the gate itself."""
    literals = [*(Literal(name) for name in gate.plus), *(Literal(name, False) for name in gate.minus)]
    least, total = gate.threshold + len(gate.minus), len(literals)
    if least <= 0 or least > total:
        return (Equation(gate.name, ((),) if least <= 0 else ()),)

    def step(i: int, j: int) -> str:
        return gate.name if (i, j) == (total, least) else f"{gate.name}__{i}_{j}"

    found = list[Equation]()
    for i, literal in enumerate(literals, 1):
        for j in range(max(1, least - total + i), min(i, least) + 1):
            without = ((Literal(step(i - 1, j)),),) if j < i else ()
            with_it = (literal,) if j == 1 else (literal, Literal(step(i - 1, j - 1)))
            found.append(Equation(step(i, j), (*without, with_it)))
    return tuple(found)


def equation_of(gate: ThresholdGate) -> tuple[Equation, ...]:
    """The gate as one minimised equation where its inputs are few, else as a ladder."""
    few = len(gate.inputs) <= MOST_INPUTS
    return (minimised(gate.name, gate.inputs, table(gate)),) if few else ladder(gate)


def equations_of(given: GateList, whole: bool | None = None) -> Equations:
    """The network as equations: `whole`, each class that wins over the input bits alone (by itself, for up to `MOST_INPUTS` of them),
    or gate by gate.

    Raises UnsupportedError for too many bits or products, ResourceError where pyeda is missing.
    """
    if whole is None:
        whole = len(given.bits) <= MOST_INPUTS
    if whole:
        return _whole(given)
    pairs, wins = winning_gates(given)
    gates = (*given.gates, *pairs)
    size = sum(_products_at_most(gate) for gate in gates)
    if size > MOST_PRODUCTS:
        raise UnsupportedError(
            "the network has too many equations",
            found=f"about {size:,} products, {len(gates):,} gates",
            allowed=f"at most {MOST_PRODUCTS:,}",
        )
    named = [Equation(g.name, ((*(Literal(n) for n in g.plus), *(Literal(n, False) for n in g.minus)),)) for g in wins]
    found = [equation for gate in gates for equation in equation_of(gate)]
    return Equations(given.shape, given.bits, (*found, *named), tuple(gate.name for gate in wins))


def _products_at_most(gate: ThresholdGate) -> int:
    least, total = gate.threshold + len(gate.minus), len(gate.plus) + len(gate.minus)
    if least <= 0 or least > total:
        return 1
    return min(1 << MOST_INPUTS, 2 * least * (total - least + 1)) if len(gate.inputs) <= MOST_INPUTS else 2 * least * (total - least + 1)


def _whole(given: GateList) -> Equations:
    if len(given.bits) > MOST_INPUTS:
        raise UnsupportedError(
            "the network has too many input bits for equations over them alone",
            found=f"{len(given.bits)} bits, {len(given.gates):,} gates",
            allowed=f"at most {MOST_INPUTS} bits",
            todo="write it gate by gate",
        )
    inputs = tuple(InputBit(bit.name, place, 0.5) for place, bit in enumerate(given.bits))
    on_bits = GateList((len(inputs),), inputs, given.gates, given.classes)
    answers = on_bits(torch.from_numpy(rows_of(len(inputs))).float()).argmax(1).numpy()
    names = [bit.name for bit in given.bits]
    found = [minimised(f"{each.name}_wins", names, answers == number) for number, each in enumerate(given.classes)]
    return Equations(given.shape, given.bits, tuple(found), tuple(each.name for each in found))
