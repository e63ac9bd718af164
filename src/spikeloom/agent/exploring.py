"""
Exploration: actions drawn around what a network wants, and the score of the one that was drawn.

    discrete    π(a|o) = softmax(o/τ)                    score ∂log π/∂o = (1[a] − π)/τ                   (1)
    continuous  u = o + σ·n,  n normal                   score ∂log π/∂o = (u − o)/σ²                     (2)

τ is chosen on observations, so that the mean entropy of (1) is a given share of the greatest there is: a policy taught to be sure of
itself explores nothing else. σ is a share of the range of u: of the actions, or of ± `limit` where a policy squashes.

Source: Williams 1992, Machine Learning 8, 229 (REINFORCE: the score is the local eligibility of a stochastic unit).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.datasets.spaces import Action, Continuous, Discrete


@final
class Drawn(NamedTuple):
    """What was drawn for E environments: actions' places [E] or raw outputs u [E, k], and log π of them [E]."""

    choice: Tensor
    log_probability: Float[Tensor, " e"]


@final
@dataclass(frozen=True)
class Exploration:
    """How a policy explores: τ of (1), or σ of (2)."""

    action: Action
    width: float

    def draw(self, outputs: Float[Tensor, "e k"], generator: torch.Generator) -> Drawn:
        """One action for each row."""
        if isinstance(self.action, Discrete):
            choice = torch.multinomial(torch.softmax(outputs / self.width, 1), 1, generator=generator)[:, 0]
        else:
            choice = outputs + self.width * torch.randn(outputs.shape, generator=generator)
        return Drawn(choice, self.log_probability(outputs, choice))

    def log_probability(self, outputs: Float[Tensor, "n k"], choice: Tensor) -> Float[Tensor, " n"]:
        """log π of what was chosen."""
        if isinstance(self.action, Discrete):
            return torch.log_softmax(outputs / self.width, 1).gather(1, choice[:, None])[:, 0]
        z = (choice - outputs) / self.width
        return -(z.square() / 2 + math.log(self.width * math.sqrt(2 * math.pi))).sum(1)

    def score(self, outputs: Float[Tensor, "n k"], choice: Tensor) -> Float[Tensor, "n k"]:
        """(1) or (2), times the width (σ² where it is one): without it the size of outputs says how fast a network learns."""
        if isinstance(self.action, Discrete):
            places = choice[:, None]
            return torch.softmax(outputs / self.width, 1).neg_().scatter_add_(1, places, torch.ones_like(places, dtype=outputs.dtype))
        return (choice - outputs) / self.width

    def towards(self, outputs: Float[Tensor, "n k"], wanted: Tensor) -> Float[Tensor, "n k"]:
        """The error of a lesson: what moves the outputs to an action that a person wants."""
        return self.score(outputs, wanted)


def exploration_of(action: Action, outputs: Float[Tensor, "n k"], share: float) -> Exploration:
    """The exploration of this share (0 to 1): of the greatest entropy on these outputs, or σ as a share of the range."""
    if isinstance(action, Continuous):
        return Exploration(action, share * _reach(action))
    low, high = 1e-3, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if entropy_share(outputs / middle) < share else (low, middle)
    return Exploration(action, math.sqrt(low * high))


def entropy_share(logits: Float[Tensor, "n k"]) -> float:
    """The mean entropy of softmax(logits) by log k."""
    log_p = torch.log_softmax(logits, 1)
    return float(-(log_p.exp() * log_p).sum(1).mean()) / math.log(logits.shape[1])


def _reach(action: Continuous) -> float:
    """Half the range of what the network gives: of u before tanh, or of the actions."""
    if action.squash == "tanh":
        return 1.0 if action.limit is None else action.limit / 2
    widths = [(high - low) / 2 for low, high in zip(action.low, action.high, strict=True)]
    finite = [width for width in widths if math.isfinite(width)]
    return sum(finite) / len(finite) if finite else 1.0
