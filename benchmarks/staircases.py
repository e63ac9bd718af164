"""
Function staircases: how near N levels come to a function of its usual input, beside the optimum and beside equally spaced thresholds.

    python benchmarks/staircases.py

The error is √(E[(f(h) - s(h))²] / Var f(h)), %: 0 for the function itself, 100 for a constant. The input's histogram has 8,192 bins. The
optimum is over staircases of as many values whose thresholds lie on every fourth of their edges, found by dynamic programming (so that it
may lie a little above what is found between them); it is looked for up to 63 levels. Reused: a value may serve several stretches of h.
Shifts: heights 0 and ±2^k alone. Needs no data; a minute.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import Row, write
from spikeloom.neuron import FUNCTIONS, Histogram, Staircase, fit_shift_staircase, fit_staircase, least_staircase_error, staircase_error

BINS, COARSE = 8192, 4
LEVELS = (7, 15, 31, 63, 255, 1023)
MOST = 63
"""Levels up to which the optimum is looked for."""
COMMAND = "python benchmarks/staircases.py"
Function = Callable[[Tensor], Tensor]


def bell(h: Tensor) -> Tensor:
    """The density of a normal distribution, up to a factor."""
    return (-h.square() / 2).exp()


NORMAL = ("normal", torch.linspace(-6, 6, BINS + 1, dtype=torch.float64), bell)
BEFORE_EXP = ("minus exponential, mean 3", torch.linspace(-24, 0, BINS + 1, dtype=torch.float64), lambda h: (h / 3).exp())
SUMS = ("log-normal, 1 to 64", torch.logspace(0, 6, BINS + 1, base=2, dtype=torch.float64), lambda h: bell((h.log2() - 3) / 1.2) / h)
SQUARES = ("log-normal, 1/16 to 16", torch.logspace(-4, 4, BINS + 1, base=2, dtype=torch.float64), lambda h: bell(h.log2() / 1.2) / h)
INPUTS: dict[str, tuple[str, Tensor, Function]] = {
    "gelu": NORMAL,
    "silu": NORMAL,
    "tanh": NORMAL,
    "sigmoid": NORMAL,
    "square": NORMAL,
    "exp": BEFORE_EXP,
    "reciprocal": SUMS,
    "rsqrt": SQUARES,
}
"""What each function usually reads: pre-activations, scores less their row's largest, sums of exponentials, mean squares."""


def histogram(edges: Tensor, density: Function) -> Histogram:
    """The density as masses of bins, which are its integral by the midpoint rule."""
    return edges, density((edges[1:] + edges[:-1]) / 2) * edges.diff()


def constant(f: Function, inputs: Histogram) -> float:
    """The variance of f: the error of its mean."""
    edges, _ = inputs
    one = (edges[-1:] + 1, torch.zeros(2, dtype=torch.float64))
    square = staircase_error(f, inputs, one)
    mean = staircase_error(lambda h: f(h) + 1, inputs, one) - square - 1
    return square - (mean / 2) ** 2


def rows(name: str) -> list[Row]:
    """The rows of one function."""
    kind, edges, density = INPUTS[name]
    f, inputs = FUNCTIONS[name], histogram(edges, density)
    whole = constant(f, inputs)

    def relative(error: float) -> float:
        return round(100 * math.sqrt(max(0.0, error) / whole), 4)

    made = list[Row]()
    for levels in LEVELS:
        ways: dict[str, Callable[..., Staircase]] = {
            "placed": fit_staircase,
            "reused": partial(fit_staircase, reuse=True),
            "equal steps": partial(fit_staircase, method="uniform"),
            "shifts": fit_shift_staircase,
        }
        found = {way: relative(staircase_error(f, inputs, fit(f, inputs, levels))) for way, fit in ways.items()}
        best = relative(least_staircase_error(f, inputs, levels + 1, COARSE)) if levels <= MOST else None
        beside = {"optimum": best} | {way: error for way, error in found.items() if way != "placed"} | {"input": kind}
        made.append(Row(f"{name} N={levels}: error", found["placed"], "%", COMMAND, beside))
    return made


def worst(made: list[Row]) -> Row:
    """How far above the optimum the worst of them lies."""
    ratios = {row.name.split(":")[0]: float(row.value) / row.control["optimum"] for row in made if row.control["optimum"]}
    name = max(ratios, key=lambda name: ratios[name])
    above = round(100 * (ratios[name] - 1), 3)
    beside = {"at": name, "functions": len(INPUTS), "levels": f"7 to {MOST}"}
    title = "function staircases: error above the optimum, the worst of them"
    return Row(title, above, "%", COMMAND, beside, target="at most 1", holds=above <= 1)


def main() -> None:
    """Measure every function and write benchmarks/results/staircases.json."""
    made = [row for name in INPUTS for row in rows(name)]
    made.append(worst(made))
    for row in made:
        sys.stdout.write(f"{row.name}: {row.value} {row.control}\n")
    write("staircases", made)


if __name__ == "__main__":
    main()
