"""
A device: what a chip makes of a network, drawn at random as chips are, and put into the program as a simulation.

    threshold of bits b     θ ← u·⌊θ/u⌉, u the largest threshold of the population over 2^b − 1               (1)
    leak of bits b          a ← 1 − ⌊(1 − a)·2^b⌉/2^b;    forced: a is the chip's own, whatever the network's  (2)
    mismatch σ_θ            neuron n fires at θ·(1 + σ_θ ξ_n): its current meets the gain 1/(1 + σ_θ ξ_n)      (3)
    mismatch σ_τ            its time constant is τ·(1 + σ_τ ξ'_n): a_n = a^(1/(1 + σ_τ ξ'_n))                  (4)
    dead neurons            a share of them receives nothing: gain 0                                           (5)

ξ are normal, cut at ±3, and 1 + σξ at a tenth. (3) is exact: with reset by subtraction of what was crossed, a neuron of another
threshold is one of the same threshold whose current is scaled; what it sends stays a spike of the network's height.

Sources: mismatch of 20 % in subthreshold circuits: Indiveri et al. 2011, doi:10.3389/fnins.2011.00073; training with it in the loop:
Cramer et al. 2022, doi:10.1073/pnas.2109194119.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.errors import ConfigError, UnsupportedError
from spikeloom.ir import (
    OPERATIONS,
    Context,
    Dialect,
    Pass,
    Program,
    args_of,
    calls,
    clone,
    constant_name,
    kwargs_of,
    population,
    read,
    shaped,
    source_of,
    swept,
)

GAIN = "device_gain"
"""What the constants of (3) and (5) are called, after their population."""


@final
@dataclass(frozen=True)
class Device(Pass):
    """Puts one device, drawn by `draw`, under every population: (1)–(5). `decay` forces a of (2); None and 0 leave things as they are.

    Populations must be identity staircases (uniform levels): a table's thresholds are no chip's. After it each neuron has its own gain
    and decay; the records say what was drawn.
    """

    draw: int = 0
    threshold_bits: int | None = None
    leak_bits: int | None = None
    decay: float | None = None
    threshold_mismatch: float = 0.0
    tau_mismatch: float = 0.0
    dead: float = 0.0

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = (
        "Indiveri et al. 2011, doi:10.3389/fnins.2011.00073",
        "Cramer et al. 2022, doi:10.1073/pnas.2109194119",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        self.check(program)
        graph, tensors = clone(program.graph), dict(program.tensors)
        drawn = self.drawn(program)
        nodes = [node for node in calls(graph) if node.target is population]
        for node in nodes:
            self._under(node, graph, tensors, drawn)
        after = shaped(swept(program.replaced(graph=graph, tensors=tensors)))
        return after.recorded(self.record(populations=len(nodes)))

    def drawn(self, program: Program, draw: int | None = None) -> dict[str, Tensor]:
        """What differs from chip to chip, by the names it has in a program (given without a chip) that this device lies under: the gain of
        every neuron, and its decay. Of another chip of its kind where `draw` says so."""
        generator = torch.Generator().manual_seed(self.draw if draw is None else draw)
        found = dict[str, Tensor]()
        for node in [node for node in calls(program.graph) if node.target is population]:
            shape, decay = tuple(node.meta["spec"][0][1:]), constant_name(args_of(node)[3])
            gain = self.gain(shape, generator)
            if gain is not None:
                found[gain_of(node)] = gain
            if self.tau_mismatch:
                kept = for_each(self.leak(read(program.tensors[decay])), kwargs_of(node).get("axis", 1), shape)
                found[decay] = kept ** (1 / spread((len(kept),), self.tau_mismatch, generator))
        return found

    def check(self, program: Program) -> None:
        """Raises ConfigError for a device that cannot be, UnsupportedError for a program it cannot run."""
        for name, bits in (("threshold_bits", self.threshold_bits), ("leak_bits", self.leak_bits)):
            if bits is not None and not 1 <= bits <= 24:
                raise ConfigError(f"device.{name} is out of range", found=bits, allowed="1 to 24")
        if self.decay is not None and not 0 <= self.decay <= 1:
            raise ConfigError("device.decay is out of range", found=self.decay, allowed="0 to 1")
        for name in ("threshold_mismatch", "tau_mismatch", "dead"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"device.{name} is out of range", found=getattr(self, name), allowed="0 up to 1")
        tables = [node.name for node in calls(program.graph) if node.target in OPERATIONS.values() and node.target is not population]
        if tables:
            todo = "convert with --placement uniform; functions other than ReLU need a table"
            raise UnsupportedError("a device has no tables of thresholds", found=", ".join(tables[:6]), todo=todo)

    def _under(self, node: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor], drawn: Mapping[str, Tensor]) -> None:
        step, v0, decay, _ = (constant_name(operand) for operand in args_of(node)[1:5])
        tensors[step], ratio = self.threshold(tensors[step])
        tensors[v0] = tensors[v0] * ratio
        tensors[decay] = self.leak(tensors[decay])
        name = gain_of(node)
        if name in drawn:
            tensors[name] = drawn[name]
            with graph.inserting_before(node):
                scaled = graph.call_function(torch.ops.aten.mul.Tensor, (source_of(node), graph.get_attr(name)))
            scaled.meta["note"] = {"device": True}
            node.update_arg(0, scaled)
        if self.tau_mismatch:
            self._each(node, tensors)
            tensors[decay] = drawn[decay]

    def threshold(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """(1), and by how much each threshold changed."""
        if self.threshold_bits is None:
            return step, torch.ones_like(step)
        unit = step.max() / (2**self.threshold_bits - 1)
        kept = (step / unit).round().clamp_min(1) * unit
        return kept, kept / step

    def leak(self, decay: Tensor) -> Tensor:
        """(2)."""
        decay = decay if self.decay is None else torch.full_like(decay, self.decay)
        if self.leak_bits is None:
            return decay
        return 1 - ((1 - decay) * 2**self.leak_bits).round() / 2**self.leak_bits

    def gain(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
        """(3) and (5): [1, …] for a population of that shape; None where every neuron's is 1."""
        if not self.threshold_mismatch and not self.dead:
            return None
        alive = torch.rand(shape, generator=generator) >= self.dead
        return (alive / spread(shape, self.threshold_mismatch, generator)).unsqueeze(0)

    def _each(self, node: fx.Node, tensors: dict[str, Tensor]) -> None:
        """(4): every parameter of the population gets an entry for each neuron."""
        axis, shape = kwargs_of(node).get("axis", 1), tuple(node.meta["spec"][0][1:])
        for operand in args_of(node)[1:5]:
            name = constant_name(operand)
            tensors[name] = for_each(tensors[name], axis, shape)
        node.kwargs = {**node.kwargs, "axis": tuple(range(1, len(shape) + 1)) if len(shape) > 1 else 1}


def gain_of(node: fx.Node) -> str:
    """What the gains of a population are called."""
    return f"{node.name}.{GAIN}"


def spread(shape: tuple[int, ...], sigma: float, generator: torch.Generator) -> Tensor:
    """1 + σξ for every neuron."""
    return (1 + sigma * torch.randn(shape, generator=generator).clamp(-3, 3)).clamp_min(0.1)


def for_each(parameter: Tensor, axis: int | tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """A parameter ([] or [C] along `axis` of [B, …]) as one entry for each neuron of `shape`."""
    if parameter.ndim == 0:
        return parameter.expand(shape).flatten().clone()
    axes = [(place - 1) if place > 0 else len(shape) + place for place in ((axis,) if isinstance(axis, int) else axis)]
    sizes = [size if place in axes else 1 for place, size in enumerate(shape)]
    return parameter.view(sizes).expand(shape).flatten().clone()
