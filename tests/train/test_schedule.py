"""Learning-rate schedules against their equations and PyTorch's own one-cycle schedule."""

import math

import pytest
import torch

from spikeloom.train.schedule import Schedule, learning_rate


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_one_cycle_rises_peaks_and_ends_as_stated(steps: int) -> None:
    rates = [learning_rate(step, steps, 0.1, "one_cycle") for step in range(steps)]
    peak = rates.index(max(rates))
    assert rates[0] == pytest.approx(0.1 / 25)
    assert peak == math.ceil(0.3 * steps)
    assert rates[peak] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 / 25 * 1e-4)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_one_cycle_is_pytorchs_but_for_where_a_step_lies() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=1000)
    for step in range(1000):
        assert learning_rate(step, 1000, 0.1, "one_cycle") == pytest.approx(reference.get_last_lr()[0], rel=0.02, abs=1e-5)
        optimiser.step()
        if step < 999:
            reference.step()


def test_cosine_falls_from_the_peak() -> None:
    assert [learning_rate(step, 4, 0.2, "cosine") for step in range(4)] == pytest.approx(
        [0.2, 0.1 + 0.1 * math.sqrt(0.5), 0.1, 0.1 - 0.1 * math.sqrt(0.5)]
    )


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_trainings_have_positive_rates(schedule: Schedule, steps: int) -> None:
    assert all(0 < learning_rate(step, steps, 0.1, schedule) <= 0.1 for step in range(steps))
