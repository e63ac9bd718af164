"""Least squares against numpy: a planted change is recovered, ridge is ridge, and held-out samples are never served worse."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.calibrate.solve import RIDGES, best, remaining, solution
from spikeloom.simulate import Moments, add, empty, merge


def moments(x: Tensor, r: Tensor) -> Moments:
    """Moments of x [G, n, I] and residuals r [G, n, O]."""
    made = empty(x.shape[0], x.shape[2], r.shape[2])
    add(made, x, r)
    return made


def planted(n: int, groups: int = 2, inputs: int = 5, outputs: int = 3, noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, r = ΔW x + Δb + noise, and the ΔW [G, O, I] and Δb [G, O] that were planted."""
    x = torch.randn(groups, n, inputs) + 0.5
    change, shift = torch.randn(groups, outputs, inputs), torch.randn(groups, outputs)
    return x, x @ change.transpose(1, 2) + shift[:, None] + noise * torch.randn(groups, n, outputs), change, shift


def test_a_planted_change_is_recovered() -> None:
    x, r, change, shift = planted(400)
    found, moved, ridge = best(moments(x[:, :200], r[:, :200]), moments(x[:, 200:], r[:, 200:]))
    assert ridge == min(RIDGES)
    torch.testing.assert_close(found.float(), change, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved.float(), shift, atol=5e-3, rtol=0)


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_solution_is_numpys_ridge_regression_on_centred_data(ridge: float) -> None:
    x, r, _, _ = planted(60, noise=0.3)
    change, shift = solution(moments(x, r), ridge)
    for group in range(2):
        a, b = x[group].double().numpy(), r[group].double().numpy()
        centred, target = a - a.mean(0), b - b.mean(0)
        power = (centred**2).mean()
        rows = np.concatenate([centred, np.sqrt((ridge * power + 1e-9) * len(a)) * np.eye(5)])
        expected = np.linalg.lstsq(rows, np.concatenate([target, np.zeros((5, 3))]), rcond=None)[0].T
        np.testing.assert_allclose(change[group].numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(shift[group].numpy(), b.mean(0) - expected @ a.mean(0), atol=1e-5)


def test_an_infinite_ridge_is_the_mean_shift() -> None:
    x, r, _, _ = planted(60)
    change, shift = solution(moments(x, r), None)
    assert not change.any()
    torch.testing.assert_close(shift.float(), r.mean(1), atol=1e-5, rtol=1e-5)


def test_what_remains_is_the_mean_square_over_the_samples() -> None:
    x, r, _, _ = planted(50, noise=0.5)
    change, shift = torch.randn(2, 3, 5).double(), torch.randn(2, 3).double()
    left = r.double() - x.double() @ change.transpose(1, 2) - shift[:, None]
    assert remaining(moments(x, r), change, shift) == pytest.approx(float(left.square().sum(2).mean(1).sum()), rel=1e-5)


def test_moments_add_up_whatever_the_batches() -> None:
    x, r, _, _ = planted(63)
    whole, streamed = moments(x, r), empty(2, 5, 3)
    for a, b in zip(x.split(10, 1), r.split(10, 1), strict=True):
        add(streamed, a, b)
    both = moments(x[:, :20], r[:, :20])
    merge(both, moments(x[:, 20:], r[:, 20:]))
    for other in (streamed, both):
        assert other.count == whole.count == 63
        for name in ("x", "r", "xx", "rx", "rr"):
            torch.testing.assert_close(getattr(other, name), getattr(whole, name), atol=1e-4, rtol=1e-5)


def test_no_samples_change_nothing() -> None:
    change, shift, ridge = best(empty(2, 5, 3), empty(2, 5, 3))
    assert ridge is None
    assert not change.any()
    assert not shift.any()


@given(st.integers(0, 2**31), st.integers(2, 40), st.floats(0, 3))
@settings(deadline=None, max_examples=40)
def test_held_out_samples_are_never_served_worse_than_by_the_mean_shift(seed: int, half: int, noise: float) -> None:
    torch.manual_seed(seed)
    x, r, _, _ = planted(2 * half, noise=noise)
    first, second = moments(x[:, :half], r[:, :half]), moments(x[:, half:], r[:, half:])
    _, _, ridge = best(deepcopy(first), second)

    def held_out(value: float | None) -> float:
        return remaining(second, *solution(first, value)) + remaining(first, *solution(second, value))

    assert held_out(ridge) <= held_out(None)
    assert held_out(ridge) == min(held_out(value) for value in (*RIDGES, None))


def test_pure_noise_leaves_the_weights_alone() -> None:
    torch.manual_seed(1)
    x, r = torch.randn(1, 40, 30), torch.randn(1, 40, 4)
    change, _, ridge = best(moments(x[:, :20], r[:, :20]), moments(x[:, 20:], r[:, 20:]))
    assert ridge is None or ridge >= 3.0
    assert float(change.norm()) < 1.0


@pytest.mark.parametrize("case", ["constant input", "twin inputs", "fewer samples than weights", "dead input"])
def test_inputs_that_say_too_little_give_small_finite_changes(case: str) -> None:
    x, r, _, _ = planted(8 if case == "fewer samples than weights" else 200, inputs=12, noise=0.1)
    if case == "constant input":
        x[:, :, 3] = 7.0
    if case == "twin inputs":
        x[:, :, 3] = x[:, :, 4]
    if case == "dead input":
        x[:, :, 3] = 0.0
    half = x.shape[1] // 2
    change, shift, ridge = best(moments(x[:, :half], r[:, :half]), moments(x[:, half:], r[:, half:]))
    assert bool(torch.isfinite(change).all())
    assert bool(torch.isfinite(shift).all())
    whole = moments(x, r)
    assert remaining(whole, change, shift) <= remaining(whole, *solution(whole, None)) * (1 + 1e-9)
    if case in ("constant input", "dead input"):
        assert float(change[:, :, 3].abs().max()) < 1e-3
    if case == "twin inputs":
        torch.testing.assert_close(change[:, :, 3], change[:, :, 4], atol=1e-3, rtol=0)
    assert ridge in (*RIDGES, None)
