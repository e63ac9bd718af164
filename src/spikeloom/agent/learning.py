"""
Learning from a window of K control steps in E environments: an actor and its critic, by a three-factor rule at every synapse.

    Δw_ji ∝ Σ_t A_t · L_j,t · s_i,t                                                       (1)

A_t is what the window's TD errors credit the step with: the sum that an eligibility trace of decay γλ would gather forwards (`plasticity
.window`, (2) there). L_j = ψ_j·F_j·score brings the score of the action that was drawn to neuron j by fixed wires (`tail`). s_i are the
spikes at the synapse. Each synapse takes steps of its own size (`plasticity.step_size`).

A window is gone through several times (replay). What was drawn by older weights counts by the ratio ρ of probabilities, and no more once
ρ has left 1 ± clip in the direction it is pushed to, or the policy on the whole has moved by more than `divergence` nats.

Sources: Barto, Sutton & Anderson 1983; Bellec et al. 2020 (reward-based e-prop); Schulman et al. 2016, arXiv:1506.02438 (A_t); the clip
is that of PPO, Schulman et al. 2017, arXiv:1707.06347.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.agent.critic import Critic, CriticState
from spikeloom.agent.exploring import Exploration
from spikeloom.agent.tail import Passed, Tail, Weights
from spikeloom.errors import ConfigError
from spikeloom.plasticity import Ascent, StepSize, StepSizeState, credits_of

Drawn = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of rows that explored: what came to the tail, what was drawn, its log π then, and what it is credited with."""


@final
class Step(NamedTuple):
    """One control step of E environments: what was observed, what came to the tail, what was drawn, what came of it. `last` is what was
    observed after it; `exploring` rows were drawn and count for the actor, `playing` ones for the critic."""

    observations: Float[Tensor, "e *d"]
    inputs: Float[Tensor, "e *i"]
    choice: Tensor
    log_probability: Float[Tensor, " e"]
    rewards: Float[Tensor, " e"]
    terminated: Bool[Tensor, " e"]
    fresh: Bool[Tensor, " e"]
    last: Float[Tensor, "e *d"]
    playing: Bool[Tensor, " e"]
    exploring: Bool[Tensor, " e"]


@final
@dataclass(frozen=True)
class Learning:
    """How windows are learnt from. ConfigError for numbers by which nothing is learnt."""

    rate: float = 0.1
    discount: float = 0.99  # γ
    trace: float = 0.95  # λ
    steps: int = 8  # K
    replays: int = 10
    parts: int = 4
    clip: float = 0.2
    divergence: float = 0.06
    beta_square: float = 0.99

    def __post_init__(self) -> None:
        for name in ("rate", "divergence"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"an agent's {name} is out of range", found=getattr(self, name), allowed="above 0")
        if not 0 <= self.discount < 1:
            raise ConfigError("an agent's discount is out of range", found=self.discount, allowed="0 to below 1")

    def init(self, weights: Weights) -> tuple[StepSizeState, ...]:
        """Step sizes before anything was learnt."""
        return tuple(StepSize(1.0, self.beta_square).init(weight) for weight in weights)

    def sizes(self, tail: Tail, passed: Passed, width: float) -> tuple[StepSize, ...]:
        """The step size of every tensor of weights. A step of a whole layer moves an output by at most `rate` of the exploration's width,
        on the mean of what passes there: Δo = η·Σ_i |s_i|·Σ_j |F_j ψ_j|, and η is chosen so."""
        rates = list[float]()
        for pre, psi, wires in zip(passed.pre, passed.psi, tail.feedback, strict=True):
            wide = float((wires.abs() @ psi.abs().mean(0)).mean())
            rates += [self.rate * width / max(wide * max(float(pre.flatten(1).abs().sum(1).mean()), 1.0), 1e-12)] * 2
        return tuple(StepSize(rate, self.beta_square) for rate in rates)


@final
class Learnt(NamedTuple):
    """What a window changed: weights, step sizes, critic, and how far the policy moved, in nats."""

    weights: Weights
    sizes: tuple[StepSizeState, ...]
    critic: CriticState
    moved: float


def credited(window: tuple[Step, ...], critic: Critic, state: CriticState, how: Learning) -> tuple[Tensor, Tensor, Tensor]:
    """(A [K, E], targets [K, E], features [K, E, f]) of a window."""
    features, later = (_features(critic, state, [step[place] for step in window]) for place in (0, 7))
    values, after = features @ state.readout, later @ state.readout
    going_on = torch.stack([(~step.terminated).float() for step in window])
    rewards = torch.stack([step.rewards for step in window]) * (1 - how.discount)
    errors = rewards + how.discount * going_on * after - values  # critic (2)
    errors = errors * torch.stack([step.playing for step in window])
    fresh = torch.stack([step.fresh | ~step.playing for step in window])
    credit = credits_of(errors[..., None], how.discount * how.trace, fresh)[..., 0]
    return credit, credit + values, features


def _features(critic: Critic, state: CriticState, observations: list[Tensor]) -> Float[Tensor, "k e f"]:
    """The critic's features of all steps of a window at once."""
    return critic.features(state, torch.cat(observations)).view(len(observations), len(observations[0]), -1)


def learnt(
    window: tuple[Step, ...],
    tail: Tail,
    exploration: Exploration,
    critic: Critic,
    how: Learning,
    step: tuple[StepSize, ...],
    before: tuple[Weights, tuple[StepSizeState, ...], CriticState],
    generator: torch.Generator,
    *,
    actor: bool = True,
) -> Learnt:
    """Weights, step sizes and critic after a window; `actor` False leaves the weights as they are."""
    weights, sizes, state = before
    credit, targets, features = credited(window, critic, state, how)
    playing = torch.stack([step.playing for step in window])
    state = critic.learnt(state, features[playing], targets[playing], generator) if bool(playing.any()) else state
    exploring = torch.stack([step.exploring & step.playing for step in window])
    if not actor or int(exploring.sum()) < 2:
        return Learnt(weights, sizes, state, 0.0)
    inputs, choice, old = (torch.stack([step[place] for step in window])[exploring] for place in (1, 2, 3))
    drawn, moved = (inputs, choice, old, credit[exploring]), 0.0
    ascent = Ascent(step, weights, sizes)
    with torch.inference_mode():
        for part in _parts(drawn, how, generator):
            moved = moved_once_(part, tail, exploration, how, ascent)
            if moved > how.divergence:
                break
    return Learnt(*ascent.reached(), state, moved)


def _parts(drawn: Drawn, how: Learning, generator: torch.Generator) -> Iterator[Drawn]:
    """The parts of all replays, each replay in an order of its own."""
    for _ in range(how.replays):
        order = torch.randperm(len(drawn[0]), generator=generator)
        yield from zip(*(each.index_select(0, order).chunk(how.parts) for each in drawn), strict=True)


def moved_once_(drawn: Drawn, tail: Tail, exploration: Exploration, how: Learning, ascent: Ascent) -> float:
    """(1) for some of a window; how far the policy had moved before it (Schulman's k3 estimate)."""
    inputs, choice, old, advantage = drawn
    advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    passed = tail.observe(inputs, tail.on_grid(ascent.weights))
    distance = exploration.log_probability(passed.output, choice) - old
    ratio = distance.exp()
    beyond = torch.where(advantage > 0, ratio > 1 + how.clip, ratio < 1 - how.clip)
    factor = advantage * ratio * ~beyond
    signals = tail.signals(factor[:, None] * exploration.score(passed.output, choice), passed)
    stepped_(passed.pre, signals, ascent)
    return float((ratio - 1 - distance).mean())


def stepped_(pre: tuple[Tensor, ...], signals: tuple[Tensor, ...], ascent: Ascent) -> None:
    """The weights have gone up by the mean of L·s over the rows, in steps of each synapse's size."""
    for place, (spikes, signal) in enumerate(zip(pre, signals, strict=True)):
        torch.mm(signal.T, spikes, out=ascent.asked[2 * place])
        torch.sum(signal, 0, out=ascent.asked[2 * place + 1])
    ascent.step_(max(len(pre[0]), 1))
