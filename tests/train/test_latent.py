"""Latent parameters: they begin at the tensor, any step leaves one that the network may have, and gradients are those that are meant."""

import pytest
import torch
from torch import Tensor

from spikeloom.ir import Grid, Quantised, grid_named, quantised, read
from spikeloom.train.latent import Decay, Free, Latent, OnGrid, Scale, Share, best_scale, rows_of, typical

WEIGHT = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
STEP = torch.tensor([0.1, 0.2, 0.4])


def started(latent: Latent) -> list[Tensor]:
    return [value.clone().requires_grad_() for value, _ in latent.start()]


def on_grid(kind: str, zero: bool = False) -> Quantised:
    grid = grid_named(kind)
    scale = torch.rand(6, 1, generator=torch.Generator().manual_seed(1)) + 0.5
    zeros = torch.tensor([[1], [0], [-1], [0], [1], [0]], dtype=torch.int8) if zero else None
    codes = torch.randint(grid.low, grid.high + 1, WEIGHT.shape, generator=torch.Generator().manual_seed(2), dtype=torch.int8)
    return quantised(codes, scale, grid, zeros)


@pytest.mark.parametrize(
    "latent",
    [
        Free("w", "weights", WEIGHT),
        Scale("s", "steps", STEP),
        Scale("h", "heights", torch.tensor([0.0, 0.3, -0.2])),
        Share("v", "v0", STEP / 2, STEP, "s"),
        Decay("a", "decay", torch.tensor([1.0, 0.9])),
        OnGrid("w", "weights", on_grid("ternary"), grid_named("ternary")),
        OnGrid("w", "weights", on_grid("8", zero=True), grid_named("8")),
        OnGrid("w", "weights", on_grid("4"), grid_named("4"), pruned=True),
    ],
)
def test_begins_at_the_tensor(latent: Latent) -> None:
    value = latent.value(started(latent), {"s": STEP})
    assert torch.allclose(value, read(latent.tensor), atol=1e-6)  # type: ignore[attr-defined]
    assert value.requires_grad


def test_steps_stay_positive_and_heights_keep_sign_and_zero() -> None:
    latent = Scale("h", "heights", torch.tensor([0.0, 0.3, -0.2]))
    value = latent.value([torch.tensor([5.0, -40.0, 3.0])], {})
    assert value.sign().tolist() == [0.0, 1.0, -1.0]


def test_an_initial_potential_follows_its_step() -> None:
    latent = Share("v", "v0", STEP / 2, STEP, "s")
    assert torch.allclose(latent.value([value for value, _ in latent.start()], {"s": 3 * STEP}), 1.5 * STEP)


def test_a_decay_is_held_between_0_and_1() -> None:
    raw = [torch.tensor([1.2, 0.5, -0.1])]
    Decay("a", "decay", torch.ones(3)).confine_(raw)
    assert raw[0].tolist() == [1.0, 0.5, 0.0]


def test_zeros_of_a_pruned_weight_stay() -> None:
    weight = WEIGHT * (WEIGHT.abs() > 0.7)
    for latent in (Free("w", "weights", weight, pruned=True), OnGrid("w", "weights", weight, grid_named("ternary"), pruned=True)):
        raw = started(latent)
        with torch.no_grad():
            raw[0].add_(1.0)
        value = latent.value(raw, {})
        assert torch.equal(value == 0, weight == 0) or bool((value[weight == 0] == 0).all())
        value.sum().backward()
        assert bool((read(latent.stored(raw, {}))[weight == 0] == 0).all())


def test_rounding_passes_gradients_straight_through() -> None:
    latent = OnGrid("w", "weights", WEIGHT, grid_named("ternary"))
    u, sigma = started(latent)
    value = latent.value([u, sigma], {})
    pull = torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(3))
    (value * pull).sum().backward()
    scale = sigma.detach().exp()[..., None]
    assert torch.allclose(u.grad, (pull.view(u.shape) * scale))
    assert torch.allclose(sigma.grad, (value.detach() * pull).view(u.shape).sum(2), atol=1e-5)


@pytest.mark.parametrize("kind", ["ternary", "4", "8"])
@pytest.mark.parametrize("group", [None, 9])
def test_what_is_stored_is_what_was_trained(kind: str, group: int | None) -> None:
    latent = OnGrid("w", "weights", WEIGHT, grid_named(kind, group))
    raw = started(latent)
    with torch.no_grad():
        raw[0].add_(torch.randn(raw[0].shape, generator=torch.Generator().manual_seed(4)))
        latent.confine_(raw)
    stored = latent.stored(raw, {})
    assert isinstance(stored, Quantised)
    assert stored.scale.shape == (6, 1 if group is None else 4)
    assert torch.allclose(stored.numbers(), latent.value(raw, {}), atol=1e-6)
    low, high = latent.grid.low, latent.grid.high
    assert int(stored.codes().min()) >= low
    assert int(stored.codes().max()) <= high
    u = raw[0].detach()
    assert float(u.max()) <= high + 0.5
    assert float(u.min()) >= low - 0.5


def test_the_zero_point_stays() -> None:
    weight = on_grid("8", zero=True)
    latent = OnGrid("w", "weights", weight, weight.grid)
    raw = started(latent)
    with torch.no_grad():
        raw[0].add_(300.0)
    stored = latent.stored(raw, {})
    assert isinstance(stored, Quantised)
    assert torch.equal(stored.zero, weight.zero)
    assert int(stored.codes().max()) == 127
    assert torch.allclose(stored.numbers(), latent.value(raw, {}), atol=1e-4)


def test_the_first_ternary_scale_is_the_best_there_is() -> None:
    rows = rows_of(WEIGHT, Grid(-1, 1), shared=False)
    scale = best_scale(rows, Grid(-1, 1))
    for row, found in zip(rows[:, 0], scale[:, 0], strict=True):
        sizes = row.abs().sort(descending=True).values
        best = max((float(sizes[:k].sum()) ** 2 / k, float(sizes[:k].mean())) for k in range(1, len(sizes) + 1))
        lost = float((row - (row / found).round().clamp(-1, 1) * found).square().sum())
        assert lost <= 1.01 * (float(row.square().sum()) - best[0])


def test_a_transposed_layer_shares_one_scale() -> None:
    assert rows_of(WEIGHT, Grid(-1, 1), shared=True).shape == (1, 1, WEIGHT.numel())


def test_weights_of_zero_have_a_scale() -> None:
    latent = OnGrid("w", "weights", torch.zeros(2, 3), Grid(-1, 1))
    assert bool(torch.isfinite(latent.start()[1][0]).all())
    assert torch.equal(latent.value(started(latent), {}), torch.zeros(2, 3))


def test_typical_sizes() -> None:
    assert typical(torch.tensor([0.0, 3.0, -3.0])) == 3.0
    assert typical(torch.zeros(3)) == 1.0
