"""
Pools and what only moves numbers, as code.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.code import Code, row_at, words
from spikeloom.backend.c.layout import Convert, Layout
from spikeloom.backend.c.numbers import I16, I32, I64, Number, holding, kept
from spikeloom.backend.c.plan import Step
from spikeloom.backend.c.tails import Row, row_function
from spikeloom.ir.hardware import Pool, Route


def pool_step(code: Code, step: Step, pool: Pool) -> list[str]:
    """The lines of a step whose head is a pool."""
    plan, read = code.plan, pool.reads[0]
    layout, out, number = plan.layout(read), plan.layout(pool.name), plan.number(read)
    channels, height, width = layout.shape
    x, pitch, before, what = f"{code.address(read, step)} + {layout.origin}", layout.pitch, code.cleared(step), None
    sums = _sums_of(code, pool)
    if pool.what == "max" and plan.netlist.timesteps > 1:
        total = code.state(f"total{step.number}", sums, layout.rows * layout.row, f"sums that {words(pool.name)} compares")
        code.state(f"top{step.number}", sums, out.rows * out.row, f"maxima of {words(pool.name)} a tick ago")
        before += _totalled(code, step, layout, sums, x, number, total)
        x, pitch, number, what = total, layout.row, sums, _difference(step, out, sums)
        code.resets.append(
            f"    memset({total}, 0, sizeof {total});\n    memset(state.top{step.number}, 0, sizeof state.top{step.number});\n"
        )
    tokens = {"XT": number.name, "AT": sums.name} if pool.what == "sum" else {"XT": number.name}
    kernel = code.kernel(f"pool_{pool.what}", **tokens)
    acc = code.scratch(step, "acc", sums, out.row, f"a row of {words(pool.name)}")
    top = f"r * {pool.stride[0]} - {pool.padding[0]}" if pool.padding[0] else f"r * {pool.stride[0]}"
    sides = f"{pitch}, {channels}, {height}, {width}, {pool.kernel[0]}, {pool.kernel[1]}"
    told = f"{sides}, {top}, {-pool.padding[1]}, {pool.stride[1]}, {out.shape[2]}"
    call = row_function(code, step, sums, what).replace("ACC", acc)
    return [
        *before,
        f"    for (int32_t r = 0; r < {out.rows}; r++) {{",
        f"        {kernel}({x}, {told}, {acc});",
        f"        {call}",
        "    }",
    ]


def _sums_of(code: Code, pool: Pool) -> Number:
    """The type of a row's numbers."""
    wire, times = code.plan.wire(pool.reads[0]), code.plan.netlist.timesteps
    if pool.what == "sum":
        many = pool.kernel[0] * pool.kernel[1]
        return holding(min(wire.low * many, 0), max(wire.high * many, 0), (I16, I32, I64))
    if times == 1:
        return code.plan.number(pool.reads[0])
    return kept(min(wire.low * times, 0), max(wire.high * times, 0))


def _totalled(code: Code, step: Step, layout: Layout, sums: Number, x: str, number: Number, total: str) -> list[str]:
    """The lines that add this tick's numbers to the sums since the first."""
    name = code.kernel("totalled", XT=number.name, AT=sums.name)
    return [
        f"    for (int32_t r = 0; r < {layout.rows}; r++)",
        f"        {name}({x} + r * {layout.pitch}, {layout.row}, {total} + r * {layout.row});",
    ]


def _difference(step: Step, out: Layout, sums: Number) -> Callable[[Row], None]:
    """What a maximum over time sends: how much it has changed."""

    def said(row: Row) -> None:
        row.take(f"{sums.name} *restrict top", f"state.top{step.number} + r * {out.row}")
        row.put("sum", I64 if sums == I64 else I32, step.head.name if step.head else None, "acc[i] - top[i]")
        row.lines.append("top[i] = acc[i];")

    return said


def convert_step(code: Code, step: Step, work: Convert | Route) -> list[str]:
    """The lines of a step that moves numbers."""
    read = work.reads[0]
    if isinstance(work, Route) and (work.index is not None or len(work.reads) > 1):
        return _routed(code, step, work)
    source, target = code.plan.layout(read), code.plan.layout(work.name)
    x, out = code.address(read, step), f"arena.b{step.number}.at"
    if (source.image and target.image and source.shape != target.shape) or source.order is not None:
        return _routed(code, step, work)
    plus = work.plus if isinstance(work, Convert) else 0
    return code.cleared(step, plus) + moved(source, target, x, out, code.plan.number(work.name).name, plus)


def moved(source: Layout, target: Layout, x: str, out: str, kind: str, plus: int = 0) -> list[str]:
    """Lines that put the numbers of a wire that lies as `source` where `target` has them."""
    raised = f" + {plus}" if plus else ""
    if source.image == target.image:
        rows, size = (target.rows, target.row) if source.image else (1, target.size)
        to, at = (f"{out} + {row_at(target)}", f"{x} + {row_at(source)}") if source.image else (out, x)
        inner = f"for (int32_t i = 0; i < {size}; i++)\n            ({to})[i] = ({kind})(({at})[i]{raised});"
        return [
            f"    for (int32_t r = 0; r < {rows}; r++) {{",
            f"        {inner if plus else f'memcpy({to}, {at}, {size} * sizeof({kind}));'}",
            "    }",
        ]
    image = source if source.image else target
    channels, height, width = image.shape
    place, flat = f"{image.origin} + y * {image.pitch} + x * {channels} + c", f"(c * {height} + y) * {width} + x"
    to, at = (flat, place) if source.image else (place, flat)
    return [
        f"    for (int32_t y = 0; y < {height}; y++) {{",
        f"        for (int32_t x = 0; x < {width}; x++) {{",
        f"            for (int32_t c = 0; c < {channels}; c++)",
        f"                {out}[{to}] = ({kind})({x}[{at}]{raised});",
        "        }",
        "    }",
    ]


def _routed(code: Code, step: Step, work: Route | Convert) -> list[str]:
    """Lines that put numbers at an index: as runs where they are long, else one by one."""
    plan, target = code.plan, code.plan.layout(work.name)
    sources = [plan.layout(read) for read in work.reads]
    places = np.concatenate([source.places for source in sources])
    reads = np.repeat(np.arange(len(sources)), [len(source.places) for source in sources])
    index = np.arange(len(places)) if isinstance(work, Convert) or work.index is None else work.index
    order = np.argsort(target.places, kind="stable")
    index, to = index[order], target.places[order]
    lines = list[str]()
    if (index < 0).any() or target.halo != (0, 0):
        lines.append(f"    memset(arena.b{step.number}.at, 0, sizeof arena.b{step.number}.at);")
    for number, read in enumerate(work.reads):
        mine = (index >= 0) & (reads[index] == number)
        if mine.any():
            lines += _moves(code, step, work, number, read, to[mine], places[index[mine]])
    return lines


def _moves(
    code: Code, step: Step, work: Route | Convert, number: int, read: str, to: Int[ndarray, " n"], at: Int[ndarray, " n"]
) -> list[str]:
    """Lines for what comes from one operand."""
    kinds = {"XT": code.plan.number(read).name, "AT": code.plan.number(work.name).name}
    first = np.flatnonzero(np.concatenate([[True], (np.diff(to) != 1) | (np.diff(at) != 1)]))
    counts = np.diff(np.concatenate([first, [len(to)]]))
    x, out, about = code.address(read, step), f"arena.b{step.number}.at", f"of {words(work.name)}"
    if 3 * len(first) <= len(to):
        array = code.constants.put(
            f"runs_{number}_{step.number}", np.stack([to[first], at[first], counts], 1), f"runs (to, from, how many) {about}"
        )
        name = code.kernel("runs", IT=array.number.name, **kinds)
        return [f"    {name}({x}, {array.name}, {len(first)}, {out});"]
    if (to == np.arange(len(to)) + to[0]).all():
        array = code.constants.put(f"from_{number}_{step.number}", at, f"places {about}")
        name = code.kernel("gathered", IT=array.number.name, **kinds)
        return [f"    {name}({x}, {array.name}, {len(to)}, {out} + {to[0]});"]
    array = code.constants.put(f"pairs_{number}_{step.number}", np.stack([to, at], 1), f"places (to, from) {about}")
    name = code.kernel("pairs", IT=array.number.name, **kinds)
    return [f"    {name}({x}, {array.name}, {len(to)}, {out});"]
