"""
Genes of an agent: what a vector of numbers makes of its neurons and of its plasticity.

    neurons      thresholds, initial potentials and, at T > 1, decays and leaks of every population             `evolve.space`
    rate, divergence, steps     x = x0·exp(g)                                                                    (1)
    exploration, trace, discount    logit x = logit x0 + g                                                       (2)

The zero vector is the policy as converted with the learning that was given. Each value stays within its bounds; a window's length is whole.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float

from spikeloom.agent.learning import Learning
from spikeloom.agent.policy import Policy
from spikeloom.errors import ConfigError
from spikeloom.evolve import PARAMETERS, Limits, Space
from spikeloom.evolve.space import Genes


@final
@dataclass(frozen=True)
class Trait:
    """One number of plasticity: its bounds, whether it lies between 0 and 1 (a logit) or is a size (a logarithm), whether it is whole."""

    low: float
    high: float
    share: bool = False
    whole: bool = False

    def coded(self, value: float) -> float:
        """The place of a value on the gene's scale."""
        return math.log(value / (1 - value)) if self.share else math.log(value)

    def moved(self, value: float, gene: float) -> float:
        """(1) or (2), within the bounds."""
        place = self.coded(value) + gene
        found = 1 / (1 + math.exp(-place)) if self.share else math.exp(place)
        return min(max(found, self.low), self.high)


TRAITS: Mapping[str, Trait] = {
    "rate": Trait(1e-3, 0.3),
    "exploration": Trait(0.2, 0.98, share=True),
    "trace": Trait(0.5, 0.999, share=True),
    "discount": Trait(0.8, 0.9995, share=True),
    "divergence": Trait(3e-3, 0.3),
    "steps": Trait(2.0, 64.0, whole=True),
}
"""What of `Learning`, and the share of exploration, can be evolved. One unit of a gene is a factor e, or 1 of a logit."""


@final
class Genome:
    """The genes of a policy and of how it learns, and back.

    Raises ConfigError for an unknown parameter, where there is nothing to search, or where what is given lies outside of the bounds.
    """

    def __init__(
        self, policy: Policy, learning: Learning, exploration: float, neurons: Sequence[str], plasticity: Sequence[str], groups: int = 1
    ) -> None:
        unknown = [name for name in plasticity if name not in TRAITS]
        if unknown:
            raise ConfigError("unknown parameter of plasticity", found=", ".join(unknown), allowed=", ".join(TRAITS))
        if not neurons and not plasticity:
            raise ConfigError("there is nothing to search", allowed=", ".join((*PARAMETERS, *TRAITS)))
        self.policy, self.given = policy, {**dataclasses.asdict(learning), "exploration": exploration}
        self.space = Space(policy.model.program, policy.steps, Limits(), groups, neurons) if neurons else None
        self.neurons = 0 if self.space is None else self.space.size
        self.traits = tuple(name for name in TRAITS if name in plasticity)
        self.size = self.neurons + len(self.traits)
        rows = [self._reach(name) for name in self.traits]
        parts = ([] if self.space is None else [self.space.bounds]) + ([np.array(rows)] if rows else [])
        self.bounds: Float[np.ndarray, "d 2"] = np.concatenate(parts)

    def _reach(self, name: str) -> tuple[float, float]:
        trait, value = TRAITS[name], float(self.given[name])
        if not trait.low <= value <= trait.high:
            raise ConfigError(f"{name} is to be evolved and lies outside of its bounds", found=value, allowed=f"{trait.low} … {trait.high}")
        return trait.coded(trait.low) - trait.coded(value), trait.coded(trait.high) - trait.coded(value)

    def within(self, genes: Genes) -> Genes:
        """The genes, no further out than their bounds."""
        return np.clip(genes, self.bounds[:, 0], self.bounds[:, 1])

    def network(self, genes: Genes) -> Policy:
        """The policy with the neurons of these genes."""
        part = genes[: self.neurons]
        if self.space is None or not np.any(part):
            return self.policy
        model = self.policy.model
        program = self.space.applied(model.program, part)
        return self.policy.replaced(model=type(model)(program, timesteps=model.timesteps, ann=model.ann, control=model.control))

    def plasticity(self, genes: Genes) -> tuple[Learning, float]:
        """How these genes learn, and how much they explore."""
        told: dict[str, Any] = dict(self.given)
        for name, gene in zip(self.traits, genes[self.neurons :], strict=True):
            moved = TRAITS[name].moved(float(told[name]), float(gene)) if gene else told[name]
            told[name] = round(moved) if TRAITS[name].whole else moved
        exploration = told.pop("exploration")
        return Learning(**told), exploration
