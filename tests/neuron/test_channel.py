"""Channels on several axes together are those of one flattened axis: parameters, tables, and rows a channel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.neuron import (
    Axis,
    advance_table,
    advance_uniform,
    along,
    by_channel,
    from_channels,
    index_table,
    init_table,
    init_uniform,
    look_up,
    read_table,
    run_table,
    run_uniform,
)

SHAPE = (6, 3, 5, 4)  # [T·B, H, L, D]
TUPLES: dict[str, tuple[Axis, tuple[int, ...]]] = {
    "heads and features": ((1, 3), (0, 2, 1, 3)),
    "counted from behind": ((-3, -1), (0, 2, 1, 3)),
    "side by side": ((2, 3), (0, 1, 2, 3)),
    "three": ((1, 2, 3), (0, 1, 2, 3)),
    "one": ((2,), (0, 1, 3, 2)),
}


def flattened(x: torch.Tensor, order: tuple[int, ...], axis: Axis) -> torch.Tensor:
    """The value with its channel axes last and merged into one."""
    count = len(axis) if isinstance(axis, tuple) else 1
    return x.permute(order).flatten(x.ndim - count)


def restored(x: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """What `flattened` gave, in the shape it was made from."""
    return x.reshape([SHAPE[place] for place in order]).permute([order.index(place) for place in range(len(order))])


@pytest.mark.parametrize("case", TUPLES)
@pytest.mark.parametrize("timesteps", [1, 3])
def test_uniform_populations(case: str, timesteps: int) -> None:
    axis, order = TUPLES[case]
    x = torch.randn(SHAPE)
    flat = flattened(x, order, axis)
    step, decay, leak = (torch.rand(flat.shape[-1]) + low for low in (0.1, 0.5, 0.0))
    options = {"levels": 3, "negative": 2, "reset": "subtract"}
    whole = run_uniform(x, step, step / 3, decay, leak, axis=axis, timesteps=timesteps, **options)
    assert torch.equal(whole, restored(run_uniform(flat, step, step / 3, decay, leak, axis=-1, timesteps=timesteps, **options), order))
    size = len(x) // timesteps
    v = init_uniform(x[:size], step / 3, axis=axis)
    for t, x_t in enumerate(x.split(size)):
        o, v = advance_uniform(x_t, v, step, decay, leak, axis=axis, **options)
        assert torch.equal(o, whole[t * size : (t + 1) * size])


@pytest.mark.parametrize("case", TUPLES)
@pytest.mark.parametrize("timesteps", [1, 3])
def test_tables(case: str, timesteps: int) -> None:
    axis, order = TUPLES[case]
    x = torch.randn(SHAPE)
    flat = flattened(x, order, axis)
    thresholds, values = torch.randn(flat.shape[-1], 7).sort(1).values, torch.randn(flat.shape[-1], 8)
    index = index_table(thresholds, values)
    assert index is not None
    whole = run_table(x, thresholds, values, axis=axis, timesteps=timesteps)
    assert torch.equal(whole, restored(run_table(flat, thresholds, values, axis=-1, timesteps=timesteps), order))
    assert torch.equal(whole, run_table(x, thresholds, values, axis=axis, timesteps=timesteps, lookup=index))
    assert torch.equal(look_up(x, index, axis), read_table(x, thresholds, values, axis))
    size = len(x) // timesteps
    state = init_table(x[:size])
    for t, x_t in enumerate(x.split(size)):
        o, state = advance_table(x_t, state, thresholds, values, axis=axis)
        assert torch.equal(o, whole[t * size : (t + 1) * size])


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(4)), st.integers(0, 4))
def test_rows_of_channels_and_back(places: list[int], count: int) -> None:
    x = torch.arange(360).view(SHAPE)
    axis = tuple(sorted(places[:count])) or None
    rows = by_channel(x, axis)
    assert torch.equal(from_channels(rows, axis, x), x)
    kept = [size if place in (axis or ()) else 1 for place, size in enumerate(SHAPE)]
    assert rows.shape == (torch.Size(kept).numel(), 360 // torch.Size(kept).numel())
    named = torch.arange(rows.shape[0]).view(kept).expand(SHAPE)  # the channel that each value belongs to
    assert torch.equal(by_channel(named, axis), torch.arange(rows.shape[0])[:, None].expand_as(rows))


def test_a_parameter_lies_along_its_channels_the_later_axis_running_fastest() -> None:
    like = torch.zeros(2, 3, 5, 2, dtype=torch.float64)
    parameter = torch.arange(6)
    spread = along(parameter, (1, 3), like)
    assert spread.dtype == torch.float64
    assert spread.tolist() == [[[[0, 1]], [[2, 3]], [[4, 5]]]]
    assert torch.equal(along(parameter[:3], 1, like).flatten(), torch.arange(3.0).double())
    assert along(torch.tensor(0.5), (1, 3), like).ndim == 0
