"""
What only moves numbers: routes, the input put in order, pooling.
"""

import numpy as np

from spikeloom.backend.cuda.layout import Layout
from spikeloom.backend.cuda.numbers import Constants
from spikeloom.backend.cuda.plan import Step, Value
from spikeloom.backend.cuda.products import Shape
from spikeloom.ir.hardware import Pool, Route


def route(step: Step, constants: Constants) -> tuple[str, list[str]]:
    """A kernel that fetches each number from where it lies (-1: 0), and the lines that launch it."""
    operation, layout = step.operation, step.made.layout
    taken = operation.index if isinstance(operation, Route) else None
    starts = np.cumsum([0, *[read.layout.stride for read in step.reads]])
    places = np.concatenate([start + read.layout.place for start, read in zip(starts, step.reads, strict=False)])
    moved = places if taken is None else np.where(taken < 0, -1, places[taken])
    index = np.full(layout.stride, -1, np.int64)
    index[layout.place] = moved
    told = operation.name if operation is not None else f"{step.reads[0].key} put in order"
    fetch, array = list[str](), ""
    if not (index == np.arange(layout.stride)).all():
        array, _ = constants.put(f"index_{step.number}", index)
    place = f"{array}[p]" if array else "p"
    for number, read in enumerate(step.reads):
        low, high = int(starts[number]), int(starts[number + 1])
        fetch.append(
            f"if (from >= {low} && from < {high})\n"
            f"            value = in{number}[tick * step{number} + sample * {read.layout.stride} + (from - {low})];"
        )
    given = "".join(f"const {read.number.name} *__restrict__ in{n}, int64_t step{n}, " for n, read in enumerate(step.reads))
    body = f"""// {told} (Route)
__global__ void __launch_bounds__(256) step_{step.number}({given}{step.made.number.name} *__restrict__ out, int64_t count, int ticks)
{{
    const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= count)
        return;
    const int64_t sample = at / {layout.stride};
    const int p = static_cast<int>(at % {layout.stride});
    const int from = {place};
    for (int tick = 0; tick < ticks; ++tick) {{
        int32_t value = 0;
        {(chr(10) + "        ").join(fetch)}
        out[tick * count + at] = static_cast<{step.made.number.name}>(value);
    }}
}}
"""
    return body, by_sample(step)


def by_sample(step: Step) -> list[str]:
    """The lines that launch a kernel with a thread for each number of a sample, which goes through the ticks."""
    given = "".join(f"{address(read)}, {tick_step(read)}, " for read in step.reads)
    ticks = "streamed ? TICKS : 1" if step.made.still else "TICKS"
    return [
        f"const int64_t count = batch * {step.made.layout.stride};",
        f"launch<false>(step_{step.number}, blocks(count, 256), 256, stream, {given}{address(step.made)}, count, {ticks});",
    ]


def address(value: Value) -> str:
    """Where a value begins."""
    return f"at<{value.number.name}>({value.slot})" if value.slot >= 0 else "input"


def tick_step(value: Value) -> str:
    """How far a value is from one tick to the next."""
    return f"{'streamed' if value.still else 'true'} ? batch * {value.layout.stride} : int64_t{{0}}"


def pool(step: Step, operation: Pool, timesteps: int) -> tuple[str, list[str]]:
    """The struct of a pool, and the lines that launch its kernel."""
    read, made = step.reads[0], step.made
    shape = pool_shape(operation, read.layout, read, made)
    text = f"""// {operation.name} (Pool, {operation.what})
struct Layer{step.number} {{
    using X = {read.number.name};
    using Y = {made.number.name};
    static constexpr bool MAXIMUM = {"true" if operation.what == "max" else "false"};
    static constexpr int CHANNELS = {read.wire.shape[0]}, TICKS = {timesteps};
{shape.text(shape.depth, read.layout.stride, made.layout.stride)}}};
"""
    samples = f"rows({'true' if made.still else 'false'})" if step.way == "pool" else "batch"
    lines = [f"const int64_t positions = {samples} * {shape.places};"]
    grid = f"blocks(positions * {shape.depth}, 256), 256, stream, {address(read)}, {address(made)}, positions"
    if step.way == "pool":
        return text, [*lines, f"launch<false>(pooled<Layer{step.number}>, {grid});"]
    return text, [*lines, f"launch<false>(greatest<Layer{step.number}>, {grid}, {tick_step(read)}, batch * {made.layout.stride});"]


def pool_shape(operation: Pool, layout: Layout, read: Value, made: Value) -> Shape:
    """How a pool's input and output lie."""
    (_, height, width), (_, out_height, out_width) = read.wire.shape, made.wire.shape
    deep = layout.group
    return Shape(height, width, deep, out_height, out_width, deep, deep, operation.kernel, operation.stride, operation.padding)
