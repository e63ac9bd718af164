"""A policy's decisions: membranes between them, actions of every kind, and spaces that have to fit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.agent.worlds import clocks, network

from spikeloom.agent import Continuous, Discrete, Policy, Signal, acted, open_policy, policy_of, with_residue
from spikeloom.datasets.environment import environments
from spikeloom.errors import ConfigError, DataError
from spikeloom.simulate import primary

SIGNAL = Signal((3,), (-math.inf,) * 3, (math.inf,) * 3)


def carrying(**settings: object) -> Policy:
    return Policy(network(3, 2, **settings), SIGNAL, Discrete(2), "carry")


def test_a_decision_from_rest_is_the_network_itself() -> None:
    x, policy = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), carrying(timesteps=4)
    plain, nothing = policy.replaced(residue="reset").outputs(x)
    assert nothing is None
    assert torch.equal(plain, policy.model(torch.from_numpy(x)))
    torch.testing.assert_close(policy.outputs(x)[0], plain, rtol=1e-5, atol=1e-5)


def test_carried_membranes_make_the_sum_of_what_is_sent_right() -> None:
    """A constant observation: the mean of many decisions comes closer to the ANN's answer than one decision does."""
    x = np.full((1, 3), 0.3, np.float32)
    policy = carrying(levels=7, compensate=False)
    one, state = policy.outputs(x)
    total = one.clone()
    for _ in range(63):
        outputs, state = policy.outputs(x, state)
        total += outputs
    assert policy.model.ann is not None
    exact = primary(policy.model.ann.module()(torch.from_numpy(x)))
    assert (total / 64 - exact).abs().max() < 0.2 * (one - exact).abs().max()


def test_what_is_carried_lies_within_one_level() -> None:
    policy = carrying()
    _, state = policy.outputs(np.full((1, 3), -50.0, np.float32))
    for _ in range(5):
        _, state = policy.outputs(np.full((1, 3), -50.0, np.float32), state)
    _, high = policy.outputs(np.full((1, 3), 50.0, np.float32), state)
    assert state is not None
    assert high is not None
    step = policy.model.program.tensors["spike_relu.step"]
    for memory in (state["spike_relu"], high["spike_relu"]):
        assert bool((memory >= 0).all() and (memory <= step).all())


def test_only_fresh_rows_go_back_to_rest() -> None:
    x, policy = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32), carrying()
    begun, state = policy.outputs(x)
    mixed, _ = policy.outputs(x, state, np.array([False, True, False]))
    carried, _ = policy.outputs(x, state)
    assert torch.equal(mixed[1], begun[1])
    assert torch.equal(mixed[[0, 2]], carried[[0, 2]])
    assert not torch.equal(carried[0], begun[0])


def test_running_means_begin_anew_at_each_decision() -> None:
    policy = Policy(network(3, 2, activation=torch.nn.Tanh, timesteps=2), SIGNAL, Discrete(2), "carry")
    first, state = policy.outputs(np.ones((1, 3), np.float32))
    assert state == {}
    other, _ = policy.outputs(-np.ones((1, 3), np.float32), state)
    assert torch.equal(other, policy.outputs(-np.ones((1, 3), np.float32))[0])
    assert not torch.equal(first, other)


def test_the_actor_rests_where_an_episode_begins() -> None:
    x, policy = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32), carrying()
    asked = list[np.ndarray]()

    def outputs(memory: object, fresh: np.ndarray | None) -> np.ndarray:
        found, _ = policy.outputs(x, memory, fresh)  # pyright: ignore[reportArgumentType]
        return policy.actions(found)

    act = policy.actor()
    asked += [act(x, np.ones(2, bool)) for _ in range(3)]
    assert all(np.array_equal(each, outputs(None, None)) for each in asked)


def test_discrete_actions_begin_where_the_space_says() -> None:
    outputs = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 1.0]])
    assert acted(outputs, Discrete(3)).tolist() == [1, 0]
    assert acted(outputs, Discrete(3, start=-1)).tolist() == [0, -1]
    assert acted(outputs, Discrete(3)).dtype == np.int64


def test_continuous_actions_are_clipped_or_squashed() -> None:
    outputs = torch.tensor([[3.0, -0.5], [-9.0, 9.0]])
    bounds = ((-2.0, 0.0), (2.0, 1.0))
    assert acted(outputs, Continuous(2, *bounds)).tolist() == [[2.0, 0.0], [-2.0, 1.0]]
    squashed = acted(outputs, Continuous(2, *bounds, "tanh", 2.0))
    top, low = math.tanh(2.0), math.tanh(-0.5)
    np.testing.assert_allclose(squashed, [[2 * top, (low + 1) / 2], [-2 * top, (top + 1) / 2]], rtol=1e-6)
    assert squashed.dtype == np.float32


@pytest.mark.parametrize(("x", "said"), [(np.zeros((2, 4)), "another shape"), (np.array([[0, 0, 0], [0, np.nan, 0]]), "environment 1")])
def test_observations_that_cannot_be_read_are_named(x: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        carrying().outputs(x)


def test_observations_are_clipped_where_the_policy_was_taught_so() -> None:
    low, high, model = (-1.0,) * 3, (1.0,) * 3, network(3, 2)
    clipped = Policy(model, Signal((3,), low, high, clipped=True), Discrete(2))
    assert torch.equal(clipped.outputs(np.full((1, 3), 7.0))[0], clipped.outputs(np.ones((1, 3)))[0])
    free = Policy(model, Signal((3,), low, high), Discrete(2))
    assert not torch.equal(free.outputs(np.full((1, 3), 7.0))[0], free.outputs(np.ones((1, 3)))[0])


def test_an_environment_tells_the_spaces_of_any_network() -> None:
    policy = policy_of(network(4, 2), environments("CartPole-v1"))
    assert policy.action == Discrete(2)
    assert policy.observation.shape == (4,)
    assert policy_of(network(3, 1), environments("Pendulum-v1")).action == Continuous(1, (-2.0,), (2.0,))


def test_a_network_that_gives_other_outputs_than_the_actions_need_is_refused() -> None:
    with pytest.raises(DataError, match=r"(?s)no policy for these actions.*2 numbers"):
        policy_of(network(4, 3), environments("CartPole-v1"))
    with pytest.raises(DataError, match="does not say what it observes"):
        policy_of(network(4, 3))


def test_residue_is_chosen_by_return() -> None:
    """An environment that ends at once whatever is done: both are equal, and reset is taken."""
    policy, means = with_residue(carrying(), clocks([2, 2]), "auto", 4)
    assert policy.residue == "reset"
    assert means == {"reset": 2.0, "carry": 2.0}
    with pytest.raises(ConfigError, match="one of two"):
        carrying().replaced(residue="keep")


def test_the_folder_says_what_becomes_of_membranes(tmp_path: Path) -> None:
    """Whatever the network said of itself before; one that says nothing rests."""
    carried = carrying()
    carried.save(tmp_path / "carry")
    opened = open_policy(tmp_path / "carry")
    assert opened.residue == "carry"
    assert (opened.observation, opened.action) == (carried.observation, carried.action)
    opened.replaced(residue="reset").save(tmp_path / "reset")
    assert open_policy(tmp_path / "reset").residue == "reset"
    assert policy_of(opened.model, residue="reset").residue == "reset"
    assert policy_of(network(4, 2), environments("CartPole-v1")).residue == "reset"
    assert "policy" not in carried.replaced(residue="reset").told().program.settings


def test_a_network_that_says_its_residue_is_otherwise_the_same() -> None:
    policy = carrying(timesteps=4)
    told = policy.told()
    assert told.timesteps == 4
    assert policy.model.ann is not None
    assert told.ann is policy.model.ann
    assert told.control is policy.model.control


def test_a_network_that_carries_nothing_rests_without_being_tried() -> None:
    policy = Policy(network(3, 2, activation=torch.nn.Tanh, timesteps=2), SIGNAL, Discrete(2), "carry")
    found, means = with_residue(policy, None, "auto")
    assert (found.residue, dict(means)) == ("reset", {})
