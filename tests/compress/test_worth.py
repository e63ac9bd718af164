"""Worth: what least squares loses without a connection, or without a channel, is what second order says; layers compare by what is left."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.compress import worth
from spikeloom.compress.second_order import error
from spikeloom.compress.worth import channel_worth, refitted, relative, worth_of


def layer(seed: int, groups: int = 1, outputs: int = 3, inputs: int = 8) -> tuple[Tensor, Tensor]:
    """Weights, and the covariance of inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, 300, inputs, generator=generator) @ torch.randn(groups, inputs, inputs, generator=generator)
    return torch.randn(groups, outputs, inputs, generator=generator), x.transpose(1, 2) @ x / 300 + 0.01 * torch.eye(inputs)


def least(weight: Tensor, curvature: Tensor, kept: Tensor) -> Tensor:
    """The weights [o, i] that lose least with zeros elsewhere, row by row."""
    found = torch.zeros_like(weight).double()
    w, c = weight.double(), curvature.double()
    for row, mask in enumerate(kept):
        found[row, mask] = torch.linalg.solve(c[mask][:, mask], c[mask] @ w[row])
    return found.to(weight)


@given(st.integers(0, 10_000), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_weights_that_stay_are_those_of_least_squares(seed: int, groups: int) -> None:
    weight, curvature = layer(seed, groups)
    kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) > 0.4
    found, power = refitted(weight, curvature, kept)
    for g in range(groups):
        torch.testing.assert_close(found[g], least(weight[g], curvature[g], kept[g]), rtol=2e-3, atol=2e-3)
    assert bool((found[~kept] == 0).all())
    assert bool((power[~kept] == 0).all())


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_second_order_worth_is_what_is_lost_without_the_connection(seed: int) -> None:
    weight, curvature = layer(seed)
    kept = torch.ones_like(weight, dtype=torch.bool)
    kept[0, 1, 4:] = False
    best, power = refitted(weight, curvature, kept)
    told = worth_of(best, power, curvature, "second_order")
    before = error(weight, best, curvature)
    for row, column in ((0, 0), (1, 2), (2, 7)):
        without = kept.clone()
        without[0, row, column] = False
        after = error(weight, refitted(weight, curvature, without)[0], curvature)
        torch.testing.assert_close(told[0, row, column], (after - before)[0, row], rtol=2e-2, atol=1e-3)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_channel_is_worth_what_is_lost_without_all_its_taps(seed: int) -> None:
    weight, curvature = layer(seed, inputs=6)
    told = channel_worth(weight, curvature, taps=2)
    whole = float(((weight @ curvature) * weight).sum())
    for channel in range(3):
        kept = torch.ones_like(weight, dtype=torch.bool)
        kept[..., 2 * channel : 2 * channel + 2] = False
        lost = float(error(weight, refitted(weight, curvature, kept)[0], curvature).sum())
        assert float(told[channel]) == pytest.approx(lost / whole, rel=2e-2, abs=1e-4)


def test_layers_too_large_for_inverses_of_each_output_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, curvature = layer(5, outputs=4)
    kept = torch.arange(8).expand_as(weight) % 3 > 0
    exact, _ = refitted(weight, curvature, kept)
    monkeypatch.setattr(worth, "EXACT", 0.0)
    near, power = refitted(weight, curvature, kept)
    assert bool((near[~kept] == 0).all())
    assert bool(((power > 0) == kept).all())
    assert float(error(weight, near, curvature).sum()) < 1.1 * float(error(weight, exact, curvature).sum())


def test_firing_and_magnitude() -> None:
    weight, curvature = layer(1)
    _, power = refitted(weight, curvature, torch.ones_like(weight, dtype=torch.bool))
    torch.testing.assert_close(worth_of(weight, power, curvature, "firing"), weight.square() * curvature[0].diagonal())
    told = worth_of(weight, power, curvature, "magnitude")
    assert float(told.mean()) == pytest.approx(1.0)
    assert bool((told.flatten().argsort() == weight.abs().flatten().argsort()).all())


def test_the_share_of_what_would_be_left() -> None:
    torch.testing.assert_close(relative(torch.tensor([1.0, 3.0, 4.0, 0.0])).float(), torch.tensor([1 / 8, 3 / 7, 1.0, 0.0]))


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=20), st.floats(0.01, 100.0))
@settings(deadline=None)
def test_scale_plays_no_part_and_the_last_weight_has_one(values: list[int], scale: float) -> None:
    # whole numbers: floats a last bit apart can become equal when scaled, and the order of equals decides what is left
    told = relative(torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(told, relative(scale * torch.tensor(values, dtype=torch.float64)))
    assert float(told.max()) == 1.0
