"""
HSEO, Hybrid Spike-based Evolutionary Optimization: a memetic evolution over the parameters of neuron populations.

Each generation spends `population_size` evaluations around the incumbent, the best so far; the first is the program as given (the
closed form):

    1  a run of the incumbent that keeps its values at cuts and listens to its spikes                          `steering`, `cuts`
    2  gradient steps on a trajectory that starts at the incumbent; what is proposed is its running mean        `polish`      (1)
       ĝ ← ρ·ĝ + (1 − ρ)·g;   in the first generation a sweep that refits every population to what it receives  `refit`
    3  steered mutations of the incumbent, from some population on (what is before it is not run again)         `steering`
    4  draws of a covariance-adapting population around it                                                      `evolution`
    5  all are evaluated; the population is told their ranks; one that is better takes the incumbent's place                (2)

Divergences of few samples are noisy, and the least of many is mostly luck. So (2) compares samples in pairs: a mutated or drawn
candidate must be better by `CAREFUL` standard errors of the difference; a polished one, which thousands of activations speak for, only
by anything.

A gradient step and a refitting sweep count as three evaluations. With a front there are several incumbents, one for each weight of
energy, that take turns; ranks are those of NSGA-II, and whatever is not dominated is kept.

Sources: CMA-ES, Hansen 2016; memetic search, Moscato 1989; averaged iterates, Polyak & Juditsky 1992; NSGA-II, Deb et al. 2002.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import numpy as np

from spikeloom.errors import ConfigError
from spikeloom.evolve.bench import Bench, evaluated
from spikeloom.evolve.evolution import Evolution
from spikeloom.evolve.executor import Executor
from spikeloom.evolve.front import Point, merged, sorted_ranks
from spikeloom.evolve.objective import Outcome, better, ranked, value_of
from spikeloom.evolve.polish import COST, Adam, added, share_of
from spikeloom.evolve.refit import refitted
from spikeloom.evolve.space import Genes
from spikeloom.evolve.state import Written
from spikeloom.evolve.steering import listened, steered
from spikeloom.ir import Progress

log = logging.getLogger(__name__)

TOLD = 4
"""The fewest candidates that a covariance is adapted by."""
FEWEST = 1 + TOLD
MEMORY = 0.85
"""ρ of (1)."""
CAREFUL = 1.5
FRONT_WEIGHTS = (0.0, 1.0, 4.0, 16.0)
"""What energy weighs for the incumbents of a front, in units of the start's divergence."""


@final
@dataclass(frozen=True)
class Plan:
    """What a search is asked to do. `weight` is λ; `polish` the share of evaluations spent on gradients; `rate` their first stride."""

    population_size: int = 20
    generations: int = 10
    weight: float = 0.0
    front: bool = False
    polish: float = 0.6
    rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.population_size < FEWEST:
            raise ConfigError("population_size is out of range", found=self.population_size, allowed=f"{FEWEST} or more")
        if self.generations < 1:
            raise ConfigError("generations is out of range", found=self.generations, allowed="1 or more")
        for name, most in (("polish", 0.9), ("weight", math.inf), ("rate", 10.0)):
            if not 0.0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} is out of range", found=getattr(self, name), allowed=f"0 … {most:g}")

    @property
    def steps(self) -> int:
        """Gradient steps a generation."""
        return min(int(self.polish * self.population_size), self.population_size - FEWEST) // COST

    @property
    def shares(self) -> tuple[int, int, int]:
        """How many polished, steered and drawn candidates a generation has; one evaluation listens to the incumbent."""
        left = self.population_size - COST * self.steps - 1
        polished = 1 if self.steps else 0
        mutated = max((left - polished) // 2, 1)
        return polished, mutated, left - polished - mutated


class Track(NamedTuple):
    """One incumbent: its genes and what they gave, and the trajectory of its gradient steps, `stride` times as long as planned."""

    genes: Genes
    outcome: Outcome
    iterate: Genes
    mean: Genes
    adam: Adam
    stride: float = 1.0


@final
class Search:
    """A search on a bench. `step` is one generation; `state` and `restore` are all that the next one depends on."""

    def __init__(self, bench: Bench, plan: Plan, executor: Executor) -> None:
        self.bench, self.plan, self.executor = bench, plan, executor
        self.generation, self.evaluations, self.history = 0, 1, list[dict[str, Any]]()
        zero = np.zeros(bench.space.size)
        self.start = bench.outcome(zero)
        units = max(self.start.divergence, 1e-6)
        self.weights = tuple(units * each for each in FRONT_WEIGHTS) if plan.front else (plan.weight,)
        self.tracks = [Track(zero, self.start, zero, zero, Adam.fresh(bench.space.size)) for _ in self.weights]
        self.evolution = Evolution(bench.space.size, bench.space.bounds, sum(plan.shares))
        self.front: tuple[Point, ...] = ()
        self._keep([zero], [self.start])

    @property
    def best(self) -> Track:
        """The first incumbent: the best by the plan's weight; of a front the nearest to the ANN."""
        return self.tracks[0]

    def run(self, save: Callable[[Written], None] = lambda written: None, progress: Progress = lambda what, done, total: None) -> None:
        """All generations that are left; `save` is called after each."""
        while self.generation < self.plan.generations:
            self.step()
            save(self.state())
            outcome = self.best.outcome
            told = f"evolving, best divergence {outcome.divergence:.4g}, {outcome.energy_pj / 1e6:.4g} µJ"
            progress(told, self.generation, self.plan.generations)

    def step(self) -> None:
        """One generation."""
        turn = self.generation % len(self.tracks)
        track, weight = self.tracks[turn], self.weights[turn]
        _, base, heard = listened(self.bench, track.genes)
        track = self._moved(track, weight)
        self.evolution.move_to(track.genes)
        polished, mutated, drawn = self.plan.shares
        candidates = [track.mean] * polished
        for k in range(mutated):
            generator = np.random.default_rng([self.plan.seed, self.generation, k])
            candidates.append(steered(self.bench, track.genes, heard, self.evolution.sigma, generator))
        candidates += self.evolution.ask(drawn, (self.plan.seed, self.generation, mutated))
        calls = [(str(self.bench.folder), genes.tolist(), base) for genes in candidates]
        outcomes = [Outcome(*told) for told in self.executor.map(evaluated, calls)]
        self.evaluations += 1 + COST * self.plan.steps + len(candidates)
        self._keep(candidates, outcomes)
        self.evolution.tell(candidates, self._keys(outcomes, weight))
        self.tracks[turn] = self._accepted(track, candidates, outcomes, weight)
        self._record(outcomes, weight, turn)
        self.generation += 1

    def _moved(self, track: Track, weight: float) -> Track:
        """(1): the trajectory after this generation's gradient steps; the first generation refits in the place of one."""
        iterate, mean, adam = track.iterate, track.mean, track.adam
        total = max(self.plan.steps * self.plan.generations // len(self.tracks), 1)
        for k in range(self.plan.steps):
            if self.generation < len(self.tracks) and k == 0 and self.bench.activations[0]:
                iterate = refitted(self.bench, iterate)
                mean = iterate
                continue
            rate = self.plan.rate * track.stride * max(1.0 - adam.steps / total, 0.1)
            iterate, adam = adam.stepped(iterate, self._gradient(iterate, weight), rate, self.bench.space.bounds)
            mean = MEMORY * mean + (1 - MEMORY) * iterate
        return track._replace(iterate=iterate, mean=mean, adam=adam)

    def _gradient(self, genes: Genes, weight: float) -> Genes:
        calls = [(str(self.bench.folder), genes.tolist(), weight, chunk) for chunk in range(len(self.bench.chunks))]
        return added(self.executor.map(share_of, calls))

    def _keys(self, outcomes: Sequence[Outcome], weight: float) -> list[Any]:
        """Keys by which candidates sort: by value, or, for a front, by NSGA-II's ranks; infeasible ones after all others."""
        keys = ranked(outcomes, weight, self.bench.prices.start_pj)
        if not self.plan.front:
            return keys
        costs = np.array([(each.divergence, each.energy_pj) for each in outcomes])
        return [(key[0], *rank) for key, rank in zip(keys, sorted_ranks(np.nan_to_num(costs, nan=np.inf)), strict=True)]

    def _accepted(self, track: Track, candidates: Sequence[Genes], outcomes: Sequence[Outcome], weight: float) -> Track:
        """The best of the generation that is better than the incumbent takes its place (2); one that was not polished starts a new
        trajectory. A trajectory that led nowhere begins again at the incumbent, half as fast."""
        order = sorted(range(len(candidates)), key=lambda place: ranked([outcomes[place]], weight, self.bench.prices.start_pj))
        for place in order:
            ours = place < self.plan.shares[0]
            if better(outcomes[place], track.outcome, weight, self.bench.prices.start_pj, 0.0 if ours else CAREFUL):
                track = track._replace(genes=candidates[place], outcome=outcomes[place])
                return track if ours else track._replace(iterate=track.genes, mean=track.genes)
        if ours_lost(outcomes[: self.plan.shares[0]], track.outcome, weight, self.bench.prices.start_pj):
            return track._replace(iterate=track.genes, mean=track.genes, stride=track.stride / 2)
        return track

    def _keep(self, candidates: Sequence[Genes], outcomes: Sequence[Outcome]) -> None:
        if self.plan.front:
            pairs = [(genes, each) for genes, each in zip(candidates, outcomes, strict=True) if each.feasible]
            found = [
                Point(tuple(genes.tolist()), each.divergence, each.accuracy, each.energy_pj, self.bench.timesteps) for genes, each in pairs
            ]
            self.front = merged([*self.front, *found])

    def _record(self, outcomes: Sequence[Outcome], weight: float, turn: int) -> None:
        values = [value_of(each, weight, self.bench.prices.start_pj) for each in outcomes if each.feasible]
        best = self.tracks[turn].outcome
        row = {"generation": self.generation, "weight": weight, "evaluations": self.evaluations, "feasible": len(values)}
        row |= {"best": value_of(best, weight, self.bench.prices.start_pj), "divergence": best.divergence, "accuracy": best.accuracy}
        row |= {"energy_pj": best.energy_pj, "mean": _finite(np.mean(values)) if values else None}
        row |= {"spread": _finite(np.std(values)) if values else None, "sigma": self.evolution.sigma, "front": len(self.front)}
        self.history.append(row)

    def state(self) -> Written:
        """All that the next generation depends on."""
        arrays = self.evolution.state()
        for turn, track in enumerate(self.tracks):
            parts = {"genes": track.genes, "iterate": track.iterate, "mean": track.mean, "first": track.adam.first}
            arrays |= {f"{turn}.{name}": array for name, array in {**parts, "second": track.adam.second}.items()}
        outcomes = [[*_told(track.outcome), track.adam.steps, track.stride] for track in self.tracks]
        facts = {"generation": self.generation, "evaluations": self.evaluations, "history": list(self.history), "outcomes": outcomes}
        return Written(arrays, {**facts, "front": [point.to_json() for point in self.front]})

    def restore(self, written: Written) -> None:
        """Go on from a state."""
        arrays, facts = written.arrays, written.facts
        self.evolution.restore(arrays)
        self.generation, self.evaluations, self.history = facts["generation"], facts["evaluations"], list(facts["history"])
        self.front = tuple(Point.of_json(told) for told in facts["front"])
        for turn, (*told, steps, stride) in enumerate(facts["outcomes"]):
            part = partial(lambda name, at: np.array(arrays[f"{at}.{name}"]), at=turn)
            adam = Adam(part("first"), part("second"), int(steps))
            divergence, accuracy, energy_pj, violation, losses = told
            outcome = Outcome(divergence, accuracy, energy_pj, violation, tuple(losses))
            self.tracks[turn] = Track(part("genes"), outcome, part("iterate"), part("mean"), adam, float(stride))


def ours_lost(polished: Sequence[Outcome], incumbent: Outcome, weight: float, energy_pj: float) -> bool:
    """Whether what was polished is surely worse than the incumbent."""
    return any(better(incumbent, each, weight, energy_pj, CAREFUL) for each in polished)


def _told(outcome: Outcome) -> list[Any]:
    return [outcome.divergence, outcome.accuracy, outcome.energy_pj, outcome.violation, list(outcome.losses)]


def _finite(number: Any) -> float | None:
    return float(number) if math.isfinite(float(number)) else None
