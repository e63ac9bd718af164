"""Functions over time: differences whose mean is the function of the mean, folded or streamed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.neuron import advance_difference, difference_over_time, init_difference, running_mean

FUNCTIONS = {
    "softmax": lambda x: x.softmax(-1),
    "max_pool": lambda x: torch.nn.functional.max_pool1d(x, 2),
    "square": torch.square,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 10**6))
def test_folded_is_streamed_and_the_mean_is_f_of_the_mean(name: str, steps: int, batch: int, seed: int) -> None:
    f = FUNCTIONS[name]
    x = torch.randn(steps * batch, 3, 4, generator=torch.Generator().manual_seed(seed))
    y = difference_over_time(f, x, timesteps=steps)
    state = init_difference(f, x[:batch])
    for t, x_t in enumerate(x.split(batch)):
        y_t, state = advance_difference(f, state, x_t)
        assert torch.equal(y.split(batch)[t], y_t)
    expected = f(x.unflatten(0, (steps, batch)).mean(0))
    torch.testing.assert_close(y.unflatten(0, (steps, batch)).mean(0), expected, atol=1e-5, rtol=1e-5)


def test_a_product_of_two_trains() -> None:
    a, b = torch.randn(6, 2, 5, dtype=torch.float64), torch.randn(6, 5, 2, dtype=torch.float64)
    y = difference_over_time(torch.matmul, a, b, timesteps=3)
    expected = a.unflatten(0, (3, 2)).mean(0) @ b.unflatten(0, (3, 2)).mean(0)
    torch.testing.assert_close(y.unflatten(0, (3, 2)).mean(0), expected)
    state = init_difference(torch.matmul, a[:2], b[:2])
    assert state.emitted.shape == (2, 2, 2)
    first, _ = advance_difference(torch.matmul, state, a[:2], b[:2])
    torch.testing.assert_close(first, y[:2])


def test_one_step_is_f_itself() -> None:
    x = torch.randn(4, 3)
    assert torch.equal(difference_over_time(torch.exp, x, timesteps=1), x.exp())


def test_constant_input_is_emitted_evenly() -> None:
    x = torch.full((4, 2), 3.0)
    assert difference_over_time(torch.square, x, timesteps=4).tolist() == [[9.0, 9.0]] * 4


def test_running_mean_counts_from_the_first_step() -> None:
    x = torch.tensor([1.0, 10.0, 3.0, 20.0, 8.0, 0.0])
    assert running_mean(x, 3).tolist() == [1.0, 10.0, 2.0, 15.0, 4.0, 10.0]


def test_gradients_flow_through_time() -> None:
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: difference_over_time(torch.tanh, x, timesteps=4), (x,))
