"""
Neurons in a row's loop: equations (1) to (3) of `ir.hardware.netlist.Population`.
"""

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.arrays import literal
from spikeloom.backend.c.numbers import I32, I64, Number, kept, reckoned
from spikeloom.backend.c.row import Row
from spikeloom.backend.c.staircase import Line, way_of
from spikeloom.ir.hardware import Membrane, Population, Wire


def neurons(row: Row, population: Population) -> None:
    """Writes what a population does with its current."""
    place = row.step.tails.index(population)
    membrane = population.membrane
    read = row.code.plan.wire(population.reads[0])
    if membrane is None:
        number = reckoned(max(abs(read.low), abs(read.high)) + 1)
        row.put(f"h{place}", number, None, row.value(population.reads[0], number))
        _fired(row, population, read, number, place)
        return
    h, v = row.code.plan.membranes[population.name]
    number = _reckoned(membrane, read, h, v)
    keeps = row.code.plan.netlist.timesteps > 1
    kept_now = _membrane(row, population, membrane, v, place) if keeps else ""
    terms = [row.value(population.reads[0], number), *_started(row, population, membrane, number, kept_now, place)]
    row.put(f"h{place}", number, None, " + ".join(terms))
    _fired(row, population, h, number, place)
    if keeps:
        row.lines.append(f"v{place}[i] = ({kept(v.low, v.high).name})({_reset(row, population, membrane, number, place)});")


def _reckoned(membrane: Membrane, read: Wire, h: Wire, v: Wire) -> Number:
    """The type in which all of a membrane's sums and products fit."""
    most = [max(abs(wire.low), abs(wire.high)) for wire in (read, h, v)]
    held = most[2] * int(np.abs(membrane.decay).max()) if membrane.decays else most[2]
    leak, taken = int(np.abs(membrane.leak).max()), int(np.abs(membrane.taken).max())
    return reckoned(held, held + most[0] + leak, most[1] + 1 + 2 * taken)


def _membrane(row: Row, population: Population, membrane: Membrane, v: Wire, place: int) -> str:
    """Room for membranes, and their start. Gives the expression of one."""
    code, layout, number = row.code, row.layout, kept(v.low, v.high)
    name = f"v{row.step.number}_{place}"
    state = code.state(name, number, layout.rows * layout.row, f"membranes of {population.name}")
    row.take(f"{number.name} *restrict v{place}", state + (f" + r * {layout.row}" if layout.rows > 1 else ""))
    code.resets.append(_start(row, population, membrane, number, name))
    return f"v{place}[i]"


def _start(row: Row, population: Population, membrane: Membrane, number: Number, name: str) -> str:
    """The lines that put membranes at rest."""
    layout, start = row.layout, membrane.initial
    every = f"    for (int32_t i = 0; i < {layout.rows * layout.row}; i++)\n        state.{name}[i] = "
    if (start == start[0]).all():
        return f"{every}{literal(int(start[0]))};\n"
    shape = layout.shape
    if layout.image:
        inner = (1, shape[0] * shape[2], shape[0])[population.axis]
    else:
        inner = int(np.prod(shape[population.axis + 1 :], dtype=np.int64))
    array = row.code.constants.put(f"rest_{name}", start, f"starts of {population.name}")
    divided = "i" if inner == 1 else f"i / {inner}"
    return f"{every}({number.name}){array.name}[{divided} % {shape[population.axis]}];\n"


def _started(row: Row, population: Population, membrane: Membrane, number: Number, now: str, place: int) -> list[str]:
    """What joins the current: what the membrane kept, and the leak; at T = 1 both are known numbers."""
    axis = population.axis
    if not now:
        held = (membrane.decay * membrane.initial) >> membrane.decay_shift if membrane.decays else membrane.initial
        known = held - membrane.leak
        return [] if (known == 0).all() else [row.parameter(known, axis, f"start_{place}_", f"starts less leaks of {population.name}")]
    terms = [now]
    if membrane.decays:
        decay = row.parameter(membrane.decay, axis, f"decay_{place}_", f"decays of {population.name}")
        product = f"({number.name}){decay} * {now}"
        terms = [f"SHIFTED({product}, {membrane.decay_shift})" if membrane.decay_shift else product]
    if membrane.leaks:
        terms.append(row.parameter(-membrane.leak, axis, f"leak_{place}_", f"leaks of {population.name}, negative"))
    return terms


def _fired(row: Row, population: Population, h: Wire, number: Number, place: int) -> None:
    """k and o: equation (2)."""
    row.put(f"k{place}", I32, None, _counted(row, population, h, number, place))
    wire = row.code.plan.wire(population.name)
    sent = reckoned(abs(wire.low), abs(wire.high))
    row.put(f"o{place}", sent, population.name, _at_level(row, population, population.heights, f"height_{place}_", sent, place))


def _counted(row: Row, population: Population, h: Wire, number: Number, place: int) -> str:
    """How many thresholds h reaches."""
    if population.levels == 0:
        return "0"
    rows, axis = population.thresholds.clip(h.low, h.high + 1), population.axis
    way, told = way_of(rows, h.low, h.high), f"thresholds of {population.name}"
    if isinstance(way, Line):
        return _on_line(row, population, way, number, place)
    if way == "compare":
        each = [row.parameter(rows[:, level], axis, f"at_{place}_{level}_", told) for level in range(population.levels)]
        return " + ".join(f"(h{place} >= {threshold})" for threshold in each)
    array = row.code.constants.put(f"at_{place}_{row.step.number}", rows, told)
    search = row.code.kernel("search", XT=array.number.name, AT=number.name)
    first = "" if len(rows) == 1 else f" + {row.index(axis)} * {population.levels}"
    return f"{search}({array.name}{first}, {population.levels}, h{place})"


def _on_line(row: Row, population: Population, line: Line, number: Number, place: int) -> str:
    """Equation (1) of `staircase`."""
    told = f"of the line through the thresholds of {population.name}"
    parts = {"low": line.low, "high": line.high, "slope": line.slope, "from": line.start}
    given = {part: row.parameter(values, population.axis, f"{part}_{place}_", f"{part} {told}") for part, values in parts.items()}
    row.put(f"above{place}", number, None, f"h{place} < {given['low']} ? {given['low']} : h{place}")
    row.put(f"inside{place}", number, None, f"above{place} > {given['high']} ? {given['high']} : above{place}")
    far = line.bits == 64 and (int((line.high - line.low).max()) >= 1 << 31 or number == I64)
    inside = f"(int64_t)inside{place}" if far else f"(int32_t)inside{place}" if number == I64 else f"inside{place}"
    distance = inside if given["low"] == "0" else f"({inside} - {_parted(given['low'])})"
    kind = "uint32_t" if line.bits == 32 else "int64_t"
    distance = f"({kind}){distance}" if line.bits == 32 else distance
    return f"(int32_t)((({kind}){given['slope']} * {distance} + ({kind}){given['from']}) >> {line.shift})"


def _parted(text: str) -> str:
    """A number behind a minus sign."""
    return f"({text})" if text.startswith("-") else text


def _at_level(row: Row, population: Population, rows: Int[ndarray, "c k1"], name: str, number: Number, place: int) -> str:
    """rows[c, k]: a line in k where it is one, else a table."""
    step, axis, told = np.diff(rows, axis=1), population.axis, f"{name.split('_')[0]}s of {population.name}"
    if rows.shape[1] == 1 or (step == step[:, :1]).all():
        each = step[:, 0] if rows.shape[1] > 1 else np.zeros(len(rows), np.int64)
        first = row.parameter(rows[:, 0], axis, f"first_{name}", told)
        by = row.parameter(each, axis, f"step_{name}", told)
        k = f"k{place}" if number == I32 else f"({number.name})k{place}"
        term = k if by == "1" else f"{by} * {k}"
        return term if first == "0" else f"{first} + {term}"
    array = row.code.constants.put(f"{name}{row.step.number}", rows, told)
    first = "" if len(rows) == 1 else f"{row.index(axis)} * {rows.shape[1]} + "
    return f"{array.name}[{first}k{place}]"


def _reset(row: Row, population: Population, membrane: Membrane, number: Number, place: int) -> str:
    """v after the thresholds: equation (3)."""
    if membrane.reset == "zero":
        levels = (population.thresholds <= 0).sum(1)
        silent = row.parameter(levels, population.axis, f"silent_{place}_", f"silent levels of {population.name}")
        return f"k{place} == {silent} ? h{place} : 0"
    taken = _at_level(row, population, membrane.taken, f"taken_{place}_", number, place)
    return f"h{place} - ({taken})"
