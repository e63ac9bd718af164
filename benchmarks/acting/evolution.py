"""
Evolution of agents: neurons on return, against random search and plain CMA-ES; plasticity on one shift, tried on others.

Neurons: dqn_cartpole at seven levels without compensation, which costs it nearly all of its return. All three searches have the same
genes, bounds and first step, and the same number of episodes (8 for a candidate; evolution's duels count). Random search keeps the best
mean it saw, plain CMA-ES its mean at the end. What was found is judged on 128 other episodes.

Plasticity: dqn_cartpole at N=31, the rule's numbers evolved on a pole three times as long, with 160 episodes of adaptation; then the
given and the evolved numbers adapt in lives of other seeds, to that shift and to two others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from acting.networks import FITTED, Zoo
from harness.rows import Row
from spikeloom import Settings, convert
from spikeloom.agent import Breeding, Contest, Policy, evolve_agent, observations, policy_of, returns
from spikeloom.agent.contest import met, set_up
from spikeloom.agent.genes import Genome
from spikeloom.agent.learning import Learning
from spikeloom.agent.worlds import Shift, world
from spikeloom.evolve.evolution import Evolution
from spikeloom.evolve.executor import opened
from spikeloom.evolve.space import Genes
from spikeloom.evolve.state import key_of

COMMAND = "python benchmarks/agents.py --parts evolution"
JUDGED = 128
SEEDS = (1, 2, 3)
CONTEST = Contest("CartPole-v1", episodes=8)
BREEDING = Breeding(population_size=12, generations=6)
TRAITS = ("rate", "exploration", "trace", "discount", "divergence", "steps")
EVOLVED_ON: Shift = {"length": 3.0}
TRIED_ON: tuple[Shift, ...] = ({"length": 3.0}, {"gain": 0.3}, {"swap": "2:3"})
LIVING = Contest("CartPole-v1", (EVOLVED_ON,), episodes=32, adaptation=160, lives=2, acquaintance=100)
LEARNERS = Breeding((), TRAITS, population_size=6, generations=3, sigma=0.7, seed=1)
LIVES = 3
"""Lives of other seeds that the given and the evolved numbers are tried in."""

Search = Callable[[Policy, int, int], tuple[Policy, int]]
"""A policy, a seed and a number of evaluations (0: the search's own) to the policy found and the evaluations spent."""


def rows(names: Sequence[str], episodes: int) -> Iterator[Row]:
    """The rows of evolution, where dqn_cartpole is asked for."""
    if "dqn_cartpole" not in names:
        return
    torch.set_num_threads(1)
    yield of_neurons(Zoo("dqn_cartpole"))
    yield from of_plasticity(Zoo("dqn_cartpole"))


def coarse(zoo: Zoo) -> Policy:
    """The policy at seven levels, its errors not compensated."""
    data = observations(zoo.ann(), zoo.environments(FITTED), FITTED)
    return policy_of(convert(zoo.source.address, data, Settings(timesteps=1, levels=7, compensate=False, calibration_samples=len(data))))


def of_neurons(zoo: Zoo) -> Row:
    """Three searches from the same network."""
    policy, spent = coarse(zoo), 0
    found: dict[str, list[float]] = {"HSEO": [], "plain CMA-ES": [], "random search": []}
    for seed in SEEDS:
        best, spent = hybrid(policy, seed, 0)
        found["HSEO"].append(judged(best))
        for name, search in (("plain CMA-ES", plain), ("random search", at_random)):
            found[name].append(judged(search(policy, seed, spent)[0]))
    beside = {
        "before": judged(policy),
        "ANN": judged_act(zoo),
        "seeds": list(SEEDS),
        "episodes of a search": spent * CONTEST.episodes,
        **found,
    }
    beside |= {f"{name}, mean": round(float(np.mean(values)), 1) for name, values in found.items()}
    value = round(float(np.mean(found["HSEO"])), 1)
    name = "DQN CartPole, T=1 N=7, not compensated: return after evolution of neurons"
    return Row(name, value, f"mean of {len(SEEDS)} seeds", COMMAND, beside)


def hybrid(policy: Policy, seed: int, evaluations: int) -> tuple[Policy, int]:
    """`evolve_agent`."""
    found = evolve_agent(policy, CONTEST, Breeding(**{**asdict(BREEDING), "seed": seed}))
    return found.policy, int(found.history[-1]["evaluations"])


def plain(policy: Policy, seed: int, evaluations: int) -> tuple[Policy, int]:
    """CMA-ES from the same start, its mean at the end."""
    with Meeting(policy) as (genome, meet):
        size = BREEDING.population_size
        evolution = Evolution(genome.size, genome.bounds, size, BREEDING.sigma)
        for generation in range(evaluations // size):
            candidates = evolution.ask(size, (seed, generation))
            evolution.tell(candidates, [-each.mean for each in meet(candidates, _first(seed, generation))])
        return genome.network(np.clip(evolution.inner.mean, genome.bounds[:, 0], genome.bounds[:, 1])), evaluations


def at_random(policy: Policy, seed: int, evaluations: int) -> tuple[Policy, int]:
    """Normal draws around the same start, the best of them."""
    with Meeting(policy) as (genome, meet):
        drawn = np.random.default_rng(seed).standard_normal((evaluations, genome.size)) * BREEDING.sigma
        candidates = list(np.clip(drawn, genome.bounds[:, 0], genome.bounds[:, 1]))
        size = BREEDING.population_size
        parts = [meet(candidates[start : start + size], _first(seed, start)) for start in range(0, evaluations, size)]
        means = [each.mean for part in parts for each in part]
        return genome.network(candidates[int(np.argmax(means))]), evaluations


class Meeting:
    """The genome of a policy, and what its candidates get."""

    def __init__(self, policy: Policy) -> None:
        self.genome = Genome(policy, Learning(), 0.85, BREEDING.neurons, (), BREEDING.groups)
        self.folder, self.executor = TemporaryDirectory(), opened("loky", 1)

    def __enter__(self) -> tuple[Genome, Callable[[Sequence[Genes], int], list[Any]]]:
        place, running = Path(self.folder.__enter__()), self.executor.__enter__()
        set_up(place, self.genome, CONTEST, {"neurons": BREEDING.neurons, "plasticity": (), "groups": BREEDING.groups})
        key = key_of(place, asdict(BREEDING))
        return self.genome, lambda candidates, first: met(place, key, CONTEST, candidates, first, running)

    def __exit__(self, *told: Any) -> None:
        self.executor.__exit__(*told)
        self.folder.__exit__(*told)


def _first(seed: int, place: int) -> int:
    return int(np.random.SeedSequence([seed, place, 99]).generate_state(1)[0]) >> 2


def of_plasticity(zoo: Zoo) -> Iterator[Row]:
    """Numbers of the rule, evolved on one shift, on it and on others: adaptation with as many episodes."""
    data = observations(zoo.ann(), zoo.environments(FITTED), FITTED)
    policy = policy_of(convert(zoo.source.address, data, Settings(timesteps=1, levels=31, calibration_samples=len(data))))
    found = evolve_agent(policy, LIVING, LEARNERS)
    now = {**asdict(found.learning), "exploration": found.exploration}
    told = {name: round(float(now[name]), 4) for name in TRAITS}
    settings: Mapping[str, tuple[Learning, float]] = {"given": (Learning(), 0.85), "evolved": (found.learning, found.exploration)}
    for shift in TRIED_ON:
        adapted = {name: [round(float(value), 1) for value in lives(policy, shift, *how)] for name, how in settings.items()}
        means = {f"{name}, mean": round(float(np.mean(values)), 1) for name, values in adapted.items()}
        frozen = returns(policy.actor(), world("CartPole-v1", JUDGED, shift), JUDGED, 1000).mean()
        beside = {"frozen": round(float(frozen), 1), **adapted, **means, "evolved on": dict(EVOLVED_ON), "numbers": told}
        beside |= {"new incumbents": [row["new"] for row in found.history], "lives spent": 2 * int(found.history[-1]["evaluations"])}
        name = f"CartPole-v1 {', '.join(f'{key}={value}' for key, value in shift.items())}: return adapted with evolved plasticity"
        yield Row(name, means["evolved, mean"], f"mean of {LIVES} lives of {LIVING.adaptation} episodes", COMMAND, beside)


def lives(policy: Policy, shift: Shift, learning: Learning, exploration: float) -> list[float]:
    """Mean returns of lives under a shift, of seeds that evolution has not met."""
    contest = Contest(**{**asdict(LIVING), "shifts": (shift,), "lives": LIVES})
    genome, told = Genome(policy, learning, exploration, (), TRAITS), {"neurons": (), "plasticity": TRAITS, "groups": 1}
    with TemporaryDirectory() as folder, opened("loky", 1) as running:
        set_up(Path(folder), genome, contest, told)
        found = met(Path(folder), key_of(Path(folder), {}), contest, [np.zeros(genome.size)], 7_000_000, running)
    return found[0].returns.tolist()


def judged(policy: Policy) -> float:
    """The mean return of 128 episodes that nothing was chosen on."""
    return round(float(returns(policy.actor(), world("CartPole-v1", JUDGED), JUDGED, 1000).mean()), 1)


def judged_act(zoo: Zoo) -> float:
    """The ANN's."""
    return round(float(returns(zoo.ann(), world("CartPole-v1", JUDGED), JUDGED, 1000).mean()), 1)
