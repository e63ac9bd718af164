"""Calibration in the closed loop: what it gathers, and which round it takes."""

import numpy as np
import pytest
import torch
from tests.agent.worlds import network
from torch import Tensor

from spikeloom.agent import Discrete, Policy, Signal, environments, in_closed_loop
from spikeloom.errors import ConfigError


def straight(observations: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Pushes the cart to where the pole leans."""
    return (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)


def leaning(weight: float) -> Policy:
    """A network on spikes whose second output is larger where weight·(angle + its speed) > 0."""
    model = network(4, 2)
    tensors = {name: value.clone() for name, value in model.program.tensors.items()}
    first, last = torch.zeros(12, 4), torch.zeros(2, 12)
    first[0, 2:], first[1, 2:] = 1.0, -1.0
    last[1, 0], last[1, 1] = weight, -weight
    changed = {"0.weight": first, "0.bias": torch.zeros(12), "linear_1.weight": last, "linear_1.bias": torch.zeros(2)}
    assert set(changed) <= set(tensors)
    steps = {"spike_relu.step": torch.full((12,), 0.01), "spike_relu.v0": torch.full((12,), 0.005)}
    program = model.program.replaced(tensors={**tensors, **changed, **steps})
    return Policy(type(model)(program), Signal((4,), (-9.0,) * 4, (9.0,) * 4), Discrete(2))


def test_the_round_with_the_best_return_is_taken_and_each_sees_what_the_one_before_met() -> None:
    given = list[Tensor]()
    policies = [leaning(-1.0), leaning(1.0), leaning(-1.0)]

    def convert(data: Tensor) -> Policy:
        given.append(data)
        return policies[len(given) - 1]

    found, rounds = in_closed_loop(convert, straight, environments("CartPole-v1", 3), rounds=3, episodes=3)
    assert found is policies[1]
    assert rounds[1].mean_return > 10 * rounds[0].mean_return
    assert rounds[1].agreement > 0.8 > 0.2 > rounds[0].agreement
    first, second = ({tuple(row) for row in data.tolist()} for data in given[:2])
    assert first < second
    assert len(given[1]) - len(given[0]) == round(3 * rounds[0].mean_return)


def test_a_round_is_needed() -> None:
    with pytest.raises(ConfigError, match="a round or more"):
        in_closed_loop(lambda data: leaning(1.0), straight, environments("CartPole-v1", 1), rounds=0, episodes=1)
