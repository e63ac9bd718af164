"""Networks of binary neurons with small weights: what TrueNorth takes."""

from collections.abc import Sequence

import numpy as np
from tests.backend.netlists import uniform

from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Route, Source, Wire, netlist_of


def gated(seed: int, widths: tuple[int, ...], weight: int = 1, *, skip: bool = False, zeros: float = 0.3) -> Netlist:
    """Fully connected memoryless gates, T = 1; with `skip` the last layer reads the first one's gates and the input too."""
    rng = np.random.default_rng(seed)
    operations, last, size = list[Operation](), "x", widths[0]
    for depth, width in enumerate(widths[1:]):
        matrix = rng.integers(-weight, weight + 1, (width, size)) * (rng.random((width, size)) > zeros)
        operations.append(Affine(f"a{depth}", (last,), matrix, rng.integers(-3, 4, width)))
        spread = max(int(weight * size**0.5), 1)
        theta = rng.integers(-spread, spread + 1, (width, 1))
        if skip and depth == len(widths) - 2:
            old = Affine("old", ("g0",), rng.integers(-1, 2, (width, widths[1])))
            new = Affine("new", ("x",), rng.integers(-1, 2, (width, widths[0])))
            operations += [old, new, Add("sum", (f"a{depth}", "old", "new"), (np.array([1]),) * 3)]
        reads = "sum" if skip and depth == len(widths) - 2 else f"a{depth}"
        operations.append(Population(f"g{depth}", (reads,), theta, np.array([[0, 1]])))
        last, size = f"g{depth}", width
    operations.append(Affine("head", (last,), rng.integers(-9, 10, (5, size)), rng.integers(-9, 10, 5)))
    return netlist_of(Source("x", 1.0), Wire((widths[0],), 0, 1, True), operations, "head")


def pictures(seed: int) -> Netlist:
    """A convolution, a pool of its gates, and a layer behind; T = 1."""
    rng = np.random.default_rng(seed)
    operations = [
        Convolution("c", ("x",), rng.integers(-1, 2, (6, 2, 3, 3)), None, (1, 1), (1, 1)),
        Population("g", ("c",), rng.integers(-2, 3, (6, 1)), np.array([[0, 1]])),
        Pool("m", ("g",), ("sum", "max")[seed % 2], (2, 2), (2, 2)),
        Convolution("d", ("m",), rng.integers(-1, 2, (4, 3, 2, 2)), rng.integers(-2, 3, 4), groups=2),
        Population("h", ("d",), rng.integers(-2, 3, (4, 1)), np.array([[0, 1]])),
        Route("f", ("h",), (36,)),
        Affine("head", ("f",), rng.integers(-2, 3, (3, 36))),
    ]
    return netlist_of(Source("x", 1.0), Wire((2, 8, 8), 0, 1, True), operations, "head")


def integrators(
    seed: int, timesteps: int, weight: int = 3, *, resets: Sequence[str] = ("subtract", "zero"), inhibition: int = 0
) -> Netlist:
    """Layers of neurons with membranes, reset by subtraction or to zero, with leaks and starts; `inhibition` is added to their leaks."""
    rng = np.random.default_rng(seed)
    operations = list[Operation]()
    last, size = "x", 9
    for depth, reset in enumerate(resets):
        operations.append(Affine(f"a{depth}", (last,), rng.integers(-weight, weight + 1, (12, size)), rng.integers(-1, 2, 12)))
        theta, leak = rng.integers(6, 12, 12), rng.integers(-1, 2, 12) + inhibition
        operations.append(uniform(f"p{depth}", f"a{depth}", theta, 1, initial=theta // 3, reset=reset, leak=leak))
        last, size = f"p{depth}", 12
    return netlist_of(Source("x", 1.0), Wire((9,), 0, 1, True), operations, last, timesteps=timesteps)
