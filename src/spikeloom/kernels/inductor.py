"""
How torch.compile writes small look-ups and curves into the code it makes for a CPU, fused with what stands around them:
`torch.ops.spikeloom.read` and `along`.

To call a kernel costs more than to run a small population. Inductor's own code for `neuron.look_up` checks every index and holds it in 64
bits, which costs more than the look-up; here a place is in range by its clip, (1) of `neuron.grid`, also where h is not a number.

torch keeps on disk what it made, by the names of operators: whoever changes what is made here gives the operator another name.
"""

from functools import cache
from typing import Any, cast

import torch

from spikeloom.kernels.bank import NOWHERE, Place


@cache
def teach() -> None:
    """Tell inductor, once. Importing it takes seconds, so nothing does before a look-up is traced."""
    from torch._inductor.lowering import register_lowering

    cast(Any, register_lowering)(torch.ops.spikeloom.read, type_promotion_kind=None)(_read)
    cast(Any, register_lowering)(torch.ops.spikeloom.along, type_promotion_kind=None)(_along)


def _read(x: Any, floats: Any, codes: Any, place: list[int], axes: list[int], less: list[Any], gain: Any) -> Any:
    """The look-up as a loop over inductor's values of tensors; computed once, however many read it."""
    from torch._inductor import ir
    from torch._inductor.virtualized import ops

    sizes, where = list(x.get_size()), Place(*place)
    load_floats, load_codes = (bank.make_loader() for bank in (floats, codes))
    driven = _driven(x, less, gain)

    def value(index: Any) -> Any:
        h = driven(index)
        o = _value_at(h, _channel(index, sizes, axes) if where.channels > 1 else 0, where, load_floats, load_codes)
        return ops.where(ops.eq(h, h), o, h)

    o = cast(Any, ir.Pointwise).create(device=x.get_device(), dtype=x.get_dtype(), inner_fn=value, ranges=sizes)
    o.realize()
    return o


def _driven(x: Any, less: list[Any], gain: Any) -> Any:
    """(x − less)/gain at an index."""
    from torch._inductor.lowering import expand
    from torch._inductor.virtualized import ops

    sizes = list(x.get_size())
    load, *loads = (each.make_loader() for each in (x, *(expand(each, sizes) for each in less)))
    load_gain = None if gain is None else expand(gain, sizes).make_loader()

    def value(index: Any) -> Any:
        h = load(index)
        for each in loads:
            h = ops.sub(h, each(index))
        return h if load_gain is None else ops.truediv(h, load_gain(index))

    return value


def _along(
    x: Any,
    floats: Any,
    form: str,
    channels: int,
    start: int,
    lowest: int,
    highest: int,
    power: int,
    axes: list[int],
    less: list[Any],
    gain: Any,
) -> Any:
    """A curve as a loop over inductor's values of tensors; kept in memory but where a sum alone reads it."""
    from torch._inductor import ir
    from torch._inductor.virtualized import ops

    sizes, load, driven = list(x.get_size()), floats.make_loader(), _driven(x, less, gain)

    def value(index: Any) -> Any:
        channel = _channel(index, sizes, axes) if channels > 1 else 0
        centre, step, growth = (load([start + part * channels + channel]) for part in range(3))
        if form == "power":
            return _power_at(driven(index), centre, step, highest, power)
        r = _hyperbola_at(driven(index), centre, step, growth, lowest, highest)
        return ops.mul(r, r) if form == "square" else r

    o = cast(Any, ir.Pointwise).create(device=x.get_device(), dtype=x.get_dtype(), inner_fn=value, ranges=sizes)
    if not _is_summed():
        o.realize()
    return o


def _is_summed() -> bool:
    """Whether the value that inductor is about to make is read by one sum or mean and nothing else."""
    from torch._inductor.virtualized import V

    users = list(cast(Any, V.graph).current_node.users)
    return len(users) == 1 and users[0].target in (torch.ops.aten.sum.dim_IntList, torch.ops.aten.mean.dim)


def _hyperbola_at(h: Any, centre: Any, step: Any, growth: Any, lowest: int, highest: int) -> Any:
    """(1) of `neuron.curve` for the identity."""
    from torch._inductor.virtualized import ops

    def reading(k: Any) -> Any:
        one = ops.constant(1.0, torch.float32)
        return ops.truediv(ops.mul(step, k), ops.sub(one, ops.mul(growth, ops.abs(k))))

    bounds = (reading(ops.constant(float(k), torch.float32)) for k in (lowest, highest))
    x = ops.sub(h, centre)
    for bounded, bound in zip((ops.maximum, ops.minimum), bounds, strict=True):
        x = bounded(x, bound)
    k = ops.round(ops.truediv(x, ops.add(step, ops.mul(growth, ops.abs(x)))))
    return ops.add(centre, reading(k))


def _power_at(h: Any, centre: Any, step: Any, highest: int, power: int) -> Any:
    """(2) of `neuron.curve`."""
    from torch._inductor.virtualized import ops

    per_power, most = (ops.constant(number, torch.float32) for number in (1.0 / power, float(highest)))
    k = ops.minimum(ops.round(ops.mul(step, ops.exp(ops.mul(ops.sub(h, centre), per_power)))), most)
    raised, scale = k, step
    for _ in range(power - 1):
        raised, scale = ops.mul(raised, k), ops.mul(scale, step)
    return ops.mul(ops.truediv(ops.exp(centre), scale), raised)


def _channel(index: Any, sizes: list[Any], axes: list[int]) -> Any:
    """Which channel a number is of, counted over the axes in their order."""
    channel: Any = 0
    for axis in sorted(axis % len(sizes) for axis in axes):
        channel = channel * sizes[axis] + index[axis]
    return channel


def _value_at(h: Any, channel: Any, where: Place, load_floats: Any, load_codes: Any) -> Any:
    """The table's value at h, as `loops.look_up` reads it; any where h is not a number."""
    from torch._inductor.virtualized import ops

    def at(start: Any) -> Any:
        return load_floats([start])

    def chosen(number: Any, bound: Any) -> Any:
        return ops.indirect_indexing(ops.to_dtype(number, torch.int32), bound, check=False, wrap_neg=False)

    lowest, highest = (ops.constant(bound, torch.float32) for bound in (0.0, where.cells - 1.0))
    z = ops.add(at(where.constants + channel), ops.mul(h, at(where.constants + where.channels + channel)))
    z = ops.where(ops.gt(z, lowest), z, lowest)
    cell = channel * where.cells + chosen(ops.where(ops.lt(z, highest), z, highest), where.cells)
    if where.codes != NOWHERE:
        level = where.levels + 2 * (channel * where.ranks + chosen(load_codes([where.codes + cell]), where.ranks))
        return ops.where(ops.ge(h, at(level)), at(level + 3), at(level + 1))
    if where.splits != NOWHERE:
        pair = where.heights + 2 * cell
        return ops.where(ops.ge(h, at(where.splits + cell)), at(pair + 1), at(pair))
    return at(where.heights + cell)
