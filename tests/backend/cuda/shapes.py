"""Netlists that reach what random ones seldom do."""

import numpy as np
from tests.backend.netlists import uniform

from spikeloom.ir.hardware import Add, Affine, Convolution, Membrane, Netlist, Pool, Population, Requantise, Route, Source, Wire, netlist_of


def netlist(wire: Wire, operations: list, timesteps: int = 1) -> Netlist:
    return netlist_of(Source("x", 1.0), wire, operations, operations[-1].name, timesteps=timesteps)


def tokens(rng: np.random.Generator) -> Netlist:
    """Affine layers on the last of two axes (of fours and not), parameters along it, a route that swaps axes."""
    swap = np.arange(5 * 8).reshape(5, 8).T.reshape(-1)
    return netlist(
        Wire((5, 8), -100, 100, True),
        [
            Affine("a", ("x",), rng.integers(-9, 10, (8, 8)), rng.integers(-99, 99, 8)),
            uniform("p", "a", rng.integers(20, 300, 8), 7, axis=1, leak=rng.integers(0, 9, 8)),
            Route("r", ("p",), (8, 5), swap),
            Affine("b", ("r",), rng.integers(-9, 10, (3, 5))),
            uniform("q", "b", rng.integers(5, 30, 8), 3, axis=0),
            Affine("c", ("q",), rng.integers(-9, 10, (2, 3))),
        ],
        timesteps=3,
    )


def renamed(rng: np.random.Generator) -> Netlist:
    """A picture flattened without moving: neurons with a threshold a place, a sum with numbers that lie otherwise and that waits until
    another layer is done, two operands in one."""
    return netlist(
        Wire((3, 4, 5), 0, 255, True),
        [
            Convolution("c", ("x",), rng.integers(-128, 128, (3, 3, 3, 3)), None, (1, 1), (2, 1), (2, 1)),
            Route("f", ("c",), (60,)),
            uniform("p", "f", rng.integers(100, 9000, 60), 12, negative=3, initial=rng.integers(-9, 99, 60)),
            Affine("a", ("p",), rng.integers(-128, 128, (60, 60))),
            Add("s", ("a", "p"), (np.array([3]), rng.integers(-40, 40, 60)), rng.integers(-9, 9, 60)),
            Affine("z", ("p",), rng.integers(-128, 128, (60, 60))),
            uniform("q", "s", rng.integers(100, 900, 60), 2, negative=2, reset="zero"),
            Add("u", ("q", "p"), (np.array([1]), np.array([1]))),
            Route("g", ("u", "z"), (90,), rng.permutation(120)[:90] - 1),
            Route("h", ("g",), (6, 5, 3)),
            uniform("w", "h", rng.integers(1, 9, 3), 2, axis=2),
            Pool("m", ("w",), "max", (3, 2), (2, 1), (1, 1)),
            Pool("n", ("m",), "sum", (2, 3), (1, 2), (1, 1)),
        ],
        timesteps=3,
    )


def ternary(rng: np.random.Generator, timesteps: int) -> Netlist:
    """Spikes and weights of -1, 0, +1: a picture of more than 32 channels, strides and dilations, then layers in a line."""
    return netlist(
        Wire((40, 7, 6), 0, 1, True),
        [
            Convolution("c", ("x",), rng.integers(-1, 2, (67, 40, 3, 3)), rng.integers(-9, 9, 67), (2, 1), (1, 2), (1, 2)),
            uniform("p", "c", rng.integers(3, 9, 67), 1),
            Route("f", ("p",), (67 * 4 * 6,)),
            Affine("a", ("f",), rng.integers(-1, 2, (130, 67 * 4 * 6))),
            uniform("q", "a", 5, 1, decay=np.array([230]), decay_shift=8),
            Affine("b", ("q",), rng.integers(-1, 2, (10, 130)), rng.integers(-9, 9, 10)),
        ],
        timesteps,
    )


def wide(rng: np.random.Generator) -> Netlist:
    """Weights of 16 bits, numbers of 31, products of 64 on the way, many levels, thresholds no h reaches, heights in no order."""
    steps = np.sort(rng.integers(-(1 << 40), 1 << 40, (9, 20)), 1)
    steps[:, 4:16] = np.sort(rng.integers(-(1 << 29), 1 << 29, (9, 12)), 1)
    taken = rng.integers(-(1 << 28), 1 << 28, (9, 21))
    initial, decay = rng.integers(-(1 << 20), 1 << 20, 9), rng.integers(0, 1 << 20, 9)
    membrane = Membrane(initial, taken, decay, 20, rng.integers(-99, 99, 9))
    return netlist(
        Wire((12,), -128, 127, True),
        [
            Affine("a", ("x",), rng.integers(-(1 << 15), 1 << 15, (9, 12))),
            Requantise("r", ("a",), rng.integers(1 << 10, 1 << 20, 9), 12, -(1 << 29), 1 << 29),
            Population("p", ("r",), np.sort(steps, 1), rng.integers(-300, 300, (1, 21)), 0, membrane),
            Requantise("t", ("p",), np.array([-7]), 3, -500, 90),
            Add("s", ("t", "p"), (rng.integers(-(1 << 20), 1 << 20, 9), np.array([1 << 18]))),
            Requantise("u", ("s",), np.array([1]), 20, -128, 127),
            Affine("b", ("u",), rng.integers(-(1 << 20), 1 << 20, (3, 9)), rng.integers(-(1 << 20), 1 << 20, 3)),
        ],
        timesteps=2,
    )


def picture(rng: np.random.Generator, timesteps: int) -> Netlist:
    """As LeNet is: 70 channels, so that blocks have neighbours, and an output that is a picture."""
    return netlist(
        Wire((1, 12, 12), 0, 255),
        [
            Convolution("c", ("x",), rng.integers(-128, 128, (6, 1, 5, 5)), rng.integers(-999, 999, 6)),
            uniform("p", "c", rng.integers(900, 9000, 6), 15),
            Pool("m", ("p",), "max", (2, 2), (2, 2)),
            Convolution("d", ("m",), rng.integers(-128, 128, (70, 6, 3, 3)), None, (1, 1), (1, 1)),
            uniform("q", "d", rng.integers(900, 9000, 70), 15),
            Convolution("e", ("q",), rng.integers(-128, 128, (70, 1, 3, 3)), None, (1, 1), (1, 1), (1, 1), 70),
            Pool("n", ("e",), "sum", (2, 2), (2, 2)),
        ],
        timesteps,
    )
