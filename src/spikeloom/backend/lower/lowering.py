"""
Lowering: a spiking program becomes a netlist of whole numbers (DESIGN.md §1: SNN → HW).

Values that are sent get their unit where they are made: a level, or a grid step of what a staircase sends. Currents get theirs when they
are read, so that operands that meet share one (`currents`, equation (1)). Widths of all wires and membranes are proven afterwards from the
ranges of what they read (`ir.hardware.intervals`); where one could pass 32 bits the network is refused, and the wire is named.

Only a current that is weighed once more is requantised: to `CURRENT_BITS`, by a shift alone; its bounds are those that are proven, so
it never saturates. A multiplication for each channel is never needed: scales are not fixed beforehand but follow the values as their units,
one for each channel, and end in the next layer's weights, in a sum's gains or in thresholds. (`Requantise` can multiply, and targets take
it, for netlists that come from elsewhere.)
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import fx

from spikeloom.backend.lower.currents import Gathered, Known, Pending, gathered, with_constant
from spikeloom.backend.lower.layers import Settled, constant_of, layer, pool
from spikeloom.backend.lower.neurons import Sent, parameters, sent_by, table, with_membrane
from spikeloom.backend.lower.obstacles import MAXIMA, POOLS, obstacles, refuse
from spikeloom.backend.lower.populations import encodes, neurons_of, noted_unit, shares_unit
from spikeloom.backend.lower.routes import moved
from spikeloom.backend.lower.sums import LAYERS, SCALES
from spikeloom.backend.lower.widths import within_words
from spikeloom.backend.target import Form
from spikeloom.errors import ConfigError, UnsupportedError
from spikeloom.ir import (
    Kind,
    Program,
    argument,
    constant_name,
    dynamic,
    kind,
    name_of,
    population,
    source_of,
    staircase,
    target_of,
)
from spikeloom.ir.hardware import (
    Netlist,
    Operation,
    Population,
    Requantise,
    Source,
    Wire,
    interval_of,
    intervals,
    netlist_of,
)

CURRENT_BITS = 16
"""Currents that are weighed once more are brought to so many bits."""
PARAMETERS = ("step", "v0", "decay", "leak")
"""The operands of a population behind its current."""
TOLD = ("source", "dataset", "task", "classes", "class_names", "preprocessing", "method", "levels")


@final
@dataclass(frozen=True)
class InputRange:
    """What the network's input can be, and, where it lies on a grid of its own (pixels, counts of spikes), that grid's step."""

    low: float
    high: float
    step: float | None = None


def lower(program: Program, timesteps: int, inputs: InputRange, form: Form | None = None) -> Netlist:
    """The netlist of a spiking program for T ticks. Raises UnsupportedError naming everything that has no place in whole numbers."""
    refuse("the network cannot be put into whole numbers", obstacles(program, timesteps))
    return Lowering(program, timesteps, inputs, form or Form()).netlist()


@final
class Lowering:
    """One lowering at work. Afterwards `weights` holds what layers' whole weights stand for, `parameters` those of populations, and
    `units` what a staircase's whole heights are worth."""

    def __init__(self, program: Program, timesteps: int, inputs: InputRange, form: Form) -> None:
        self.program, self.timesteps, self.form = program, timesteps, form
        self.live = dynamic(program.graph)
        self.values: dict[fx.Node, Any] = {}
        self.operations: list[Operation] = []
        self.weights: Settled = {}
        self.parameters: dict[str, Float[ndarray, "*any"]] = {}
        self.units: dict[str, Float[ndarray, " _"]] = {}
        self.source, self.wire = _input(program, inputs, form.input_bits)
        self.intervals = intervals(self.source, self.wire, (), timesteps)
        self.membranes = timesteps > 1 or form.membranes == "always"

    def netlist(self) -> Netlist:
        """All operations in order; those that nothing reads are left out."""
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = Known(self.source.name, np.full(self.wire.shape, self.source.step))
            elif node.op == "get_attr":
                self.values[node] = self.program.tensor(node)
            elif node.op == "call_function":
                self.values[node] = self.value(node)
        output: Any = next(node for node in self.program.graph.nodes if node.op == "output").args[0]
        answer = self.gathered(output, one=True)
        kept = _read(self.operations, answer.known.name)
        told = {key: self.program.settings[key] for key in TOLD if key in self.program.settings}
        unit = float(answer.unit.flat[0])
        made = netlist_of(self.source, self.wire, kept, answer.known.name, unit=unit, timesteps=self.timesteps, settings=told)
        return within_words(made)

    def put(self, operation: Operation) -> None:
        """One more operation; what it can give is proven at once."""
        reads = [self.intervals[name] for name in operation.reads]
        self.intervals[operation.name] = interval_of(operation, reads, self.timesteps)
        self.operations.append(operation)

    def value(self, node: fx.Node) -> Any:
        """What a call gives."""
        if node not in self.live:
            return self.concrete(node)
        name, what = name_of(node.target), kind(node, self.live)
        if encodes(node):
            return self.values[source_of(node)]
        if node.target in (population, staircase):
            return self.neurons(node)
        if what is Kind.AFFINE and name.startswith(LAYERS):
            node.meta["weight_shape"] = self.program.tensor(node.args[1]).shape
            return layer(node, self.narrow(self.known(source_of(node))), self.program.tensors, self.put, self.weights)
        if name.startswith((*POOLS, *MAXIMA)):
            return pool(node, self.known(source_of(node)), self.put)
        if what is Kind.ADD:
            return self.sum(node, name)
        if what is Kind.AFFINE and name.startswith(SCALES):
            return self.scaled(node, name)
        if name == "operator.getitem" and isinstance(self.values[source_of(node)], list):
            return self.values[source_of(node)][node.args[1]]
        for operand in node.all_input_nodes:
            if isinstance(self.values[operand], Pending):
                self.known(operand)
        return moved(node, self.values.__getitem__, self.put)

    def concrete(self, node: fx.Node) -> Any:
        """Sizes and constants, for a batch of one."""
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), self.stand_in)
        return target_of(node)(*args, **kwargs)

    def stand_in(self, operand: fx.Node) -> Any:
        value = self.values[operand]
        return torch.empty((1, *value.shape)) if isinstance(value, Known | Pending) else value

    def known(self, operand: fx.Node) -> Known:
        """A value in whole numbers; a current gets its unit here, once."""
        if isinstance(self.values[operand], Pending):
            found = self.gathered(operand)
            self.values[operand] = found.known
        return self.values[operand]

    def narrow(self, known: Known) -> Known:
        """A current that is to be weighed, in at most `CURRENT_BITS` bits: by a shift, rounded."""
        low, high = self.intervals[known.name].ends
        shift = max(Wire((), low, high).bits - CURRENT_BITS, 0)
        if not shift:
            return known
        name, rounded = f"{known.name}_narrow", [(end + (1 << shift >> 1)) >> shift for end in (low, high)]
        if name not in self.intervals:
            self.put(Requantise(name, (known.name,), np.ones(1, np.int64), shift, *rounded))
        return Known(name, known.unit * (1 << shift))

    def pending(self, operand: fx.Node) -> Pending:
        """A value as a current."""
        value = self.values[operand]
        if isinstance(value, Pending) and len(operand.users) > 1:
            value = self.known(operand)  # several read it: one wire for all
        if isinstance(value, Known):
            axis = 0 if len(value.shape) == 3 else len(value.shape) - 1
            return Pending(value.name, (value,), np.zeros(1), axis, value.shape)
        return value

    def gathered(self, operand: fx.Node, **options: Any) -> Gathered:
        """A value as whole numbers of one unit a channel."""
        current = self.pending(operand)
        if isinstance(self.values[operand], Known) and len(current.terms) == 1:
            current = Pending(f"{operand.name}_current", current.terms, current.bias, options.pop("axis", current.axis), current.shape)
        options.pop("axis", None)
        return gathered(current, self.put, self.form.weight_bits, gains=self.form.gains, fine=self.form.fine_bits, **options)

    def sum(self, node: fx.Node, name: str) -> Pending:
        """x ± α·y; a constant operand is a bias."""
        minus = name.startswith(("aten.sub.", "aten.rsub."))
        scale: Any = argument(node, 2, "alpha", 1)
        alpha = float(scale) * (-1 if minus else 1)
        signs = (alpha, 1.0) if name.startswith("aten.rsub.") else (1.0, alpha)
        total, constants = None, list[Any]()
        for sign, operand in zip(signs, node.args[:2], strict=True):
            if isinstance(operand, fx.Node) and operand in self.live:
                current = self.pending(operand).scaled(sign)
                total = current if total is None else total.plus(current, node.name)
            else:
                constants.append(sign * constant_of(self.values[operand] if isinstance(operand, fx.Node) else operand))
        if total is None:
            raise UnsupportedError("a sum of constants does not depend on the input", found=node.name)
        for constant in constants:
            total = with_constant(total, constant, node.name)
        return Pending(node.name, total.terms, total.bias, total.axis, total.shape)

    def scaled(self, node: fx.Node, name: str) -> Known | Pending:
        """A value times one number: its unit changes, its whole numbers stay."""
        moving = next(operand for operand in node.all_input_nodes if operand in self.live)
        if name.startswith("aten.neg."):
            factor = -1.0
        else:
            other: Any = node.args[1] if node.args[0] is moving else node.args[0]
            factor = float(self.values[other] if isinstance(other, fx.Node) else other)
            factor = 1.0 / factor if name.startswith("aten.div.") else factor
        value = self.values[moving]
        if isinstance(value, Pending) and len(moving.users) > 1:
            value = self.known(moving)
        return value.scaled(factor)

    def neurons(self, node: fx.Node) -> Known:
        """A population, on the current that drives it."""
        neurons = neurons_of(node, self.program)
        common = shares_unit(node, self.program)
        sent, source = sent_by(neurons, self.form.value_bits, common=common, noted=noted_unit(node)), source_of(node)
        shape = self.values[source].shape
        if not self.membranes:
            found = self.gathered(source, biased=False, axis=neurons.axis)
            unit, bias = (_laid(part, found.axis, neurons.axis, node.name) for part in (found.unit, found.bias))
            made = _within(table(neurons, found.known.name, unit, bias, sent), *self.intervals[found.known.name].ends)
        else:
            if neurons.step is None:
                raise UnsupportedError(
                    "a population with a membrane needs equal steps", found=node.name, todo="convert with placement uniform"
                )
            found = self.gathered(source, anchor=neurons.step, axis=neurons.axis)
            made = with_membrane(neurons, found.known.name, _laid(found.unit, found.axis, neurons.axis, node.name), sent.heights)
        self.put(made)
        self.told(node, made, found.unit, sent)
        unit = np.broadcast_to(sent.unit.reshape([-1 if place == neurons.axis else 1 for place in range(len(shape))]), shape)
        return Known(node.name, unit)

    def told(self, node: fx.Node, made: Population, unit: Float[ndarray, " _"], sent: Sent) -> None:
        """Keeps what the population's parameters have become, by the names of their tensors, and a staircase's unit."""
        if node.target is staircase:
            self.parameters[constant_name(node.args[2])] = sent.heights * sent.unit[:, None]
            self.units[node.name] = sent.unit
        elif made.membrane is not None:
            found = parameters(made, made.membrane, unit)
            self.parameters |= {constant_name(operand): found[key] for key, operand in zip(PARAMETERS, node.args[1:], strict=False)}


def _input(program: Program, inputs: InputRange, bits: int) -> tuple[Source, Wire]:
    """The input's name, step and range in whole numbers."""
    if not (np.isfinite([inputs.low, inputs.high]).all() and inputs.low < inputs.high):
        raise ConfigError("the input's range is none", found=(inputs.low, inputs.high), allowed="low < high, finite")
    most = max((1 << (bits - 1)) - 1, 1) if inputs.low < 0 else (1 << bits) - 1
    step = inputs.step or max(abs(inputs.low), abs(inputs.high)) / most
    low, high = (round(end / step) for end in (inputs.low, inputs.high))
    return Source(program.inputs[0].name, step), Wire(tuple(program.inputs[0].shape[1:]), low, high, True)


def _laid(values: Any, axis: int, other: int, name: str) -> Any:
    """Numbers along one axis as numbers along another: only where all are the same."""
    if axis == other or values.size == 1:
        return values
    if not np.allclose(values, values[0], rtol=1e-12):
        raise UnsupportedError("a population's channels do not lie where its current's do", found=name)
    return values[:1]


def _within(made: Population, low: int, high: int) -> Population:
    """Thresholds within what the wire that is read can carry: nothing lies beyond."""
    return dataclasses.replace(made, thresholds=made.thresholds.clip(low, high + 1))


def _read(operations: list[Operation], output: str) -> list[Operation]:
    """The operations that the output depends on."""
    wanted, kept = {output}, list[Operation]()
    for operation in reversed(operations):
        if operation.name in wanted:
            kept.append(operation)
            wanted |= set(operation.reads)
    return kept[::-1]
