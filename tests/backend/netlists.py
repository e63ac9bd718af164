"""Random small netlists, and some that are larger, for every target's tests."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from spikeloom.backend import Golden
from spikeloom.ir.hardware import (
    Add,
    Affine,
    Convolution,
    Membrane,
    Netlist,
    Operation,
    Pool,
    Population,
    Requantise,
    Route,
    Source,
    Wire,
    netlist_of,
)
from spikeloom.simulate.integers import run_integers

EVERYTHING = frozenset({"convolution", "sum", "max", "add", "route", "requantise", "table", "zero", "decay", "leak", "residual", "levels"})
"""What `draw_netlist` can be told to use; without "levels" populations are binary."""


def uniform(
    name: str, reads: str, theta: Any, levels: int, *, negative: int = 0, initial: Any = None, axis: int = 0, **membrane: Any
) -> Population:
    """An identity staircase of `levels` levels of θ [C], with a membrane."""
    quantum = np.atleast_1d(np.asarray(theta, np.int64))
    steps = np.arange(-negative, levels + 1)
    start = quantum // 2 if initial is None else np.atleast_1d(np.asarray(initial, np.int64))
    return Population(
        name,
        (reads,),
        quantum[:, None] * steps[None, 1:],
        steps[None],
        axis,
        Membrane(start, quantum[:, None] * steps[None], **membrane),
    )


def table(rng: np.random.Generator, name: str, reads: str, channels: int, levels: int, spread: int, binary: bool = False) -> Population:
    """Neurons without a membrane: ascending thresholds and any heights."""
    thresholds = np.sort(rng.integers(-spread, spread + 1, (channels, levels)), 1)
    heights = np.array([[0, 1]]) if binary else rng.integers(-9, 10, (channels, levels + 1))
    return Population(name, (reads,), thresholds, heights)


def made(seed: int, using: frozenset[str] = EVERYTHING, timesteps: int = 1, depth: int = 3) -> Netlist:
    """A random netlist of the parts named in `using`."""
    rng = np.random.default_rng(seed)
    image = bool({"convolution", "sum", "max"} & using)
    shape = (int(rng.integers(1, 4)), int(rng.integers(4, 8)), int(rng.integers(4, 8))) if image else (int(rng.integers(1, 20)),)
    low, high = (0, 1) if "levels" not in using else [(0, 1), (0, 15), (-8, 7), (0, 255)][rng.integers(4)]
    builder = _Builder(rng, using, timesteps, shape)
    for _ in range(depth):
        builder.block()
    builder.head()
    return netlist_of(Source("x", 1.0), Wire(shape, low, high, True), builder.operations, builder.last, unit=0.5, timesteps=timesteps)


Recipe = Callable[[], Netlist]


def recipes(using: frozenset[str] = EVERYTHING, timesteps: tuple[int, ...] = (1, 2, 4)) -> st.SearchStrategy[Recipe]:
    """How to make random netlists: call what is drawn."""
    seeds, depths = st.integers(0, 10**6), st.integers(1, 3)
    return st.builds(partial, st.just(made), seeds, st.just(using), st.sampled_from(timesteps), depths)


def golden(netlist: Netlist, samples: int = 3, seed: int = 0, *, streamed: bool = False) -> Golden:
    """Random inputs over the whole range (the first all low, the second all high), and what the reference makes of them."""
    rng, wire = np.random.default_rng(seed), netlist.wires[netlist.source.name]
    front = (netlist.timesteps, samples) if streamed else (samples,)
    inputs = rng.integers(wire.low, wire.high + 1, (*front, *wire.shape))
    for place, end in enumerate((wire.low, wire.high)[: samples - 1]):
        inputs[(slice(None), place) if streamed else place] = end
    return Golden(inputs, run_integers(netlist, inputs))


class _Builder:
    def __init__(self, rng: np.random.Generator, using: frozenset[str], timesteps: int, shape: tuple[int, ...]) -> None:
        self.rng, self.using, self.timesteps = rng, using, timesteps
        self.operations: list[Operation] = []
        self.last, self.shape, self.spikes = "x", shape, [("x", shape)]

    def put(self, operation: Operation, shape: tuple[int, ...]) -> None:
        self.operations.append(operation)
        self.last, self.shape = operation.name, shape

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.operations)}"

    def chance(self, part: str, share: float = 0.5) -> bool:
        return part in self.using and self.rng.random() < share

    def block(self) -> None:
        """Weights, perhaps a sum with an earlier layer, neurons, perhaps a pool or a route."""
        self.weights()
        if self.chance("requantise", 0.3):
            m = self.rng.integers(1, 9, self.shape[0] if self.rng.random() < 0.5 else 1)
            self.put(Requantise(self.name("q"), (self.last,), m, int(self.rng.integers(0, 5)), -2000, 2000), self.shape)
        earlier = [name for name, shape in self.spikes if shape == self.shape]
        if earlier and self.chance("residual", 0.7):
            gains = tuple(self.rng.integers(1, 20, (self.shape[0],)) for _ in range(2))
            self.put(Add(self.name("s"), (self.last, earlier[-1]), gains, self.rng.integers(-9, 10, self.shape[0])), self.shape)
        self.neurons()
        self.moved()
        self.spikes.append((self.last, self.shape))

    def weights(self) -> None:
        rng, big = self.rng, 2 if self.rng.random() < 0.3 else 128
        if len(self.shape) == 3 and "convolution" in self.using and rng.random() < 0.8:
            channels, size = self.shape[0], self.shape[1:]
            groups = channels if rng.random() < 0.3 else 1
            out = channels * int(rng.integers(1, 3)) if groups > 1 else int(rng.integers(1, 5))
            kernel = tuple(int(rng.integers(1, min(side, 3) + 1)) for side in size)
            padding = tuple(int(rng.integers(0, 2)) if side > 1 else 0 for side in kernel)
            stride = tuple(int(rng.integers(1, 3)) for _ in size)
            weight = rng.integers(1 - big, big, (out, channels // groups, *kernel))
            bias = rng.integers(-300, 300, out) if rng.random() < 0.5 else None
            after = tuple((side + 2 * p - k) // s + 1 for side, p, k, s in zip(size, padding, kernel, stride, strict=True))
            self.put(
                Convolution(self.name("c"), (self.last,), weight, bias, stride, padding, (1, 1), groups),  # pyright: ignore[reportArgumentType]
                (out, *after),
            )
            return
        self.flatten()
        out = int(rng.integers(1, 12))
        bias = rng.integers(-300, 300, out) if rng.random() < 0.5 else None
        self.put(Affine(self.name("a"), (self.last,), rng.integers(1 - big, big, (out, self.shape[0])), bias), (out,))

    def flatten(self) -> None:
        if len(self.shape) > 1:
            size = int(np.prod(self.shape))
            self.put(Route(self.name("f"), (self.last,), (size,)), (size,))

    def neurons(self) -> None:
        rng, channels = self.rng, self.shape[0] if self.rng.random() < 0.5 else 1
        binary = "levels" not in self.using
        levels = 1 if binary else int(rng.integers(1, 8))
        if self.timesteps == 1 and self.chance("table"):
            self.put(table(rng, self.name("t"), self.last, channels, levels, 300, binary), self.shape)
            return
        told: dict[str, Any] = {"reset": "zero" if self.chance("zero", 0.3) else "subtract"}
        if self.chance("decay", 0.4):
            told |= {"decay": rng.integers(1, 257, channels), "decay_shift": 8}
        if self.chance("leak", 0.3):
            told["leak"] = rng.integers(-5, 20, channels)
        negative = 0 if binary else int(rng.integers(0, 3)) * int(rng.random() < 0.4)
        theta = rng.integers(1, 400, channels)
        self.put(uniform(self.name("p"), self.last, theta, levels, negative=negative, **told), self.shape)

    def moved(self) -> None:
        rng = self.rng
        if len(self.shape) == 3 and min(self.shape[1:]) >= 2 and (self.chance("sum", 0.3) or self.chance("max", 0.3)):
            what = "max" if "max" in self.using and ("sum" not in self.using or rng.random() < 0.5) else "sum"
            after = (self.shape[0], self.shape[1] // 2, self.shape[2] // 2)
            self.put(Pool(self.name("m"), (self.last,), what, (2, 2), (2, 2)), after)
        if self.chance("route", 0.3):
            size = int(np.prod(self.shape))
            index = rng.permutation(size)
            index[rng.random(size) < 0.1] = -1
            self.put(Route(self.name("r"), (self.last,), self.shape, index.astype(np.int64)), self.shape)

    def head(self) -> None:
        self.flatten()
        self.put(Affine(self.name("a"), (self.last,), self.rng.integers(-127, 128, (5, self.shape[0])), self.rng.integers(-9, 9, 5)), (5,))
