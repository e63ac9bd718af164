"""
The emitted network: all steps written, buffers placed, sizes known.
"""

from dataclasses import dataclass
from typing import final

from spikeloom.backend.c.arrays import Array, Constants
from spikeloom.backend.c.code import Code, words
from spikeloom.backend.c.layers import layer_step
from spikeloom.backend.c.layout import Convert
from spikeloom.backend.c.memory import Buffer, Placed, arena_bytes, arranged, state_bytes
from spikeloom.backend.c.moves import convert_step, pool_step
from spikeloom.backend.c.numbers import Number, holding
from spikeloom.backend.c.options import COptions
from spikeloom.backend.c.plan import Plan, Step, plan
from spikeloom.backend.c.tails import row_function
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Pool, Route


@final
@dataclass(frozen=True, eq=False)
class Network:
    """Everything that the files are written from. `rom` and `ram` are in bytes, code and stack left out."""

    plan: Plan
    arrays: tuple[Array, ...]
    kernels: tuple[str, ...]
    functions: tuple[str, ...]
    resets: tuple[str, ...]
    takes_input: frozenset[int]
    placed: tuple[Placed, ...]
    state: tuple[Buffer, ...]

    @property
    def rom(self) -> int:
        """Weights and tables."""
        return sum(array.bytes for array in self.arrays)

    @property
    def arena(self) -> int:
        """Buffers that are used again within a tick."""
        return arena_bytes(self.placed)

    @property
    def kept(self) -> int:
        """What is remembered from tick to tick."""
        return state_bytes(self.state)

    @property
    def ram(self) -> int:
        """Buffers and what is remembered."""
        return self.arena + self.kept

    @property
    def input(self) -> Number:
        """The type of an input."""
        return self.plan.number(self.plan.netlist.source.name)

    @property
    def output(self) -> Number:
        """The type of an answer, summed over all ticks."""
        netlist = self.plan.netlist
        wire, times = netlist.wires[netlist.output], netlist.timesteps
        return holding(min(wire.low, wire.low * times), max(wire.high, wire.high * times))


def network(netlist: Netlist, options: COptions) -> Network:
    """A netlist as C."""
    made = plan(netlist, options)
    code = Code(made, Constants(options.prefix))
    for step in made.steps:
        code.wire_buffer(step)
        lines = _step(code, step)
        takes = f"const {made.number(netlist.source.name).name} *input" if step.number in code.takes_input else "void"
        body = "\n".join(lines)
        code.functions.append(f"{_comment(made, step)}\nstatic void step_{step.number}({takes})\n{{\n{body}\n}}\n")
    placed = arranged(buffer for buffer in code.buffers if not buffer.kept)
    state = sorted((buffer for buffer in code.buffers if buffer.kept), key=lambda each: (-each.number.bytes, each.name))
    return Network(
        made,
        tuple(code.constants.arrays),
        tuple(code.kernels.values()),
        tuple(code.functions),
        tuple(code.resets),
        frozenset(code.takes_input),
        placed,
        tuple(state),
    )


def _step(code: Code, step: Step) -> list[str]:
    """The lines of a step."""
    match step.head:
        case Affine() | Convolution():
            return layer_step(code, step, step.head)
        case Pool():
            return pool_step(code, step, step.head)
        case Convert() | Route():
            return convert_step(code, step, step.head)
        case _:
            rows, call = code.plan.layout(step.name).rows, row_function(code, step, None)
            loop = [f"    for (int32_t r = 0; r < {rows}; r++)"] if rows > 1 else []
            return [*code.cleared(step), *loop, f"        {call}" if rows > 1 else f"    {call}"]


def _comment(made: Plan, step: Step) -> str:
    """What a step does, in words."""
    parts = [f"{words(work.name)} ({type(work).__name__.lower()})" for work in step.operations]
    shape = "x".join(map(str, made.wire(step.name).shape))
    return f"/* {', '.join(parts)}: {shape} */"
