"""The three-factor rule: equal to gradients where it should be, over time and over batches; its window gives the same sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plasticity.trains import generator
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.plasticity import ThreeFactor, Window, credits_of, feedback, psi_inside, windowed

Run = tuple[Tensor, Tensor, Tensor, Tensor]


def drawn(steps: int, batch: int, seed: int, signals: int = 1, inputs: int = 4, outputs: int = 3, ends: float = 0.2) -> Run:
    """pre, gain, signal [K, B, n] and fresh [K, B]."""
    g = generator(seed)
    pre, gain, signal = (torch.randn(steps, batch, n, generator=g, dtype=torch.float64) for n in (inputs, outputs, signals))
    return pre, gain, signal, torch.rand(steps, batch, generator=g) < ends


def online(rule: ThreeFactor, run: Run) -> Tensor:
    """The sum of the changes, step by step."""
    pre, gain, signal, fresh = run
    state, total = rule.init(pre.shape[1], pre.shape[2], gain.shape[2], pre), torch.zeros(gain.shape[2], pre.shape[2], dtype=pre.dtype)
    for row in zip(pre, gain, signal, fresh, strict=True):
        change, state = rule.step(state, *row)
        total = total + change
    return total


def by_hand(run: Run, decay: float, horizon: int) -> Tensor:
    """Σ_t Σ_{k ≤ t} decay^(t−k)·L[t]·g[k] ⊗ pre[k], where k and t are of one episode and less than `horizon` apart; a sum over b."""
    pre, gain, signal, fresh = run
    total = torch.zeros(gain.shape[2], pre.shape[2], dtype=pre.dtype)
    for b in range(pre.shape[1]):
        for t in range(len(pre)):
            for k in range(t, max(t - horizon, -1), -1):
                total += decay ** (t - k) * torch.outer(signal[t, b] * gain[k, b], pre[k, b])
                if fresh[k, b]:
                    break
    return total


def test_psi_is_one_in_the_cells_of_the_staircase() -> None:
    h = torch.tensor([-1.0, -0.01, 0.0, 0.49, 3.99, 4.0], dtype=torch.float64)
    assert psi_inside(h, 1.0, 3).tolist() == [0, 0, 1, 1, 1, 0]
    assert psi_inside(h, 1.0, 3, 1).tolist() == [1, 1, 1, 1, 1, 0]
    assert psi_inside(h, 0.5, 1).tolist() == [0, 0, 1, 1, 0, 0]
    with pytest.raises(ConfigError, match="no staircase"):
        psi_inside(h, 0.0, 3)


def test_at_one_step_it_is_minus_the_gradient_of_a_straight_through_layer() -> None:
    """Scale-and-Fire neurons at T=1: what autograd finds through floor by straight-through, inside the range."""
    g, height, levels = generator(), 0.25, 3
    x, target = torch.rand(16, 5, generator=g, dtype=torch.float64), torch.rand(16, 4, generator=g, dtype=torch.float64)
    weights = torch.randn(4, 5, generator=g, dtype=torch.float64, requires_grad=True)
    h = x @ weights.T + height / 2
    clipped = h.clamp(0, (levels + 1) * height)
    out = clipped + (height * (h / height).floor().clamp(0, levels) - clipped).detach()
    loss = 0.5 * (out - target).square().sum(1).mean()
    (gradient,) = torch.autograd.grad(loss, weights)
    rule = ThreeFactor(0.0)
    signal = (target - out).detach()
    change, _ = rule.step(rule.init(16, 5, 4, x), x, psi_inside(h.detach(), height, levels), signal)
    assert 0 < float(psi_inside(h.detach(), height, levels).mean()) < 1
    torch.testing.assert_close(change, -gradient)


def test_over_time_it_is_the_gradient_of_a_leaky_layer_and_a_leaky_readout() -> None:
    """Bellec et al. 2020, equations 3-5, without recurrence: α of the membrane, κ of the readout, ψ given; autograd through time."""
    g, alpha, kappa = generator(1), 0.8, 0.6
    pre = (torch.rand(12, 2, 5, generator=g) < 0.4).double()
    psi, error = (torch.rand(12, 2, 3, generator=g, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(3, 5, generator=g, dtype=torch.float64, requires_grad=True)
    h = y = torch.zeros(2, 3, dtype=torch.float64)
    score = torch.zeros((), dtype=torch.float64)
    for t in range(12):
        h = alpha * h + pre[t] @ weights.T
        y = kappa * y + psi[t] * h  # a spike whose derivative is ψ
        score = score + (error[t] * y).sum()
    (gradient,) = torch.autograd.grad(score, weights)
    fresh = torch.zeros(12, 2, dtype=torch.bool)
    torch.testing.assert_close(online(ThreeFactor(kappa, alpha, "sum"), (pre, psi, error, fresh)), gradient)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 12), batch=st.integers(1, 3), decay=st.floats(0, 1), per_neuron=st.booleans())
def test_online_window_and_written_out_sums_are_equal(seed: int, steps: int, batch: int, decay: float, per_neuron: bool) -> None:
    run = drawn(steps, batch, seed, signals=3 if per_neuron else 1)
    pre, gain, signal, fresh = run
    expected = by_hand(run, decay, steps)
    torch.testing.assert_close(online(ThreeFactor(decay, over_batch="sum"), run), expected)
    torch.testing.assert_close(windowed(pre, gain, signal, decay, fresh=fresh, over_batch="sum"), expected)
    window = Window(steps, decay, per_neuron=per_neuron, over_batch="sum")
    state = window.init(batch, 4, 3, pre)
    for row in zip(*run, strict=True):
        window.collect_(state, *row)
    torch.testing.assert_close(window.settle_(state), expected)


@pytest.mark.parametrize("pre_decay", [0.0, 0.7])
def test_windows_one_after_another_are_the_rule_begun_anew_at_each(pre_decay: float) -> None:
    run = drawn(24, 2, 5)
    window, rule = Window(8, 0.9, pre_decay), ThreeFactor(0.9, pre_decay)
    state, found = window.init(2, 4, 3, run[0]), torch.zeros(3, 4, dtype=torch.float64)
    online_state, expected = rule.init(2, 4, 3, run[0]), torch.zeros(3, 4, dtype=torch.float64)
    for t, row in enumerate(zip(*run, strict=True)):
        window.collect_(state, *row)
        change, online_state = rule.step(online_state, *row)
        expected = expected + change
        if t % 8 == 7:
            found = found + window.settle_(state)
            online_state = online_state._replace(trace=torch.zeros_like(online_state.trace))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_a_window_that_advances_leaves_out_what_came_more_than_its_steps_later(horizon: int) -> None:
    run = drawn(20, 2, 6)
    window = Window(horizon, 0.8, over_batch="sum")
    state, total = window.init(2, 4, 3, run[0]), torch.zeros(3, 4, dtype=torch.float64)
    for row in zip(*run, strict=True):
        total = total + window.advance_(state, *row)
    total = total + window.settle_(state)
    torch.testing.assert_close(total, by_hand(run, 0.8, horizon))
    whole = online(ThreeFactor(0.8, over_batch="sum"), run)
    assert not torch.allclose(total, whole)


def test_credits_of_errors_are_the_generalised_advantage() -> None:
    """Schulman et al. 2016, equation 16, with an episode that ends after step 1."""
    errors = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64).view(4, 1, 1)
    fresh = torch.tensor([[True], [False], [True], [False]])
    assert credits_of(errors, 0.5, fresh).flatten().tolist() == [2, 2, 8, 8]
    assert credits_of(errors, 0.5).flatten().tolist() == [4, 6, 8, 8]


def test_the_mean_over_a_batch_is_the_sum_divided() -> None:
    run = drawn(6, 5, 7)
    pre, gain, signal, fresh = run
    torch.testing.assert_close(5 * online(ThreeFactor(0.9), run), online(ThreeFactor(0.9, over_batch="sum"), run))
    torch.testing.assert_close(
        5 * windowed(pre, gain, signal, 0.9, fresh=fresh), windowed(pre, gain, signal, 0.9, fresh=fresh, over_batch="sum")
    )


def test_the_online_form_writes_to_nothing_given() -> None:
    rule = ThreeFactor(0.5, 0.5)
    state = rule.init(1, 2, 3)
    _, after = rule.step(state, torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 1))
    kept = after.trace.clone()
    rule.step(after, torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 1), torch.tensor([True]))
    assert state.trace.eq(0).all()
    assert torch.equal(after.trace, kept)
    assert after.trace.dtype == torch.float32


@pytest.mark.parametrize("pre_decay", [0.0, 0.5])
def test_a_window_writes_to_itself_and_to_no_step_given(pre_decay: float) -> None:
    run = drawn(9, 2, 8, ends=0.5)
    kept = [each.clone() for each in run]
    window = Window(3, 0.9, pre_decay)
    state = window.init(2, 4, 3, run[0])
    for row in zip(*run, strict=True):
        window.advance_(state, *row)
    window.settle_(state)
    assert all(torch.equal(one, other) for one, other in zip(run, kept, strict=True))


def test_feedback_is_fixed_by_its_seed_and_by_nothing_else() -> None:
    one, same = (feedback(300, 4, generator(3)) for _ in range(2))
    torch.manual_seed(9)
    assert torch.equal(one, same)
    assert float(one.var()) == pytest.approx(1 / 4, rel=0.15)


def test_a_full_window_and_decays_out_of_range_are_refused() -> None:
    window, row = Window(1, 0.9), (torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 1))
    state = window.init(1, 2, 3)
    window.collect_(state, *row)
    with pytest.raises(ConfigError, match="window is full"):
        window.collect_(state, *row)
    with pytest.raises(ConfigError, match="decay is out of range"):
        ThreeFactor(1.5)
    with pytest.raises(ConfigError, match="must hold a step"):
        Window(0, 0.9)
