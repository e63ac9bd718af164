"""Changes of weights on grids: right in the mean, never off the grid, chance from the generator; what is carried over loses nothing."""

import pytest
import torch
from tests.plasticity.trains import generator

from spikeloom.errors import ConfigError
from spikeloom.ir import Grid, grid_named, quantised
from spikeloom.plasticity import Residual, changed_at_random, in_steps, moved_at_random, round_at_random


def test_rounding_is_right_in_the_mean_and_leaves_whole_numbers() -> None:
    x = torch.tensor([-1.3, -0.01, 0.0, 0.25, 0.5, 2.9, 4.0], dtype=torch.float64)
    drawn = round_at_random(x.expand(40000, 7).contiguous(), generator())
    assert torch.equal(drawn, drawn.round())
    assert (drawn - x).abs().max() < 1
    error = (drawn.mean(0) - x).abs()
    assert (error <= 4 * (x - x.floor()).sub(0.5).square().sub(0.25).neg().clamp_min(0).sqrt() / 200 + 1e-12).all()  # 4 standard errors


@pytest.mark.parametrize("name", ["ternary", "4", "8"])
def test_many_small_changes_add_up_on_every_grid_and_stop_at_its_ends(name: str) -> None:
    grid, g = grid_named(name), generator()
    codes = torch.zeros(50000, dtype=torch.int8)
    reach = 0.8 * grid.high
    for _ in range(8):
        codes = moved_at_random(codes, torch.full((50000,), reach / 8), grid, g)
    if name != "ternary":  # the ends of a ternary grid are near: some are cut off there
        assert float(codes.double().mean()) == pytest.approx(reach, rel=0.01)
    for _ in range(300):
        codes = moved_at_random(codes, torch.full((50000,), 0.7), grid, g)
    assert codes.eq(grid.high).all()
    assert moved_at_random(codes, torch.full((50000,), -1000.0), grid, g).eq(grid.low).all()


def test_a_ternary_weight_turns_with_the_chance_of_the_change() -> None:
    grid = Grid(-1, 1)
    codes = moved_at_random(torch.zeros(100000, dtype=torch.int8), torch.full((100000,), 0.03), grid, generator())
    assert set(codes.unique().tolist()) == {0, 1}
    assert float(codes.double().mean()) == pytest.approx(0.03, rel=0.06)


def test_chance_is_the_generators_alone() -> None:
    codes, steps = torch.zeros(1000, dtype=torch.int8), torch.full((1000,), 0.5)
    one, same, other = (moved_at_random(codes, steps, Grid(-8, 7), generator(seed)) for seed in (0, 0, 1))
    torch.manual_seed(5)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert codes.eq(0).all()


def test_a_quantised_weight_moves_by_its_own_scales() -> None:
    """Two rows, two groups of inputs each: the same change is another number of steps in each, and the mean weight moves by it."""
    codes = torch.zeros(2, 2000, dtype=torch.int8)
    weight = quantised(codes, torch.tensor([[0.1, 0.2], [0.4, 0.8]]), Grid(-128, 127, 1000))
    change = torch.full((2, 2000), 0.05)
    steps = in_steps(weight, change)
    torch.testing.assert_close(steps[:, ::1000], torch.tensor([[0.5, 0.25], [0.125, 0.0625]]))
    g, moved = generator(), weight
    for _ in range(20):
        moved = changed_at_random(moved, change, g)
    assert moved.grid == weight.grid
    assert torch.equal(moved.scale, weight.scale)
    torch.testing.assert_close(moved.numbers().view(2, 2, 1000).mean(2), torch.ones(2, 2), rtol=0.04, atol=0)
    assert weight.codes().eq(0).all()
    with pytest.raises(ConfigError, match="does not fit"):
        in_steps(weight, torch.zeros(2, 3))


def test_zero_points_stay_where_they_are() -> None:
    zero = torch.tensor([[3], [-2]], dtype=torch.int8)
    weight = quantised(torch.zeros(2, 4, dtype=torch.int8), torch.full((2, 1), 0.5), Grid(-8, 7), zero)
    moved = changed_at_random(weight, torch.ones(2, 4), generator())
    torch.testing.assert_close(moved.numbers() - weight.numbers(), torch.ones(2, 4))


def test_what_is_carried_over_loses_nothing() -> None:
    g, rule = generator(), Residual(Grid(-128, 127))
    state = rule.init(torch.zeros(40, dtype=torch.int8), torch.zeros(1, dtype=torch.float64))
    total = torch.zeros(40, dtype=torch.float64)
    for _ in range(200):
        steps = 0.6 * torch.randn(40, generator=g, dtype=torch.float64)
        state, total = rule.step(state, steps), total + steps
        assert state.fraction.abs().max() <= 0.5
    torch.testing.assert_close(state.codes + state.fraction, total)


def test_a_bound_stops_and_does_not_store() -> None:
    rule = Residual(Grid(-1, 1))
    state = rule.init(torch.ones(1, dtype=torch.int8))
    for _ in range(50):
        state = rule.step(state, torch.ones(1))
    assert state.codes.tolist() == [1]
    assert state.fraction.tolist() == [0.5]
    assert rule.step(state, torch.full((1,), -1.1)).codes.tolist() == [0]


def test_codes_off_the_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="not on their grid"):
        Residual(Grid(-1, 1)).init(torch.tensor([2], dtype=torch.int8))
