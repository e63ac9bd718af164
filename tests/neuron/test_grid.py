"""Tables on a grid: thresholds hardly move, the cell alone gives the value, and nothing differs from a search, to the last bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.neuron import index_table, look_up, on_grid, read_table
from spikeloom.neuron.grid import PIECE


def around(thresholds: Tensor) -> Tensor:
    """Inputs at, just below and just above every threshold, between them, and far off: [n, C]."""
    table = torch.atleast_2d(thresholds).T
    ends = torch.full_like(table, torch.inf)
    finite = torch.where(table.isfinite(), table, 0.0)
    near = torch.cat([finite, finite.nextafter(ends), finite.nextafter(-ends), finite + 1e-3])
    return torch.cat(
        [near, torch.randn(300, table.shape[1]) * 3, torch.full((1, table.shape[1]), -1e30), torch.full((1, table.shape[1]), 1e30)]
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 3e4]), st.sampled_from([0.0, 1.0, 50.0]))
def test_what_is_moved_is_on_a_grid_and_reads_as_a_search_does(k: int, channels: int, seed: int, scale: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    thresholds = (torch.randn(channels, k, generator=generator).sort(-1).values + offset) * scale
    values = torch.randn(channels, k + 1, generator=generator)
    moved = on_grid(thresholds)
    assert bool((moved.diff(dim=1) >= 0).all())
    index = index_table(moved, values)
    if index is not None:
        h = around(moved)
        assert torch.equal(look_up(h, index, 1), read_table(h, moved, values, 1))
        if not torch.equal(moved, thresholds):
            assert index.splits is None


def test_evenly_spread_thresholds_need_no_comparison_and_move_by_a_tenth_at_most() -> None:
    thresholds = torch.linspace(-1.2345, 2.3456, 31)
    moved = on_grid(thresholds)
    gap = float(thresholds.diff().min())
    assert 0 < float((moved - thresholds).abs().max()) <= 0.1 * gap
    index = index_table(moved, torch.arange(32.0))
    assert index is not None
    assert index.splits is None
    assert index.heights.shape[1] <= 1024


def test_moving_twice_moves_nothing() -> None:
    moved = on_grid(torch.randn(6, 15).sort(-1).values)
    assert torch.equal(on_grid(moved), moved)


def test_padding_stays_and_is_never_reached() -> None:
    thresholds = torch.tensor([[0.013, 1.0, torch.inf], [torch.inf, torch.inf, torch.inf]])
    moved, values = on_grid(thresholds), torch.tensor([[1.0, 2.0, 3.0, 99.0], [7.0, 99.0, 99.0, 99.0]])
    assert moved.isinf().tolist() == thresholds.isinf().tolist()
    index = index_table(moved, values)
    assert index is not None
    assert index.splits is None
    assert look_up(torch.tensor([[-5.0, -5.0], [0.5, 0.5], [1e9, 1e9]]), index, 1).tolist() == [[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]]


@pytest.mark.parametrize("thresholds", [[0.0, 1e-9, 1.0], [1e8, 1e8 + 8, 1e8 + 16]])
def test_thresholds_that_would_move_too_far_stay(thresholds: list[float]) -> None:
    given = torch.tensor(thresholds)
    assert torch.equal(on_grid(given), given)


@pytest.mark.parametrize(
    ("shape", "channels", "axis"), [((3, 300, 200), 1, 1), ((2, 4, 200, 100), 4, 1), ((700, 130), 130, 1), ((5, 90, 200), 90, 1)]
)
def test_large_inputs_are_read_piece_by_piece_and_give_the_same(shape: tuple[int, ...], channels: int, axis: int) -> None:
    generator = torch.Generator().manual_seed(3)
    thresholds = on_grid(torch.linspace(-2, 2, 15) * (0.5 + torch.rand(channels, 1, generator=generator)))
    values = torch.randn(channels, 16, generator=generator)
    index, h = index_table(thresholds, values), torch.randn(shape, generator=generator)
    assert index is not None
    assert h.numel() > PIECE
    expected = read_table(h, thresholds, values, axis) if channels > 1 else read_table(h, thresholds[0], values[0], axis)
    assert torch.equal(look_up(h, index, axis), expected)
    assert torch.equal(
        look_up(h.transpose(-1, -2), index, axis if axis < len(shape) - 2 else len(shape) - 2 + len(shape) - 1 - axis),
        expected.transpose(-1, -2),
    )
