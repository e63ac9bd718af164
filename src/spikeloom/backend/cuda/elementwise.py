"""
Kernels that touch each number by itself, generated for the network: a population with the sums and requantisations before it.

One thread has one neuron of one sample and goes through all ticks: parameters and the membrane stay in registers, each input is read once
and each output written once.
"""

from dataclasses import dataclass, field
from typing import assert_never, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.cuda.layout import spread
from spikeloom.backend.cuda.numbers import I32, I64, STORED, Constants, holding, literal, reckoned
from spikeloom.backend.cuda.plan import Elementwise, Step
from spikeloom.ir.hardware import Add, Membrane, Netlist, Population, Requantise, Wire
from spikeloom.ir.hardware.arithmetic import silent

FEW = 8
"""Up to so many thresholds are compared one by one, more are searched."""
Widths = dict[str, tuple[Wire, Wire]]


@final
@dataclass
class Body:
    """What a kernel says before its loop over the ticks, and inside of it."""

    step: Step
    netlist: Netlist
    constants: Constants
    widths: Widths
    before: list[str] = field(default_factory=list[str])
    inside: list[str] = field(default_factory=list[str])
    names: dict[str, str] = field(default_factory=dict[str, str])

    def parameter(self, name: str, table: Int[ndarray, "..."], axis: int) -> tuple[str, str]:
        """Parameters [C] or [C, K] along an axis of the sample: (array, index of this neuron's first number); a literal and "" where all
        neurons have the one number."""
        rows = np.unique(table.reshape(len(table), -1), axis=0) if len(table) > 1 else table.reshape(1, -1)
        wide = table.size // len(table)
        if len(rows) == 1 and wide == 1:
            return literal(int(rows[0, 0])), ""
        if len(rows) == 1:
            return self.constants.put(f"{name}_{self.step.number}", rows)[0], "0"
        order = spread(self.step.made.layout, self.step.made.wire.shape, axis)
        array, _ = self.constants.put(f"{name}_{self.step.number}", table.reshape(len(table), -1)[order.rows])
        index = order.index(self.step.made.layout.stride)
        return array, index if wide == 1 else f"({index}) * {wide}"

    def number(self, name: str, values: Int[ndarray, " _"], axis: int) -> str:
        """One parameter of this neuron, in a register or as a literal."""
        array, index = self.parameter(name, values, axis)
        if not index:
            return array
        kind = holding(int(values.min()), int(values.max()), (I32, I64)).name
        self.before.append(f"const {kind} {name} = {array}[{index}];")
        return name


def elementwise(step: Step, netlist: Netlist, constants: Constants, widths: Widths) -> str:
    """The text of a step's kernel."""
    body = Body(step, netlist, constants, widths)
    layout, kept = step.made.layout, step.made
    for place, read in enumerate(step.reads):
        body.names[read.key] = f"x{place}"
        body.inside.append(f"const int32_t x{place} = in{place}[tick * step{place} + at];")
    for place, operation in enumerate(step.within):
        body.names[operation.name] = name = f"y{place}"
        _computed(body, operation, name)
    given = "".join(f"const {read.number.name} *__restrict__ in{place}, int64_t step{place}, " for place, read in enumerate(step.reads))
    idle = f"p % {layout.group} >= {layout.used}" if layout.group < layout.stride else f"p >= {layout.used}"
    head = (
        f"__global__ void __launch_bounds__(256) step_{step.number}({given}{kept.number.name} *__restrict__ out, int64_t count, int ticks)"
    )
    last = body.names[step.within[-1].name]
    lines = [
        "const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;",
        "if (at >= count)",
        "    return;",
        f"[[maybe_unused]] const int p = static_cast<int>(at % {layout.stride});",
        *([f"if ({idle}) {{", "    for (int tick = 0; tick < ticks; ++tick)", "        out[tick * count + at] = 0;", "    return;", "}"]
          if layout.used < layout.group else []),
        *body.before,
        "#pragma unroll 4",
        "for (int tick = 0; tick < ticks; ++tick) {",
        *[f"    {line}" for line in body.inside],
        f"    out[tick * count + at] = static_cast<{kept.number.name}>({last});",
        "}",
    ]  # fmt: skip
    told = ", ".join(f"{each.name} ({type(each).__name__})" for each in step.within)
    return "\n".join([f"// {told}", head, "{", *[line if line.startswith("#") else f"    {line}" for line in lines], "}", ""])


def _computed(body: Body, operation: Elementwise, name: str) -> None:
    match operation:
        case Add():
            _sum(body, operation, name)
        case Requantise():
            _requantised(body, operation, name)
        case Population():
            _fired(body, operation, name)
        case _ as never:
            assert_never(never)


def largest(wire: Wire) -> int:
    """The largest absolute value on a wire."""
    return max(-wire.low, wire.high, 0)


def most(values: Int[ndarray, "..."]) -> int:
    """The largest absolute value in an array."""
    return int(np.abs(values).max(initial=0))


def sum_bound(operation: Add, netlist: Netlist) -> int:
    """What no number passes on the way to a sum."""
    bound = 0 if operation.bias is None else most(operation.bias)
    return bound + sum(most(gain) * largest(netlist.wires[read]) for gain, read in zip(operation.gains, operation.reads, strict=True))


def requantise_bound(operation: Requantise, netlist: Netlist) -> int:
    """What no number passes on the way to a requantised one."""
    product = most(operation.multiplier) * largest(netlist.wires[operation.reads[0]]) + ((1 << operation.shift) >> 1)
    return max(product, abs(operation.low), abs(operation.high))


def _sum(body: Body, operation: Add, name: str) -> None:
    kind = reckoned(sum_bound(operation, body.netlist)).name
    parts = [] if operation.bias is None else [f"static_cast<{kind}>({body.number(f'{name}_bias', operation.bias, operation.axis)})"]
    for place, (gain, read) in enumerate(zip(operation.gains, operation.reads, strict=True)):
        factor = body.number(f"{name}_gain{place}", gain, operation.axis)
        parts.append(f"static_cast<{kind}>({factor}) * {body.names[read]}")
    body.inside.append(f"const int32_t {name} = static_cast<int32_t>({' + '.join(parts)});")


def _requantised(body: Body, operation: Requantise, name: str) -> None:
    kind, shift = reckoned(requantise_bound(operation, body.netlist)).name, operation.shift
    factor, half = body.number(f"{name}_multiplier", operation.multiplier, operation.axis), literal((1 << shift) >> 1)
    low, high = literal(operation.low), literal(operation.high)
    body.inside += [
        f"const {kind} {name}_scaled = (static_cast<{kind}>({factor}) * {body.names[operation.reads[0]]} + {half}) >> {shift};",
        f"const int32_t {name} = static_cast<int32_t>({name}_scaled < {low} ? {low} : {name}_scaled > {high} ? {high} : {name}_scaled);",
    ]


def _fired(body: Body, operation: Population, name: str) -> None:
    membrane, x = operation.membrane, body.names[operation.reads[0]]
    wire = body.netlist.wires[operation.reads[0]]
    if membrane is None:
        body.inside.append(f"const int32_t {name}_h = {x};")
        reach = wire
    else:
        reach = body.widths[operation.name][0]
        _integrated(body, operation, membrane, name, x)
    _crossed(body, operation, name, reach)
    _sent(body, operation, name)
    if membrane is not None and body.netlist.timesteps > 1:
        _reset(body, operation, membrane, name)


def decay_bound(membrane: Membrane, v: Wire) -> int:
    """What decay·v does not pass; a membrane that keeps all of itself is not multiplied."""
    return most(membrane.decay) * largest(v) if membrane.decays else largest(v)


def integrate_bound(membrane: Membrane, v: Wire, x: Wire) -> int:
    """What no number passes on the way to h, after the multiplication."""
    return largest(v) + largest(x) + most(membrane.leak) + 1


def _integrated(body: Body, operation: Population, membrane: Membrane, name: str, x: str) -> None:
    """Equation (1)."""
    v, wire, axis = body.widths[operation.name][1], body.netlist.wires[operation.reads[0]], operation.axis
    body.before.append(f"int32_t {name}_v = {body.number(f'{name}_initial', membrane.initial, axis)};")
    kept = f"{name}_v"
    if membrane.decays:
        kind = reckoned(decay_bound(membrane, v)).name
        factor = body.number(f"{name}_decay", membrane.decay, axis)
        kept = f"static_cast<int32_t>((static_cast<{kind}>({factor}) * {name}_v) >> {membrane.decay_shift})"
    kind = reckoned(integrate_bound(membrane, v, wire)).name
    lost = f" - {body.number(f'{name}_leak', membrane.leak, axis)}" if membrane.leaks else ""
    body.inside.append(f"const int32_t {name}_h = static_cast<int32_t>(static_cast<{kind}>({kept}) + {x}{lost});")


def _crossed(body: Body, operation: Population, name: str, reach: Wire) -> None:
    """k of equation (2). Thresholds beyond what h can be are brought to its ends."""
    thresholds, levels = operation.thresholds.clip(reach.low, reach.high + 1), operation.levels
    if levels > FEW:
        array, index = body.parameter(f"{name}_thresholds", thresholds, operation.axis)
        kind = holding(int(thresholds.min()), int(thresholds.max()), (*STORED, I64)).name
        body.before.append(f"const {kind} *const {name}_row = {array} + {index};")
        body.inside.append(f"const int {name}_k = spikeloom::crossed<{levels}>({name}_row, {name}_h);")
        return
    places = [body.number(f"{name}_threshold{k}", thresholds[:, k], operation.axis) for k in range(levels)]
    body.inside.append(f"const int {name}_k = {' + '.join(f'({name}_h >= {place})' for place in places)};")


def ladder(operation: Population) -> int | None:
    """The lowest height where all neurons have the same and they are consecutive."""
    low = int(operation.heights[0, 0])
    return low if bool((operation.heights == low + np.arange(operation.levels + 1)).all()) else None


def _sent(body: Body, operation: Population, name: str) -> None:
    """o of equation (2)."""
    low = ladder(operation)
    if low is not None:
        body.inside.append(f"const int32_t {name} = {name}_k{f' + {low}' if low > 0 else f' - {-low}' if low < 0 else ''};")
        return
    body.inside.append(f"const int32_t {name} = {_picked(body, f'{name}_height', operation.heights, operation.axis, f'{name}_k')};")


def _picked(body: Body, name: str, table: Int[ndarray, "_ k1"], axis: int, k: str) -> str:
    """table[c, k] in C++."""
    if table.shape[1] == 2:
        no, yes = (body.number(f"{name}{place}", table[:, place], axis) for place in (0, 1))
        return f"{k} ? {yes} : {no}"
    array, index = body.parameter(name, table, axis)
    kind = holding(int(table.min()), int(table.max()), (*STORED, I64)).name
    body.before.append(f"const {kind} *const {name}_row = {array} + {index};")
    return f"{name}_row[{k}]"


def taken_bound(membrane: Membrane, h: Wire) -> int:
    """What no number passes on the way to v."""
    return most(membrane.taken) + largest(h)


def _reset(body: Body, operation: Population, membrane: Membrane, name: str) -> None:
    """Equation (3)."""
    if membrane.reset == "zero":
        quiet = body.number(f"{name}_silent", silent(operation), operation.axis)
        body.inside.append(f"{name}_v = {name}_k == {quiet} ? {name}_h : 0;")
        return
    kind = reckoned(taken_bound(membrane, body.widths[operation.name][0])).name
    low, quantum = ladder(operation), membrane.taken[:, -1:] - membrane.taken[:, -2:-1]
    if low is not None and operation.levels > 1 and bool((membrane.taken == quantum * (low + np.arange(operation.levels + 1))).all()):
        taken = f"static_cast<{kind}>({body.number(f'{name}_quantum', quantum[:, 0], operation.axis)}) * {name}"
    else:
        taken = f"({_picked(body, f'{name}_taken', membrane.taken, operation.axis, f'{name}_k')})"
    body.inside.append(f"{name}_v = static_cast<int32_t>(static_cast<{kind}>({name}_h) - {taken});")
