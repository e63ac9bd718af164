"""
A NIR graph that another tool wrote, as a netlist: by NIR's own law, v > v_threshold and hard reset.

Every wire gets a unit, the number that its whole number 1 stands for: the input's is 1, that of a layer the input's times the grid of its
weights. A grid is found, not chosen: the largest power of two of which all weights are whole multiples (exact); where that needs more than
`GRID_BITS` bits, weights are refused, or rounded to `weight_bits` bits where the caller asks for it. Operands that meet are brought to the
smaller unit by whole gains. A neuron fires at v > θ, so at the whole number above: h ≥ ⌊θ/unit⌋ + 1.

What is not exact is in the netlist's settings: weights that were rounded, and LIF neurons, whose membrane is rounded down at each tick.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.backend.nir.executor import ordered
from spikeloom.errors import UnsupportedError
from spikeloom.ir.hardware import Add, Affine, Convolution, Membrane, Netlist, Operation, Pool, Population, Route, Source, Wire, netlist_of

GRID_BITS = 16
DECAY_SHIFT = 15
LIF_BITS = 6
"""A membrane that decays is kept this many bits finer than its current."""


def foreign(graph: Any, *, input_range: tuple[int, int], timesteps: int, dt: float | None, weight_bits: int | None) -> Netlist:
    """The netlist of a graph without our metadata. Raises UnsupportedError naming the node that has no place in it."""
    return _Reader(graph, dt, weight_bits).netlist(input_range, timesteps)


def grid(values: Float[ndarray, "..."]) -> int:
    """The exponent e of the largest power of two 2^e of which all numbers are whole multiples; 0 where all are 0."""
    kept = np.unique(np.abs(values[values != 0]))
    if not kept.size:
        return 0
    fraction, exponent = np.frexp(kept)
    whole = (fraction * 2.0**53).astype(np.int64)  # kept = whole · 2^(exponent - 53)
    zeros = np.array([int(number & -number).bit_length() - 1 for number in whole])
    return int((exponent - 53 + zeros).min())


@final
@dataclass(frozen=True)
class _Known:
    """A wire's name, its unit and its shape."""

    name: str
    unit: float
    shape: tuple[int, ...]


@final
class _Reader:
    def __init__(self, graph: Any, dt: float | None, weight_bits: int | None) -> None:
        self.graph, self.weight_bits = graph, weight_bits
        self.dt = self._tick() if dt is None else dt
        self.operations, self.known = list[Operation](), dict[str, _Known]()
        self.rounded = list[str]()

    def netlist(self, input_range: tuple[int, int], timesteps: int) -> Netlist:
        order, before = ordered(self.graph)
        ends = {kind: [name for name in order if type(self.graph.nodes[name]).__name__ == kind] for kind in ("Input", "Output")}
        for kind, names in ends.items():
            if len(names) != 1:
                raise UnsupportedError(f"a NIR graph needs one {kind} node", found=names or "none")
        (first,), (last,) = ends["Input"], ends["Output"]
        shape = tuple(int(side) for side in self.graph.nodes[first].input_type["input"])
        self.known[first] = _Known(first, 1.0, shape)
        for name in (name for name in order if name != first):
            if not before[name]:
                raise UnsupportedError("a NIR node reads nothing", found=name)
            read = self._met(name, [self.known[start] for start in before[name]])
            self.known[name] = read if name == last else self._value(name, self.graph.nodes[name], read)
        answer = self.known[last]
        settings = {"read_from": "nir", "dt": self.dt, "exact": not self.rounded, "rounded": self.rounded}
        wire = Wire(shape, *input_range, True)
        return netlist_of(Source(first, 1.0), wire, self.operations, answer.name, unit=answer.unit, timesteps=timesteps, settings=settings)

    def _tick(self) -> float:
        resistances = [node.r for node in self.graph.nodes.values() if type(node).__name__ == "IF"]
        values = np.unique(np.concatenate([np.ravel(part) for part in resistances])) if resistances else np.ones(1)
        if len(values) != 1 or values[0] <= 0:
            raise UnsupportedError("r of the IF neurons does not tell a tick's length", found=values[:4], todo="give dt")
        return 1.0 / float(values[0])

    def _put(self, operation: Operation, unit: float, shape: tuple[int, ...]) -> _Known:
        self.operations.append(operation)
        return _Known(operation.name, unit, shape)

    def _met(self, name: str, reads: list[_Known]) -> _Known:
        """What a node reads: one wire, or the sum of several in the smallest unit."""
        if len(reads) == 1:
            return reads[0]
        unit = min(read.unit for read in reads)
        gains = [read.unit / unit for read in reads]
        if not all(gain.is_integer() for gain in gains):
            raise UnsupportedError("the operands of a sum lie on grids of which none divides the others", found=f"{name}: {gains}")
        whole = tuple(np.array([int(gain)]) for gain in gains)
        return self._put(Add(f"{name}_sum", tuple(read.name for read in reads), whole), unit, reads[0].shape)

    def _value(self, name: str, node: Any, read: _Known) -> _Known:
        match type(node).__name__:
            case "Affine" | "Linear":
                return self._weighted(name, node, read)
            case "Conv2d":
                return self._weighted(name, node, read)
            case "Scale":
                return self._scaled(name, node, read)
            case "SumPool2d":
                kernel, stride, padding = (_pair(part) for part in (node.kernel_size, node.stride, node.padding))
                shape = (read.shape[0], *_after(read.shape[1:], kernel, stride, padding, (1, 1)))
                return self._put(Pool(name, (read.name,), "sum", kernel, stride, padding), read.unit, shape)
            case "Flatten":
                size = int(np.prod(read.shape))
                return self._put(Route(name, (read.name,), (size,)), read.unit, (size,))
            case "IF" | "LIF":
                return self._fired(name, node, read)
            case other:
                allowed = "Affine, Linear, Conv2d, Scale, SumPool2d, Flatten, IF, LIF"
                raise UnsupportedError("a NIR node has no place in whole numbers", found=f"{name}: {other}", allowed=allowed)

    def _gridded(self, name: str, values: Float[ndarray, "..."]) -> tuple[Int[ndarray, "..."], float]:
        """Weights as whole numbers, and the step they are multiples of."""
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            raise UnsupportedError("weights that are no numbers", found=name)
        step = 2.0 ** grid(values)
        most = float(np.abs(values).max(initial=0)) / step
        if most < 1 << (GRID_BITS - 1):
            return np.rint(values / step).astype(np.int64), step
        if self.weight_bits is None:
            raise UnsupportedError(
                "weights lie on no grid of whole numbers",
                found=f"{name}: multiples of {step:.3g} up to {most:.3g} times",
                allowed=f"up to {(1 << (GRID_BITS - 1)) - 1} times",
                todo="give weight_bits, to round them",
            )
        self.rounded.append(name)
        step = 2.0 ** np.ceil(np.log2(np.abs(values).max() / ((1 << (self.weight_bits - 1)) - 1)))
        return np.rint(values / step).astype(np.int64), float(step)

    def _weighted(self, name: str, node: Any, read: _Known) -> _Known:
        weight, step = self._gridded(name, node.weight)
        unit, bias = read.unit * step, getattr(node, "bias", None)
        if bias is not None:
            bias, finer = np.asarray(bias, np.float64), 2.0 ** min(grid(np.asarray(bias, np.float64)) - np.log2(unit), 0)
            if finer < 1 and self.weight_bits is None and np.abs(weight).max(initial=0) / finer < 1 << (GRID_BITS - 1):
                weight, unit = np.rint(weight / finer).astype(np.int64), unit * finer
            if (np.rint(bias / unit) != bias / unit).any():
                if self.weight_bits is None:
                    raise UnsupportedError(
                        "a bias lies on no grid of whole numbers", found=name, allowed=f"multiples of {unit:.3g}", todo="give weight_bits"
                    )
                self.rounded.append(name)
            bias = np.rint(bias / unit).astype(np.int64)
            bias = bias if bias.any() else None
        if weight.ndim == 2:
            return self._put(Affine(name, (read.name,), weight, bias), unit, (len(weight),))
        if isinstance(node.padding, str):
            raise UnsupportedError("padding by a word", found=f"{name}: {node.padding}", allowed="two numbers")
        stride, padding, dilation = (_pair(part) for part in (node.stride, node.padding, node.dilation))
        made = Convolution(name, (read.name,), weight, bias, stride, padding, dilation, int(node.groups))
        return self._put(made, unit, (len(weight), *_after(read.shape[1:], weight.shape[2:], stride, padding, dilation)))

    def _scaled(self, name: str, node: Any, read: _Known) -> _Known:
        gains, step = self._gridded(name, np.broadcast_to(node.scale, read.shape))
        by_channel = gains.reshape(read.shape[0], -1)
        if (by_channel != by_channel[:, :1]).any():
            raise UnsupportedError("a scale that is not one number for each channel", found=name)
        return self._put(Add(name, (read.name,), (by_channel[:, 0],)), read.unit * step, read.shape)

    def _fired(self, name: str, node: Any, read: _Known) -> _Known:
        """Hard reset to 0; one row of parameters for each place of the first axis."""
        rows = {
            key: self._by_channel(name, key, getattr(node, key), read.shape)
            for key in ("r", "tau", "v_leak", "v_reset", "v_threshold")
            if hasattr(node, key)
        }
        if rows["v_reset"].any() or rows.get("v_leak", np.zeros(1)).any():
            raise UnsupportedError("neurons that do not rest at 0", found=f"{name}: v_reset or v_leak", allowed="0")
        leaky = "tau" in rows
        gain = self.dt * rows["r"] / (rows["tau"] if leaky else 1.0)
        if (gain <= 0).any():
            raise UnsupportedError("neurons whose gain is not above 0", found=f"{name}: r·dt = {gain.min()}")
        read, told = (self._finer(name, read), self._decay(rows["tau"])) if leaky else (read, {})
        fires = np.floor(rows["v_threshold"] / (gain * read.unit)).astype(np.int64) + 1
        if (fires < 1).any():
            raise UnsupportedError(
                "neurons that fire at rest", found=f"{name}: v_threshold {rows['v_threshold'].min()}", allowed="0 or above"
            )
        self.rounded += [name] if leaky else []
        none = np.zeros(1, np.int64)
        membrane = Membrane(none, np.stack([0 * fires, fires], 1), reset="zero", **told)
        made = Population(name, (read.name,), fires[:, None], np.array([[0, 1]]), 0, membrane)
        return self._put(made, 1.0, read.shape)

    def _finer(self, name: str, read: _Known) -> _Known:
        return self._put(Add(f"{name}_finer", (read.name,), (np.array([1 << LIF_BITS]),)), read.unit / (1 << LIF_BITS), read.shape)

    def _decay(self, tau: Float[ndarray, " c"]) -> dict[str, Any]:
        kept = np.rint((1 - self.dt / tau) * (1 << DECAY_SHIFT)).astype(np.int64)
        if (kept < 0).any():
            raise UnsupportedError(
                "a time constant below one tick", found=f"τ = {tau.min()}", allowed=f"dt = {self.dt} or above", todo="give dt"
            )
        return {"decay": kept, "decay_shift": DECAY_SHIFT}

    def _by_channel(self, name: str, key: str, values: Any, shape: tuple[int, ...]) -> Float[ndarray, " c"]:
        laid = np.broadcast_to(np.asarray(values, np.float64), shape).reshape(shape[0], -1)
        if (laid != laid[:, :1]).any():
            raise UnsupportedError(f"{key} differs within a channel", found=name, allowed="one number for each place of the first axis")
        return laid[:1, 0] if (laid == laid[0, 0]).all() else laid[:, 0]


def _pair(values: Any) -> tuple[int, int]:
    first, second = (int(value) for value in np.broadcast_to(values, 2))
    return first, second


def _after(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    told = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in told)
