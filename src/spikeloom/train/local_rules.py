"""
What of a network goes on learning where it is deployed, by which rules, and what of the network they need to see.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.errors import ConfigError, InternalError, ProgramError, UnsupportedError
from spikeloom.ir import Program, Quantised, biased, clone, name_of, set_weights, shaped, source_of, weighted, weights_of
from spikeloom.simulate import primary
from spikeloom.train.contexts import Contexts
from spikeloom.train.homeostasis import Homeostasis, Trace, seen
from spikeloom.train.intrinsic import Knob, Per, with_knobs
from spikeloom.train.readout import DeltaRule
from spikeloom.train.through_time import Unrolled

PAPERS = (
    "Desai et al. 1999, doi:10.1038/9165 (intrinsic plasticity)",
    "Schneider et al. 2020, arXiv:2006.16971 (statistics of a shifted stream)",
    "Widrow & Hoff 1960 (delta rule)",
    "Zeng et al. 2019, arXiv:1810.01256 (old inputs shielded)",
    "Carpenter & Grossberg 1987, doi:10.1016/S0734-189X(87)80014-2 (vigilance)",
)


@final
@dataclass(frozen=True)
class LocalRules:
    """The rules a network goes on learning by: `homeostasis` without labels, the `readout` from labels; None leaves a part as it is."""

    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)
    readout: DeltaRule | None = field(default_factory=DeltaRule)
    contexts: Contexts = field(default_factory=Contexts)

    def check(self) -> None:
        """Raises ConfigError for options out of range, and where nothing would learn."""
        if self.homeostasis is None and self.readout is None:
            raise ConfigError("nothing would learn", found="neither homeostasis nor readout", todo="switch one of them on")
        for part in (self.homeostasis, self.readout, self.contexts):
            if part is not None:
                part.check()

    def as_json(self) -> dict[str, Any]:
        """The options as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "LocalRules":
        """The options from JSON. Raises ProgramError where they are not these."""
        try:
            homeostasis, readout = told["homeostasis"], told["readout"]
            return cls(
                None if homeostasis is None else Homeostasis(**homeostasis),
                None if readout is None else DeltaRule(**readout),
                Contexts(**told["contexts"]),
            )
        except (TypeError, KeyError) as error:
            raise ProgramError("these are no rules of this version", found=error, todo="begin anew") from error


@final
@dataclass(frozen=True)
class Adaptable:
    """A network whose neurons have knobs and whose readout has weights of its own, and how it runs with others in their places."""

    program: Program
    timesteps: int
    knobs: tuple[Knob, ...]
    readout: str
    weight: str
    bias: str
    reaches: str
    network: Unrolled

    def run(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> tuple[Float[Tensor, "b c"], dict[str, Tensor]]:
        """Outputs, and the means over time of the currents, the spikes of all populations, and what reaches the readout."""
        with torch.no_grad():
            output, means = self.network(tensors, (inputs,))
        return primary(output), means


class Calibrated(NamedTuple):
    """What a network tells of itself on calibration data: how its populations are driven, what they send, what reaches the readout."""

    driven: dict[str, Trace]
    sent: dict[str, Trace]
    reaching: Float[Tensor, "n f"]


def adaptable(program: Program, timesteps: int, per: Per) -> Adaptable:
    """The network made ready. Raises UnsupportedError where it does not end in a linear layer of float weights, ConfigError where it has no
    neurons, ProgramError where it takes more than one input."""
    if len(program.inputs) != 1:
        raise ProgramError("a classifier that adapts takes one input", found=", ".join(spec.name for spec in program.inputs))
    layer = readout_layer(program)
    graph, tensors = clone(program.graph), dict(program.tensors)
    own = next(node for node in graph.nodes if node.name == layer.name)
    set_weights(own, graph, tensors, *biased(own, tensors))
    made, knobs = with_knobs(shaped(program.replaced(graph=graph, tensors=tensors)), per)
    own = next(node for node in made.graph.nodes if node.name == layer.name)
    weight, bias = (str(node.target) for node in own.all_input_nodes[1:])
    reaches = source_of(own).name
    wanted = {reaches, *(knob.current for knob in knobs), *(knob.population for knob in knobs)}
    network = Unrolled(made, timesteps, wanted=sorted(wanted))
    return Adaptable(made, timesteps, knobs, layer.name, weight, bias, reaches, network)


def readout_layer(program: Program) -> fx.Node:
    """The linear layer whose outputs are the network's answer. UnsupportedError where there is none, or its weights are on a grid."""
    given: Any = next(iter(reversed(program.graph.nodes))).args[0]
    while not isinstance(given, fx.Node):
        if not given:
            raise InternalError("a program gives nothing")
        values: dict[Any, Any] = dict(given) if isinstance(given, dict) else dict(enumerate(given))
        given = values["logits"] if "logits" in values else next(iter(values.values()))
    if not weighted(given) or not name_of(given.target).startswith("aten.linear."):
        todo = "give a classifier that ends in a linear layer"
        raise UnsupportedError("the readout of this network cannot learn", found=f"it ends in %{given.name}", todo=todo)
    if isinstance(weights_of(given, program.tensors)[0], Quantised):
        todo = "convert it without compression of weights, adapt it, and compress it then"
        raise UnsupportedError("the readout of this network cannot learn", found="its weights lie on a grid", todo=todo)
    return given


def calibrated(network: Adaptable, batches: Iterable[Tensor]) -> Calibrated:
    """What calibration batches tell. Raises ConfigError where there are none."""
    driven, sent, reaching, count = dict[str, Trace](), dict[str, Trace](), list[Tensor](), 0
    for inputs in batches:
        _, means = network.run(network.program.tensors, inputs)
        share = len(inputs) / (count + len(inputs))
        for knob in network.knobs:
            held = network.program.tensors
            current = means[knob.current] * held[knob.gain] + held[knob.shift]
            _add(driven, knob.population, seen(current, knob.over), share)
            _add(sent, knob.population, seen(means[knob.population], knob.over), share)
        reaching.append(means[network.reaches])
        count += len(inputs)
    if not count:
        raise ConfigError("local rules need calibration data", found="no samples", todo="give some of what the network was made for")
    return Calibrated(driven, sent, torch.cat(reaching))


def _add(sums: dict[str, Trace], name: str, batch: Trace, share: float) -> None:
    """A mean of means, each batch by its share."""
    before = sums.get(name, batch)
    sums[name] = Trace(*(old + share * (new - old) for old, new in zip(before, batch, strict=True)))
