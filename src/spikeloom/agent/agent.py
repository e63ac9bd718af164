"""
An agent: a spiking policy that acts in E environments side by side and goes on learning there.

    init(environments, usual) → state
    step(state, arrival) → (actions, state)

States are values: nothing in one changes. While nothing is wrong the agent acts as its policy does. Where the monitor notices that returns
have fallen it asks whether its body is another one (`diagnosis`), and plasticity is turned up: some environments explore and the weights
learn (`learning`), sentinels try what was learnt, and weights that turn out worse lead back to the best (`trials`). When a trial is as good
as the usual world was, plasticity is turned down.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.arrival import Answer, Arrival, answer_of
from spikeloom.agent.body import Body, flat
from spikeloom.agent.critic import Critic
from spikeloom.agent.diagnosis import Diagnosis, Seen, under_way
from spikeloom.agent.embodied import Embodied
from spikeloom.agent.exploring import Exploration, exploration_of
from spikeloom.agent.forward import ForwardModel
from spikeloom.agent.guarding import within
from spikeloom.agent.learning import Learning, Step, learnt, stepped_
from spikeloom.agent.monitor import Monitor
from spikeloom.agent.policy import Policy, check_learns
from spikeloom.agent.rules.guard import Guard
from spikeloom.agent.state import AgentState, Usual
from spikeloom.agent.tail import Tail, Weights
from spikeloom.agent.trials import Trials
from spikeloom.datasets.spaces import Discrete, acted, facts_of, readable
from spikeloom.errors import ConfigError
from spikeloom.plasticity import Ascent

PLASTIC = ("on drift", "always", "never", "critic")
"""When weights learn; "critic" explores and teaches the critic alone."""


Remind = Callable[["Agent", AgentState, ndarray], AgentState]
"""(agent, state, observations [n, *d]) → the state after lessons on them."""


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
        forward: ForwardModel | None = None,
        diagnosis: Diagnosis | None = None,
        guard: Guard | None = None,
        remind: Remind | None = None,
    ) -> None:
        """`exploration` is a share of the greatest entropy (of continuous actions, of half their range); `layers` how many of the last
        layers learn (None: all in a chain); `width` gives τ or σ itself. With a forward model (`living.foreseen`) it asks what of its
        body has changed before its weights learn. What is done keeps to the `guard`; `remind` teaches after each window, from what was
        observed in it. ConfigError for a policy of T > 1, one that carries membranes between decisions, or what is out of range."""
        check_learns(policy)
        if plastic not in PLASTIC:
            raise ConfigError("when an agent learns", found=plastic, allowed=", ".join(PLASTIC))
        if not 0 < exploration < 1:
            raise ConfigError("exploration is a share", found=exploration, allowed="between 0 and 1")
        self.policy, self.usual, self.plastic, self.reward_limit = policy, usual, plastic, reward_limit
        self.guard, self.remind = guard, remind
        self.tail = Tail(policy.model.program, layers)
        self.begun = self.tail.converted
        self.learning, self.critic = learning or Learning(), critic or Critic()
        self.trials, self.monitor = trials or Trials(), monitor or Monitor()
        self.forward, self.diagnosis = forward or policy.forward, diagnosis or Diagnosis()
        self.body = policy.embodied.body
        passed = self.tail.observe(self.tail.inputs(usual.observations), self.tail.on_grid(self.tail.converted))
        self.exploration = Exploration(policy.action, width) if width else exploration_of(policy.action, passed.output, exploration)
        self.sizes = self.learning.sizes(self.tail, passed, self.exploration.width)

    @property
    def known(self) -> tuple[Weights, ...]:
        """Weights that whoever makes this agent again has: as converted, and those it begins with where they are others."""
        converted = self.tail.converted
        return (converted,) if self.begun is converted else (converted, self.begun)

    def replaced(self, **fields: Any) -> "Agent":
        """The same agent, whose weights learn at other times (`plastic`), which begins with other weights than were converted (`begun`), or
        knows what to expect (`forward`)."""
        twin = copy.copy(self)
        for name, value in fields.items():
            setattr(twin, name, value)
        return twin

    def init(self, environments: int, seed: int = 0) -> AgentState:
        """The state before the first step in so many environments: the weights begun with, a critic that expects nothing."""
        generator = torch.Generator().manual_seed(seed)
        weights = self.begun
        critic = self.critic.init(self.usual.observations, generator)
        trial = self.trials.init(weights, environments)
        monitor = self.monitor.init(self.usual.returns)
        roles, returns = np.zeros(environments, bool), np.zeros(environments)
        flight, sizes = self._through(self.body).grounded(environments), self.learning.init(weights)
        state = AgentState(weights, weights, self.body, flight, sizes, critic, monitor, trial, roles, returns, generator.get_state())
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

    def network(self, weights: Weights, body: Body | None = None) -> Policy:
        """A policy whose network has these weights and acts through this body (None: the one it was taught with); it can be saved, judged
        and compiled as any other."""
        model, own = self.policy.model, body or self.body
        program = self.tail.written(model.program, weights)
        if not own.plain or "body" in (program.settings.get("policy") or {}):
            spaces = facts_of(self.policy.observation, self.policy.action)
            told = {**spaces, **(program.settings.get("policy") or {}), "body": own.to_json()}
            program = program.replaced(settings={**program.settings, "policy": told})
        forward = self.forward if own.delay else None
        network = type(model)(program, timesteps=1, ann=model.ann, control=model.control)
        return self.policy.replaced(model=network, body=own, forward=forward)

    def taught(
        self,
        state: AgentState,
        observations: Float[ndarray, "n *d"],
        wanted: ndarray,
        weights: Float[ndarray, " n"],
        passes: int = 20,
        size: float = 1.0,
    ) -> AgentState:
        """The agent after lessons: at these observations a person wants these actions (as numbers from 0, or raw outputs), some more
        than others; `size` of its steps. The same three factors: spikes, ψ, and the error of the action as the signal."""
        x = self.tail.inputs(torch.from_numpy(readable(observations, self.policy.observation)))
        choice, value = torch.as_tensor(wanted), torch.as_tensor(weights, dtype=torch.float32)[:, None]
        steps = tuple(dataclasses.replace(each, rate=size * each.rate) for each in self.sizes)
        ascent = Ascent(steps, state.weights, state.sizes)
        for _ in range(passes):
            passed = self.tail.observe(x, self.tail.on_grid(ascent.weights))
            signals = self.tail.signals(value * self.exploration.towards(passed.output, choice), passed)
            stepped_(passed.pre, signals, ascent)
        after, sizes = ascent.reached()
        return dataclasses.replace(state, weights=after, sizes=sizes)

    def _through(self, body: Body) -> Embodied:
        return Embodied(body, self.policy.action, self.forward)

    def _answered(self, state: AgentState, arrival: Arrival) -> AgentState:
        """What came of the pending actions."""
        answer, pending = answer_of(arrival, self.reward_limit), state.pending
        if pending is None:
            raise ConfigError("rewards for actions that were not taken", todo="begin with an arrival that has none")
        last = readable(self._through(state.body).felt(answer.last, state.flight), self.policy.observation)
        done = pending._replace(
            rewards=torch.as_tensor(answer.rewards, dtype=torch.float32),
            terminated=torch.from_numpy(answer.terminated),
            last=torch.from_numpy(last),
            playing=torch.from_numpy(answer.playing),
        )
        running = state.returns + np.where(answer.playing, answer.rewards, 0.0)
        state = dataclasses.replace(self._sensed(state, answer), steps=state.steps + int(answer.playing.sum()), pending=None)
        state = self._episodes(state, answer.ended, running)
        window = (*state.window, done) if state.learning else ()
        return self._rewired(dataclasses.replace(state, window=window, returns=np.where(answer.ended, 0.0, running)))

    def _sensed(self, state: AgentState, answer: Answer) -> AgentState:
        """One moment more for a diagnosis."""
        if state.sensed is None:
            return state
        after, playing = torch.from_numpy(flat(answer.last)), torch.from_numpy(answer.playing)
        seen = (*state.seen, state.sensed._replace(after=after, playing=playing))[-self.diagnosis.remembered :]
        return dataclasses.replace(state, sensed=None, seen=seen, asked=state.asked + 1)

    def _rewired(self, state: AgentState) -> AgentState:
        """Another body where another one is believed; learning begins anew in it, from the weights before."""
        if self.forward is None or not state.learning or state.asked not in self.diagnosis.steps:
            return state
        spaces = self.policy.observation, self.policy.action
        body = self.diagnosis.believed(self.forward, state.seen, state.body, *spaces)
        if body == state.body:
            return state
        flight = under_way(state.seen, body, spaces[1], self._through(body).grounded(len(state.roles)))
        weights, trial = state.origin, self.trials.init(state.origin, len(state.roles))
        sizes = self.learning.init(weights)
        return dataclasses.replace(state, body=body, flight=flight, weights=weights, trial=trial, sizes=sizes, window=())

    def _episodes(self, state: AgentState, ended: Bool[ndarray, " e"], returns: Float[ndarray, " e"]) -> AgentState:
        """Episodes that ended, for the monitor and the trial."""
        if not ended.any():
            return state
        state = dataclasses.replace(state, episodes=state.episodes + int(ended.sum()))
        if not state.learning:
            monitor = self.monitor.watch(state.monitor, returns[ended])
            start = monitor.drifted and self.plastic == "on drift"
            return dataclasses.replace(state, monitor=monitor, learning=start, origin=state.weights, seen=(), asked=0)
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
        window = state.window
        before = (state.weights, state.sizes, state.critic)
        actor = self.plastic != "critic"
        found = learnt(window, self.tail, self.exploration, self.critic, self.learning, self.sizes, before, generator, actor=actor)
        state = dataclasses.replace(
            state, weights=found.weights, sizes=found.sizes, critic=found.critic, window=(), windows=state.windows + 1
        )
        if self.remind is None or not actor:
            return state
        seen = torch.cat([step.observations[step.playing] for step in window])
        return self.remind(self, state, state.body.observed(seen.numpy()))

    def _acted(self, state: AgentState, arrival: Arrival, generator: torch.Generator) -> tuple[ndarray, AgentState]:
        through, flight = self._through(state.body), state.flight.begun(arrival.fresh)
        observations = torch.from_numpy(readable(through.felt(arrival.observations, flight), self.policy.observation))
        inputs = self.tail.inputs(observations)
        outputs = self.tail.run(inputs, self.tail.on_grid(state.weights)).clone()
        if not state.learning:
            choice = outputs.argmax(1) if isinstance(self.policy.action, Discrete) else outputs.clone()
            pending, roles = self._pending(observations, inputs, choice, arrival, np.zeros(len(inputs), bool)), state.roles
        else:
            roles = np.where(arrival.fresh, self._roles(state), state.roles)
            choice, log_probability = self.exploration.draw(outputs, generator)
            pending = self._pending(observations, inputs, choice, arrival, ~roles)._replace(log_probability=log_probability)
        places = self._places(choice)
        if state.learning and roles.any():
            rows = torch.from_numpy(roles)
            outputs[rows] = self.tail.run(inputs[rows], self.tail.on_grid(state.trial.candidate))
            places[roles] = through.placed(acted(outputs[rows], self.policy.action))
        state = dataclasses.replace(state, pending=pending, roles=roles)
        commands, state = self._kept_to(state, arrival, through.shown(outputs), through.commanded(places))
        taken = through.placed(commands)
        sensed = self._sensing(arrival, taken) if state.learning else None
        return commands, dataclasses.replace(state, flight=through.wanted(through.body.effected(taken), flight), sensed=sensed)

    def _sensing(self, arrival: Arrival, taken: ndarray) -> Seen | None:
        if self.forward is None or self.plastic == "critic":
            return None
        before, fresh = torch.from_numpy(flat(arrival.observations)), torch.from_numpy(arrival.fresh)
        return Seen(before, torch.from_numpy(np.array(taken)), before, torch.zeros_like(fresh), fresh)

    def _kept_to(self, state: AgentState, arrival: Arrival, outputs: Tensor, actions: ndarray) -> tuple[ndarray, AgentState]:
        """What the guard leaves of the actions. Rows that it changed were not drawn: they count for the critic, not for the actor. What is
        wanted at an environment's moment of resetting is never done, and no veto."""
        pending = state.pending
        if self.guard is None or pending is None:
            return actions, state
        decision = within(self.guard, arrival.observations, outputs, actions, self.policy.action)
        if arrival.ended is not None:
            decision = decision.only(~arrival.ended | arrival.fresh)
        pending = pending._replace(exploring=pending.exploring & torch.from_numpy(decision.by < 0))
        return decision.taken, dataclasses.replace(state, pending=pending, decision=decision)

    def _roles(self, state: AgentState) -> Bool[ndarray, " e"]:
        count = len(state.roles)
        return np.zeros(count, bool) if self.plastic == "critic" else self.trials.roles(state.trial, count)

    def _places(self, choice: Tensor) -> ndarray:
        """Actions of what was drawn, discrete ones as places from 0."""
        return acted(choice, self.policy.action) if choice.dim() == 2 else choice.numpy().copy()

    def _pending(self, observations: Tensor, inputs: Tensor, choice: Tensor, arrival: Arrival, exploring: ndarray) -> Step:
        count = len(observations)
        nothing, no = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
        fresh = torch.from_numpy(arrival.fresh)
        return Step(observations, inputs, choice, nothing, nothing, no, fresh, observations, no, torch.from_numpy(exploring))
