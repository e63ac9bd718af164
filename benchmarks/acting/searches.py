"""
Three searches of an agent's genes with one budget: HSEO (`evolve_agent`), CMA-ES by itself, random draws.

All have the same genes, bounds and first step; the candidates of generation g meet the same episodes in each (`seed_of`); duels count as
evaluations. CMA-ES and random draws spend what HSEO spent. CMA-ES keeps its mean of the end. Random search draws from the first
generation's normal distribution, and its best `population_size` meet again in episodes of their own; the best of both looks is kept, so
that it is not the luckiest one that wins.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from spikeloom.agent import Breeding, Contest, Policy, evolve_agent
from spikeloom.agent.contest import Outcome, met, set_up
from spikeloom.agent.evolution import seed_of
from spikeloom.agent.genes import Genome
from spikeloom.agent.learning import Learning
from spikeloom.evolve.evolution import Evolution
from spikeloom.evolve.executor import opened
from spikeloom.evolve.space import Genes
from spikeloom.evolve.state import key_of

EXPLORATION = 0.85

Meet = Callable[[Sequence[Genes], int], list[Outcome]]
"""What candidates get, with seeds from a number on."""


class Found(NamedTuple):
    """What a search came to: the policy, how it learns and explores, and the evaluations it spent."""

    policy: Policy
    learning: Learning
    exploration: float
    spent: int


def hybrid(policy: Policy, contest: Contest, breeding: Breeding) -> Found:
    """`evolve_agent`."""
    found = evolve_agent(policy, contest, breeding, exploration=EXPLORATION)
    return Found(found.policy, found.learning, found.exploration, int(found.history[-1]["evaluations"]))


def plain(policy: Policy, contest: Contest, breeding: Breeding, budget: int) -> Found:
    """CMA-ES with as many evaluations, or up to a generation less."""
    with contested(policy, contest, breeding) as (genome, meet):
        size = breeding.population_size
        evolution = Evolution(genome.size, genome.bounds, size, breeding.sigma)
        for generation in range(budget // size):
            candidates = evolution.ask(size, (breeding.seed, generation))
            evolution.tell(candidates, [-each.mean for each in meet(candidates, seed_of(breeding.seed, generation, 0))])
        return _made(genome, genome.within(evolution.inner.mean), budget // size * size)


def at_random(policy: Policy, contest: Contest, breeding: Breeding, budget: int) -> Found:
    """Random draws with as many evaluations; the closed form is among the candidates, as it is in HSEO."""
    with contested(policy, contest, breeding) as (genome, meet):
        size, generator = breeding.population_size, np.random.default_rng(breeding.seed)
        drawn = generator.standard_normal((budget - size, genome.size)) * breeding.sigma
        drawn[0] = 0.0
        candidates, means = [genome.within(each) for each in drawn], list[float]()
        for generation, start in enumerate(range(0, len(candidates), size)):
            means += [each.mean for each in meet(candidates[start : start + size], seed_of(breeding.seed, generation, 0))]
        best = np.argsort(means)[::-1][:size]
        again = meet([candidates[place] for place in best], seed_of(breeding.seed, budget, 1))
        looks = [means[place] + each.mean for place, each in zip(best, again, strict=True)]
        return _made(genome, candidates[best[int(np.argmax(looks))]], budget)


@contextmanager
def contested(policy: Policy, contest: Contest, breeding: Breeding) -> Generator[tuple[Genome, Meet]]:
    """The genome of a policy, and what its candidates get."""
    told = {"neurons": breeding.neurons, "plasticity": breeding.plasticity, "groups": breeding.groups}
    genome = Genome(policy, Learning(), EXPLORATION, **told)
    with TemporaryDirectory() as made, opened("loky", 1) as running:
        folder = Path(made)
        set_up(folder, genome, contest, told)
        key = key_of(folder, {"of": made})
        yield genome, lambda candidates, first: met(folder, key, contest, candidates, first, running)


def _made(genome: Genome, genes: Genes, spent: int) -> Found:
    return Found(genome.network(genes), *genome.plasticity(genes), spent)


def seeded(breeding: Breeding, seed: int) -> Breeding:
    """The same search from another seed."""
    return replace(breeding, seed=seed)
