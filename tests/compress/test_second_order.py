"""Second-order rounding: better than rounding to the nearest, never worse by going on, optimal where that can be tried out."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.compress.second_order import damped, error, in_turn, inverse_factor, revisited, settle


def layer(seed: int, groups: int = 1, outputs: int = 6, inputs: int = 12) -> tuple[Tensor, Tensor]:
    """Weights, and the second moments of inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(groups, inputs, inputs, generator=generator)
    x = torch.randn(groups, 400, inputs, generator=generator) @ mixed
    return torch.randn(groups, outputs, inputs, generator=generator), x.transpose(1, 2) @ x / 400


def halves(values: Tensor, columns: Tensor) -> Tensor:
    """The nearest multiples of a half."""
    return (values * 2).round() / 2


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_it_is_better_than_the_nearest_and_allowed(seed: int, groups: int) -> None:
    weight, curvature = layer(seed, groups)
    found = settle(weight, curvature, halves)
    assert torch.equal(found, halves(found, torch.arange(12)))
    assert float(error(weight, found, curvature).sum()) < 0.8 * float(error(weight, halves(weight, torch.arange(12)), curvature).sum())


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_going_on_never_makes_it_worse(seed: int) -> None:
    weight, curvature = layer(seed)
    c = damped(curvature)
    found = in_turn(weight, inverse_factor(c), halves)
    for _ in range(4):
        after = revisited(found, weight, c, halves)
        assert bool((error(weight, after, c) <= error(weight, found, c) * (1 + 1e-4) + 1e-4).all())
        found = after


def test_it_is_the_best_there_is_where_all_can_be_tried() -> None:
    """Ternary weights of four inputs: 81 of them; the mean loss over the best is a few percent."""
    signs = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=4)))
    lost, least = 0.0, 0.0
    for seed in range(40):
        weight, curvature = layer(seed, outputs=1, inputs=4)
        found = settle(weight, curvature, lambda v, _: v.round().clamp(-1, 1))
        lost += float(error(weight, found, curvature))
        every = torch.stack([error(weight, sign[None, None], curvature).flatten() for sign in signs])
        least += float(every.min())
    assert least <= lost < 1.25 * least


def test_columns_that_must_be_zero_are_made_good_by_the_others() -> None:
    weight, curvature = layer(3)
    kept = torch.arange(12) % 3 > 0
    found = settle(weight, curvature, lambda v, columns: v * kept[columns])
    free = torch.nonzero(kept).flatten()
    # what least squares gives the columns that stay
    c = damped(curvature)[0]
    exact = torch.zeros_like(weight[0])
    exact[:, free] = torch.linalg.solve(c[free][:, free], c[free] @ weight[0].T).T
    assert bool((found[..., ~kept] == 0).all())
    zeroed = float(error(weight, weight * kept, curvature).sum())
    least, lost = (float(error(weight, each, curvature).sum()) for each in (exact[None], found))
    assert lost < 1.1 * least < zeroed


@pytest.mark.parametrize("inputs", [1, 127, 128, 300])
def test_blocks_do_not_show(inputs: int) -> None:
    weight, curvature = layer(1, outputs=3, inputs=inputs)
    identity = settle(weight, curvature, lambda v, _: v)
    torch.testing.assert_close(identity, weight)


def test_an_input_that_is_never_active_takes_the_nearest() -> None:
    weight, curvature = layer(2)
    curvature[:, 5] = curvature[:, :, 5] = 0
    assert torch.equal(settle(weight, curvature, halves)[..., 5], halves(weight, torch.arange(12))[..., 5])
