"""Learning: credit, exploration, critic, monitor and trials, each by itself."""

import dataclasses
import math
from itertools import islice

import numpy as np
import pytest
import torch
from tests.agent.learners import OBSERVED, Bandit, agent

from spikeloom.agent.critic import Critic
from spikeloom.agent.exploring import Exploration, entropy_share, exploration_of
from spikeloom.agent.learning import Learning, Step, credited, learnt
from spikeloom.agent.living import live
from spikeloom.agent.monitor import Monitor
from spikeloom.agent.trials import Trials
from spikeloom.datasets.spaces import Continuous, Discrete
from spikeloom.errors import ConfigError


def test_the_score_is_the_gradient_of_the_log_probability() -> None:
    outputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for action, choice in ((Discrete(3), torch.arange(16) % 3), (Continuous(3, (-1.0,) * 3, (1.0,) * 3), torch.randn(16, 3))):
        how = Exploration(action, 0.7)
        (gradient,) = torch.autograd.grad(how.log_probability(outputs, choice).sum(), outputs)
        torch.testing.assert_close(how.score(outputs.detach(), choice), gradient * 0.7)


def test_the_width_is_chosen_by_entropy() -> None:
    outputs = 10 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    for share in (0.3, 0.85):
        how = exploration_of(Discrete(4), outputs, share)
        assert entropy_share(outputs / how.width) == pytest.approx(share, abs=0.01)
    assert exploration_of(Continuous(1, (-2.0,), (2.0,), "tanh", 2.0), outputs, 0.5).width == 0.5


def step(rewards: list[float], *, fresh: bool = False, ended: bool = False, playing: bool = True) -> Step:
    count = len(rewards)
    flags = [torch.full((count,), value) for value in (ended, fresh, playing, True)]
    zeros = torch.zeros(count, OBSERVED)
    return Step(zeros, zeros, torch.zeros(count), torch.zeros(count), torch.tensor(rewards), flags[0], flags[1], zeros, flags[2], flags[3])


def test_credit_is_the_generalised_advantage_and_stops_at_episodes() -> None:
    critic, how = Critic(neurons=8), Learning(discount=0.5, trace=1.0)
    state = critic.init(torch.randn(64, OBSERVED), torch.Generator().manual_seed(0))
    window = (step([1.0]), step([2.0], ended=True), step([4.0], fresh=True))
    credit, targets, _ = credited(window, critic, state, how)
    torch.testing.assert_close(credit[:, 0], torch.tensor([0.5 * (1 + 0.5 * 2), 0.5 * 2, 0.5 * 4]))
    torch.testing.assert_close(credit, targets)
    idle = (step([1.0]), step([7.0], playing=False), step([4.0], fresh=True))
    torch.testing.assert_close(credited(idle, critic, state, how)[0][:, 0], torch.tensor([0.5, 0.0, 2.0]))


def test_a_truncated_episode_expects_what_comes_after() -> None:
    critic, how = Critic(neurons=8), Learning(discount=0.5, trace=1.0)
    state = critic.init(torch.randn(64, OBSERVED), torch.Generator().manual_seed(0))
    state = dataclasses.replace(state, readout=torch.tensor([0.0] * 8 + [6.0]))
    going_on, over = (credited((step([0.0], ended=ended),), critic, state, how)[0].item() for ended in (False, True))
    assert going_on == pytest.approx(0.5 * 6 - 6)
    assert over == pytest.approx(-6)


def test_the_critic_learns_a_value_and_sees_far_outside() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(4096, OBSERVED, generator=generator)
    critic = Critic()
    state = critic.init(seen, generator)
    for part in seen.split(512):
        state = critic.learnt(state, critic.features(state, part), part[:, 0].tanh(), generator)
    error = critic.features(state, seen) @ state.readout - seen[:, 0].tanh()
    assert error.square().mean() < 0.1 * seen[:, 0].tanh().var()
    assert len(state.remembered) == critic.windows
    far = critic.features(state, torch.tensor([[10.0, 0, 0], [30.0, 0, 0]]))
    assert not torch.equal(far[0], far[1])
    levels = far[:, :-1] / state.wires.step
    torch.testing.assert_close(levels, levels.round())


def test_replays_are_steps_of_normalised_lms() -> None:
    """Part by part, as often as told, over a last part that is smaller; what is remembered stays as it is."""
    generator = torch.Generator().manual_seed(0)
    critic, seen, wanted = (
        Critic(neurons=20, replays=3, batch=32),
        torch.randn(80, OBSERVED, generator=generator),
        torch.linspace(-1, 1, 80),
    )
    state = critic.init(seen, generator)
    features = critic.features(state, seen)
    kept, w = features.clone(), state.readout.clone()
    order = torch.randperm(80, generator=torch.Generator().manual_seed(5))
    for _ in range(3):
        for rows in order.split(32):
            phi = features[rows]
            w = w + phi.T @ (wanted[rows] - phi @ w) / phi.square().sum()
    found = critic.learnt(state, features, wanted, torch.Generator().manual_seed(5))
    torch.testing.assert_close(found.readout, w, rtol=1e-4, atol=1e-6)
    assert torch.equal(features, kept)
    assert not state.readout.any()


def test_the_monitor_notices_a_fall_and_nothing_else() -> None:
    rng, monitor = np.random.default_rng(0), Monitor()
    usual = monitor.init(rng.normal(100, 10, 64))
    calm = monitor.watch(usual, rng.normal(100, 10, 5000))
    assert not calm.drifted
    fallen = monitor.watch(usual, rng.normal(70, 10, 20))
    assert fallen.drifted
    assert not monitor.watch(usual, np.array([-1e9])).drifted
    assert monitor.calm(fallen) == usual._replace(episodes=0)
    with pytest.raises(ConfigError, match="usual returns"):
        monitor.init(np.array([math.nan, 1.0]))


def test_trials_count_each_sentinel_alike_and_lead_back() -> None:
    trials, first, worse = Trials(episodes=4), (torch.zeros(1),), (torch.ones(1),)
    assert [trials.sentinels(count) for count in (1, 3, 4, 16, 64)] == [0, 0, 1, 4, 4]
    state = trials.init(first, 16)
    sentinel = trials.roles(state, 16)
    assert sentinel.tolist() == [True] * 4 + [False] * 12
    once = trials.seen(state, np.eye(16, dtype=bool)[0], np.full(16, 50.0), sentinel)
    again = trials.seen(once, np.eye(16, dtype=bool)[0], np.full(16, 1e6), sentinel)
    assert not trials.over(again)
    full = trials.seen(again, ~np.eye(16, dtype=bool)[0], np.arange(16.0) + 49, sentinel)
    assert trials.over(full)
    assert full.explored == 12
    judged, onward = trials.judged(full, worse)
    assert onward is worse
    assert judged.best is not None
    assert judged.best.weights is first
    assert judged.best.mean == pytest.approx((50 + 50 + 51 + 52) / 4)
    bad = trials.seen(judged, sentinel, np.array([0.0, 1, 2, 3] * 4), sentinel)
    after, back = trials.judged(bad, (torch.ones(1) * 3,))
    assert back is first
    assert after.led_back == 1
    assert after.best is judged.best
    assert after.brought == 0.0


def test_nothing_leads_back_from_weights_that_bring_more_than_the_best_while_they_explore() -> None:
    trials, first, newest = Trials(episodes=4), (torch.zeros(1),), (torch.ones(1),)
    state, everyone = trials.init(first, 16), np.ones(16, bool)
    sentinel = trials.roles(state, 16)
    state, _ = trials.judged(trials.seen(state, everyone, np.where(sentinel, 50.0, 0.0) + np.arange(16.0), sentinel), newest)
    for exploring, expected in ((60.0, newest), (40.0, first)):
        bad = trials.seen(state, everyone, np.where(sentinel, 1.0, exploring), sentinel)
        assert trials.judged(bad, newest)[1] is expected


def test_few_environments_take_turns() -> None:
    trials = Trials(episodes=2)
    state = trials.init((torch.zeros(1),), 1)
    assert trials.roles(state, 1).all()
    for _ in range(2):
        state = trials.seen(state, np.ones(1, bool), np.ones(1), np.ones(1, bool))
    state, _ = trials.judged(state, (torch.zeros(1),))
    assert not trials.roles(state, 1).any()
    for _ in range(6):
        state = trials.seen(state, np.ones(1, bool), np.ones(1), np.zeros(1, bool))
    assert trials.roles(state, 1).all()


def test_steps_are_sized_by_what_passes() -> None:
    """Weights ten times as large at the inputs take steps a tenth as large for the same spikes times ten."""
    made = agent()
    passed = made.tail.observe(made.usual.observations, made.tail.converted)
    sizes = made.learning.sizes(made.tail, passed, 1.0)
    loud = dataclasses.replace(passed, pre=tuple(pre * 10 for pre in passed.pre))
    assert made.learning.sizes(made.tail, loud, 1.0)[-2].rate == pytest.approx(sizes[-2].rate / 10, rel=1e-3)
    assert made.learning.sizes(made.tail, passed, 3.0)[0].rate == pytest.approx(3 * sizes[0].rate)


def test_a_policy_that_has_moved_as_far_as_it_may_is_left_alone() -> None:
    made = agent()
    state = next(islice(live(made, made.init(16), Bandit(16), 0), 13, None)).state
    before, found = (state.weights, state.sizes, state.critic), []
    for far in (1e-6, 1e6):
        how, generator = dataclasses.replace(made.learning, divergence=far), torch.Generator().manual_seed(0)
        found.append(learnt(state.window, made.tail, made.exploration, made.critic, how, made.sizes, before, generator))
    assert found[0].moved > 1e-6
    assert not all(map(torch.equal, found[0].weights, found[1].weights))


def test_learning_writes_over_nothing_that_it_was_given() -> None:
    made = agent()
    state = next(islice(live(made, made.init(16), Bandit(16), 0), 15, None)).state
    before = [tensor.clone() for tensor in (*state.weights, *(part for size in state.sizes for part in size[:2]))]
    generator = torch.Generator().manual_seed(0)
    found = learnt(
        state.window, made.tail, made.exploration, made.critic, made.learning, made.sizes,
        (state.weights, state.sizes, state.critic), generator,
    )  # fmt: skip
    assert found.sizes[0].steps > state.sizes[0].steps
    assert all(map(torch.equal, before, (*state.weights, *(part for size in state.sizes for part in size[:2]))))
    assert not any(tensor.is_inference() for tensor in (*found.weights, *(size.square for size in found.sizes)))


@pytest.mark.parametrize(("name", "value"), [("discount", 1.0), ("discount", -0.1), ("divergence", 0.0), ("rate", math.inf)])
def test_numbers_by_which_nothing_is_learnt_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is out of range"):
        Learning(**{name: value})
