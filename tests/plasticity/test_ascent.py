"""Steps of many weights in place: the same as step by step, and nothing given changes."""

import pytest
import torch

from spikeloom.plasticity import Ascent, StepSize

SHAPES = ((5, 7), (5,), (3, 16), (1,))


@pytest.mark.parametrize("beta_mean", [0.0, 0.9])
def test_an_ascent_goes_as_single_steps_do(beta_mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    how = [StepSize(10.0**-place, 0.99, beta_mean) for place in range(len(SHAPES))]
    given = [torch.randn(shape, generator=generator) for shape in SHAPES]
    begun = [each.init(weight) for each, weight in zip(how, given, strict=True)]
    ascent = Ascent(how, given, begun)
    weights, states = list(given), list(begun)
    for _ in range(5):
        sums = [torch.randn(shape, generator=generator) for shape in SHAPES]
        for place, total in enumerate(sums):
            ascent.asked[place].copy_(total)
            change, states[place] = how[place].step(states[place], total / 4)
            weights[place] = weights[place] + change
        ascent.step_(4)
    reached, after = ascent.reached()
    for found, wanted in zip(
        (*reached, *(s.square for s in after), *(s.mean for s in after)),
        (*weights, *(s.square for s in states), *(s.mean for s in states)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    assert [state.steps for state in after] == [5] * len(SHAPES)
    assert not any(state.square.any() for state in begun)
    ascent.step_()
    assert not torch.equal(reached[0], ascent.weights[0])


def test_it_goes_on_where_another_ended() -> None:
    how, weights = [StepSize(0.1, 0.99)], [torch.ones(4)]
    whole = Ascent(how, weights, [how[0].init(weights[0])])
    first = Ascent(how, weights, [how[0].init(weights[0])])
    for part in (whole, first):
        part.asked[0].copy_(torch.arange(4.0))
        part.step_()
    second = Ascent(how, *first.reached())
    for part in (whole, second):
        part.asked[0].copy_(-torch.ones(4))
        part.step_()
    assert torch.equal(whole.weights[0], second.weights[0])
