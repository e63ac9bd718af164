"""Chains of binary LIF neurons with hard reset: what lava-dl's netx layout holds."""

import numpy as np
from tests.backend.netlists import uniform

from spikeloom.ir.hardware import Affine, Convolution, Netlist, Operation, Pool, Population, Route, Source, Wire, netlist_of


def chain(seed: int, timesteps: int, *, image: bool = False, graded: bool = False, pool: bool = False) -> Netlist:
    """A random chain; at T = 1 thresholds differ from channel to channel, and half of the populations have no membrane."""
    rng = np.random.default_rng(seed)
    shape = (2, 6, 4) if image else (7,)
    operations, last = list[Operation](), "x"
    if image:
        weight, bias = rng.integers(-128, 128, (3, 2, 3, 2)), rng.integers(-90, 90, 3)
        if timesteps == 1:  # an image of gates on the input itself
            operations.append(Population("e", (last,), np.array([[1]]), np.array([[0, 1]])))
            last = "e"
        operations.append(Convolution("c", (last,), weight, bias, (1, 1), (1, 0)))
        operations.append(_neurons(rng, "p", "c", 3, timesteps))
        last, shape = "p", (3, 6, 3)
        if pool:
            operations.append(Pool("s", (last,), "sum", (2, 1), (2, 1)))
            last, shape = "s", (3, 3, 3)
        size = int(np.prod(shape))
        operations.append(Route("f", (last,), (size,)))
        last, shape = "f", (size,)
    for depth in range(2):
        out = int(rng.integers(3, 9))
        operations.append(Affine(f"a{depth}", (last,), rng.integers(-128, 128, (out, shape[0])), rng.integers(-90, 90, out)))
        operations.append(_neurons(rng, f"q{depth}", f"a{depth}", out, timesteps))
        last, shape = f"q{depth}", (out,)
    operations.append(Affine("head", (last,), rng.integers(-127, 128, (4, shape[0])), rng.integers(-9, 9, 4)))
    inputs = Wire((2, 6, 4) if image else (7,), 0, 15 if graded else 1, True)
    return netlist_of(Source("x", 1.0), inputs, operations, "head", timesteps=timesteps)


def _neurons(rng: np.random.Generator, name: str, reads: str, channels: int, timesteps: int) -> Population:
    if timesteps == 1 and rng.random() < 0.5:
        return Population(name, (reads,), rng.integers(-200, 300, (channels, 1)), np.array([[0, 1]]))
    theta = rng.integers(50, 300, channels if timesteps == 1 else 1)
    leak = {"leak": rng.integers(-5, 20, channels)} if rng.random() < 0.5 else {}
    start = None if timesteps == 1 else 0
    return uniform(name, reads, theta, 1, initial=start, reset="subtract" if timesteps == 1 else "zero", **leak)
