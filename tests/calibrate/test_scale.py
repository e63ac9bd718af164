"""Steps against brute force: maximum, percentile, the best of many, and the fixed point of H-MT on what it assumes."""

import pytest
import torch
from torch import Tensor

from spikeloom.calibrate.scale import hmt_step, maximum_step, mse_step, percentile_step, quantised

DISTRIBUTIONS = {
    "normal": lambda g: torch.randn(20_000, generator=g),
    "shifted": lambda g: 0.3 * torch.randn(20_000, generator=g) - 0.2,
    "heavy": lambda g: torch.randn(20_000, generator=g) ** 3,
    "sparse": lambda g: torch.randn(20_000, generator=g).relu() * (torch.rand(20_000, generator=g) < 0.05),
    "uniform": lambda g: torch.rand(20_000, generator=g) * 2 - 1,
    "far": lambda g: 50 + torch.randn(20_000, generator=g),
}


def drawn(name: str) -> Tensor:
    """[1, n] samples, every one a bin of weight one."""
    return DISTRIBUTIONS[name](torch.Generator().manual_seed(3))[None]


def loss(z: Tensor, target: Tensor, step: Tensor, levels: int, negative: int) -> float:
    return float((target - quantised(z, step[:, None], levels, negative)).double().square().mean())


def test_quantised_rounds_half_up_and_clips_on_both_sides() -> None:
    z = torch.tensor([-9.0, -0.75, -0.25, 0.0, 0.24, 0.25, 0.7, 9.0])
    assert quantised(z, torch.tensor(0.5), 2, 1).tolist() == [-0.5, -0.5, 0.0, 0.0, 0.0, 0.5, 0.5, 1.0]


def test_the_maximum_is_shared_among_the_levels_and_empty_bins_do_not_count() -> None:
    values = torch.tensor([[0.5, 3.0, -6.0], [1.0, 2.0, 9.0]])
    weights = torch.tensor([[1.0, 1.0, 1.0], [5.0, 1.0, 0.0]])
    assert maximum_step(values, weights, 4).tolist() == [1.5, 0.5]


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9, 100.0])
@pytest.mark.parametrize("name", ["normal", "heavy", "sparse"])
def test_the_percentile_is_that_of_all_values(name: str, percent: float) -> None:
    z = drawn(name)
    share = -(-percent * z.numel() // 100) / z.numel()
    order = z.abs().flatten().sort().values
    assert percentile_step(z, torch.ones_like(z), 7, percent).item() == pytest.approx(order[round(share * z.numel()) - 1].item() / 7)


def test_the_percentile_counts_with_the_bins_weights() -> None:
    values, weights = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[98.0, 1.0, 1.0]])
    assert [percentile_step(values, weights, 1, p).item() for p in (98.0, 99.0, 99.5)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("negative", [0, 7])
@pytest.mark.parametrize("levels", [1, 7, 31])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_step_of_five_hundred_serves_better(name: str, levels: int, negative: int) -> None:
    z = drawn(name)
    negative = levels if negative else 0
    target = z if negative else z.relu()
    step = mse_step(z, target, torch.ones_like(z), levels, negative)
    top = target.abs().max() / levels
    best = min(loss(z, target, top * share, levels, negative) for share in torch.linspace(0.002, 1.1, 500)[:, None])
    assert loss(z, target, step, levels, negative) <= 1.01 * best + 1e-12


def test_groups_get_steps_of_their_own() -> None:
    z = torch.cat([drawn("normal"), drawn("heavy"), drawn("sparse")])
    together = mse_step(z, z.relu(), torch.ones_like(z), 7, 0)
    alone = [mse_step(row[None], row[None].relu(), torch.ones_like(row[None]), 7, 0).item() for row in z]
    assert together.tolist() == pytest.approx(alone)


def gain(z: Tensor, target: Tensor, step: Tensor, levels: int, negative: int) -> float:
    """k(s) of H-MT from samples: what the emitted levels must be multiplied by to fit the target best."""
    n = quantised(z, step[:, None], levels, negative) / step[:, None]
    return float((target * n).sum() / (step * n.square().sum()))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("levels", [1, 3, 7, 15])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7), (0.8, 0.4), (3.0, 0.5)])
def test_the_closed_form_ends_where_levels_need_no_correction(mean: float, std: float, levels: int, negative: bool) -> None:
    z = mean + std * torch.randn(1, 400_000, generator=torch.Generator().manual_seed(1))
    below = levels if negative else 0
    target = z if negative else z.relu()
    step = hmt_step(torch.tensor([mean]), torch.tensor([std]), levels, below)
    assert gain(z, target, step, levels, below) == pytest.approx(1.0, abs=0.01)
    best = mse_step(z, target, torch.ones_like(z), levels, below)
    assert loss(z, target, step, levels, below) <= 1.1 * loss(z, target, best, levels, below) + 1e-9


def test_the_closed_form_of_a_constant_reproduces_it() -> None:
    step = hmt_step(torch.tensor([2.0]), torch.tensor([0.0]), 4, 0)
    assert quantised(torch.tensor([2.0]), step, 4, 0).item() == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("negative", [0, 7])
def test_dead_groups_keep_every_method_finite(negative: int) -> None:
    z, zeros = torch.full((1, 16), -1.0), torch.zeros(1, 16)
    for step in (
        maximum_step(zeros, torch.ones(1, 16), 7),
        percentile_step(zeros, torch.ones(1, 16), 7, 99.9),
        mse_step(z, zeros, torch.ones(1, 16), 7, negative),
        hmt_step(torch.tensor([-1.0]), torch.tensor([0.01]), 7, negative),
    ):
        assert bool(torch.isfinite(step).all())
        assert float(step) >= 0.0
