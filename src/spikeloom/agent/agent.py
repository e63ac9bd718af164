"""
An agent: a spiking policy that acts in E environments side by side and goes on learning there.

    init(environments, usual) → state
    step(state, arrival) → (actions, state)

States are values: nothing in one changes. While nothing is wrong the agent acts as its policy does. Where the monitor notices that returns
have fallen, plasticity is turned up: some environments explore and the weights learn (`learning`), sentinels try what was learnt, and
weights that turn out worse lead back to the best (`trials`). When a trial is as good as the usual world was, plasticity is turned down.
"""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.critic import Critic, CriticState
from spikeloom.agent.exploring import Exploration, exploration_of
from spikeloom.agent.learning import Learning, Step, learnt, stepped
from spikeloom.agent.monitor import Monitor, MonitorState
from spikeloom.agent.policy import Policy
from spikeloom.agent.tail import Tail, Weights
from spikeloom.agent.trials import Trials, TrialState
from spikeloom.datasets.spaces import Discrete, acted, readable
from spikeloom.errors import ConfigError, DataError
from spikeloom.plasticity import StepSizeState

PLASTIC = ("on drift", "always", "never", "critic")
"""When weights learn; "critic" explores and teaches the critic alone."""


@final
class Arrival(NamedTuple):
    """What comes back from E environments: observations to act on, and of the actions before (None at first) the rewards, which episodes
    ended and which of them were terminated, what was observed at their end, and which rows were played at all."""

    observations: Float[ndarray, "e *d"]
    fresh: Bool[ndarray, " e"]
    rewards: Float[ndarray, " e"] | None = None
    ended: Bool[ndarray, " e"] | None = None
    terminated: Bool[ndarray, " e"] | None = None
    last: Float[ndarray, "e *d"] | None = None
    playing: Bool[ndarray, " e"] | None = None


@final
@dataclass(frozen=True)
class Usual:
    """The usual world: what is observed there when exploring [n, d], and the returns of its episodes [m]."""

    observations: Float[Tensor, "n *d"]
    returns: Float[ndarray, " m"]


@final
@dataclass(frozen=True)
class AgentState:
    """All that an agent knows and was about to do. `pending` is the step whose reward has not come yet."""

    weights: Weights
    sizes: tuple[StepSizeState, ...]
    critic: CriticState
    monitor: MonitorState
    trial: TrialState
    roles: Bool[ndarray, " e"]
    returns: Float[ndarray, " e"]
    randomness: Tensor
    window: tuple[Step, ...] = ()
    pending: Step | None = None
    learning: bool = False
    steps: int = 0
    episodes: int = 0
    windows: int = 0


@final
class Agent:
    """What does not change: the policy, how it explores and learns. See the module."""

    def __init__(
        self,
        policy: Policy,
        usual: Usual,
        *,
        exploration: float = 0.85,
        layers: int | None = None,
        plastic: str = "on drift",
        learning: Learning | None = None,
        critic: Critic | None = None,
        trials: Trials | None = None,
        monitor: Monitor | None = None,
        reward_limit: float = 1e6,
        width: float | None = None,
    ) -> None:
        """`exploration` is a share of the greatest entropy (of continuous actions, of half their range); `layers` how many of the last
        layers learn (None: all in a chain); `width` gives τ or σ itself. ConfigError for a policy of T > 1, or what is out of range."""
        if policy.steps != 1:
            todo = "convert it at T = 1; its levels stand for steps"
            raise ConfigError("an agent learns at one step for a decision", found=f"T = {policy.steps}", allowed="T = 1", todo=todo)
        if plastic not in PLASTIC:
            raise ConfigError("when an agent learns", found=plastic, allowed=", ".join(PLASTIC))
        if not 0 < exploration < 1:
            raise ConfigError("exploration is a share", found=exploration, allowed="between 0 and 1")
        self.policy, self.usual, self.plastic, self.reward_limit = policy, usual, plastic, reward_limit
        self.tail = Tail(policy.model.program, layers)
        self.learning, self.critic = learning or Learning(), critic or Critic()
        self.trials, self.monitor = trials or Trials(), monitor or Monitor()
        passed = self.tail.observe(self.tail.inputs(usual.observations), self.tail.on_grid(self.tail.converted))
        self.exploration = Exploration(policy.action, width) if width else exploration_of(policy.action, passed.output, exploration)
        self.sizes = self.learning.sizes(self.tail, passed, self.exploration.width)

    def replaced(self, plastic: str) -> "Agent":
        """The same agent, whose weights learn at other times."""
        twin = copy.copy(self)
        twin.plastic = plastic
        return twin

    def init(self, environments: int, seed: int = 0) -> AgentState:
        """The state before the first step in so many environments: weights as converted, a critic that expects nothing."""
        generator = torch.Generator().manual_seed(seed)
        weights = self.tail.converted
        critic = self.critic.init(self.usual.observations, generator)
        trial = self.trials.init(weights, environments)
        monitor = self.monitor.init(self.usual.returns)
        roles, returns = np.zeros(environments, bool), np.zeros(environments)
        state = AgentState(weights, self.learning.init(weights), critic, monitor, trial, roles, returns, generator.get_state())
        return dataclasses.replace(state, learning=self.plastic in ("always", "critic"))

    def step(self, state: AgentState, arrival: Arrival) -> tuple[Num[ndarray, "e *k"], AgentState]:
        """Takes what came of the last actions, learns where it is time to, and acts. DataError for observations or rewards that are no
        numbers, or rewards beyond the limit."""
        generator = torch.Generator()
        generator.set_state(state.randomness)
        if arrival.rewards is not None:
            state = self._answered(state, arrival)
        if len(state.window) >= self.learning.steps:
            state = self._learnt(state, generator)
        actions, state = self._acted(state, arrival, generator)
        return actions, dataclasses.replace(state, randomness=generator.get_state())

    def best(self, state: AgentState) -> Weights:
        """The best weights that were tried; those of now where no trial has ended."""
        return state.weights if state.trial.best is None else state.trial.best.weights

    def network(self, weights: Weights) -> Policy:
        """A policy whose network has these weights; it can be saved, judged and compiled as any other."""
        model = self.policy.model
        program = self.tail.written(model.program, weights)
        return self.policy.replaced(model=type(model)(program, timesteps=1, ann=model.ann, control=model.control))

    def taught(
        self, state: AgentState, observations: Float[ndarray, "n *d"], wanted: ndarray, weights: Float[ndarray, " n"], passes: int = 20
    ) -> AgentState:
        """The agent after lessons: at these observations a person wants these actions (as numbers from 0, or raw outputs), some more
        than others. The same three factors: spikes, ψ, and the error of the action as the signal."""
        x = self.tail.inputs(torch.from_numpy(readable(observations, self.policy.observation)))
        choice, value = torch.as_tensor(wanted), torch.as_tensor(weights, dtype=torch.float32)[:, None]
        after, sizes = state.weights, state.sizes
        for _ in range(passes):
            passed = self.tail.observe(x, self.tail.on_grid(after))
            signals = self.tail.signals(value * self.exploration.towards(passed.output, choice), passed)
            after, sizes = stepped(passed.pre, signals, self.sizes, after, sizes)
        return dataclasses.replace(state, weights=after, sizes=sizes)

    def _answered(self, state: AgentState, arrival: Arrival) -> AgentState:
        """What came of the pending actions."""
        pending, rewards = state.pending, arrival.rewards
        if pending is None or rewards is None or arrival.ended is None or arrival.terminated is None or arrival.playing is None:
            raise ConfigError("rewards for actions that were not taken", todo="begin with an arrival that has none")
        self._check(rewards, arrival.playing)
        last = arrival.observations if arrival.last is None else arrival.last
        done = pending._replace(
            rewards=torch.as_tensor(rewards, dtype=torch.float32),
            terminated=torch.from_numpy(arrival.terminated),
            last=torch.from_numpy(readable(last, self.policy.observation)),
            playing=torch.from_numpy(arrival.playing),
        )
        running, ended = state.returns + np.where(arrival.playing, rewards, 0.0), arrival.ended & arrival.playing
        state = self._episodes(state, ended, running)
        window = (*state.window, done) if state.learning else ()
        return dataclasses.replace(
            state, window=window, pending=None, returns=np.where(ended, 0.0, running), steps=state.steps + int(arrival.playing.sum())
        )

    def _episodes(self, state: AgentState, ended: Bool[ndarray, " e"], returns: Float[ndarray, " e"]) -> AgentState:
        """Episodes that ended, for the monitor and the trial."""
        if not ended.any():
            return state
        state = dataclasses.replace(state, episodes=state.episodes + int(ended.sum()))
        if not state.learning:
            monitor = self.monitor.watch(state.monitor, returns[ended])
            start = monitor.drifted and self.plastic == "on drift"
            return dataclasses.replace(state, monitor=monitor, learning=start)
        if self.plastic == "critic":
            return state
        trial = self.trials.seen(state.trial, ended, returns, state.roles)
        if not self.trials.over(trial):
            return dataclasses.replace(state, trial=trial)
        trial, weights = self.trials.judged(trial, state.weights)
        sizes = state.sizes if weights is state.weights else self.learning.init(weights)
        state = dataclasses.replace(state, trial=trial, weights=weights, sizes=sizes)
        return self._calmed(state)

    def _calmed(self, state: AgentState) -> AgentState:
        """Plasticity turned down where a trial was as good as the usual world."""
        best, usual = state.trial.best, state.monitor
        if self.plastic != "on drift" or best is None or best.mean < usual.mean - 0.1 * usual.spread:
            return state
        trial = self.trials.init(best.weights, len(state.roles))
        return dataclasses.replace(
            state,
            weights=best.weights,
            trial=dataclasses.replace(trial, best=best),
            monitor=self.monitor.calm(usual),
            learning=False,
            window=(),
        )

    def _learnt(self, state: AgentState, generator: torch.Generator) -> AgentState:
        before = (state.weights, state.sizes, state.critic)
        actor = self.plastic != "critic"
        found = learnt(state.window, self.tail, self.exploration, self.critic, self.learning, self.sizes, before, generator, actor=actor)
        return dataclasses.replace(
            state, weights=found.weights, sizes=found.sizes, critic=found.critic, window=(), windows=state.windows + 1
        )

    def _acted(self, state: AgentState, arrival: Arrival, generator: torch.Generator) -> tuple[ndarray, AgentState]:
        observations = torch.from_numpy(readable(arrival.observations, self.policy.observation))
        inputs = self.tail.inputs(observations)
        if not state.learning:
            outputs = self.tail.run(inputs, self.tail.on_grid(state.weights))
            choice = outputs.argmax(1) if isinstance(self.policy.action, Discrete) else outputs.clone()
            pending = self._pending(observations, inputs, choice, arrival, np.zeros(len(inputs), bool))
            return self._done(choice), dataclasses.replace(state, pending=pending)
        roles = np.where(arrival.fresh, self._roles(state), state.roles)
        outputs = self.tail.run(inputs, self.tail.on_grid(state.weights)).clone()
        drawn = self.exploration.draw(outputs, generator)
        pending = self._pending(observations, inputs, drawn.choice, arrival, ~roles)._replace(log_probability=drawn.log_probability)
        actions = self._done(drawn.choice)
        if roles.any():
            rows = torch.from_numpy(roles)
            best = acted(self.tail.run(inputs[rows], self.tail.on_grid(state.trial.candidate)), self.policy.action)
            actions[roles] = best
        return actions, dataclasses.replace(state, pending=pending, roles=roles)

    def _roles(self, state: AgentState) -> Bool[ndarray, " e"]:
        count = len(state.roles)
        return np.zeros(count, bool) if self.plastic == "critic" else self.trials.roles(state.trial, count)

    def _done(self, choice: Tensor) -> ndarray:
        """Actions of what was drawn."""
        action: Any = self.policy.action
        return acted(choice, action) if choice.dim() == 2 else choice.numpy() + action.start

    def _pending(self, observations: Tensor, inputs: Tensor, choice: Tensor, arrival: Arrival, exploring: ndarray) -> Step:
        count = len(observations)
        nothing, no = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
        fresh = torch.from_numpy(arrival.fresh)
        return Step(observations, inputs, choice, nothing, nothing, no, fresh, observations, no, torch.from_numpy(exploring))

    def _check(self, rewards: ndarray, playing: Bool[ndarray, " e"]) -> None:
        counted = np.asarray(rewards)[playing]
        if counted.size and not (np.isfinite(counted).all() and np.abs(counted).max() <= self.reward_limit):
            bad = counted[~np.isfinite(counted)] if not np.isfinite(counted).all() else counted[np.abs(counted).argmax()]
            todo = "mend or scale the rewards; nothing was learnt from them"
            raise DataError("a reward has exploded", found=np.ravel(bad)[0], allowed=f"numbers within ±{self.reward_limit:g}", todo=todo)
