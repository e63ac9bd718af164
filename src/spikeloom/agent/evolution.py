"""
HSEO of agents: evolution over the parameters of a policy's neurons and of its plasticity, on the return they bring (`contest`).

A generation spends `population_size` evaluations, all with the same new seeds:

    1  the incumbent, the best so far; the first is the policy as converted, learning as given (the closed form)
    2  the mean of the population, or one more mutation where that is the incumbent
    3  mutations of the incumbent, steered by its spikes: more threshold where neurons are saturated, less where they are silent   (1)
    4  draws of a covariance-adapting population (`evolve.evolution`), which is told the ranks of 3 and 4

Returns are noisy, and the best of many is mostly lucky. Who leads the incumbent by `CAREFUL` standard errors in paired episodes meets it
again, in a duel with fresh seeds, and takes its place only by leading there as well. The population moves to a new incumbent; and back
to the old one, where its mean has become surely worse. Of several generations the last one is for second looks: the incumbent meets the
best of all that never dueled, and the best of both looks takes its place if it leads in the second by `SECOND` standard errors.

Sources: CMA-ES, Hansen 2016, arXiv:1604.00772; common random numbers and racing by second looks, Heidrich-Meisner & Igel 2009 (ICML);
saturated and silent neurons, Bu et al. 2022, arXiv:2202.01440.
"""

import logging
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float

from spikeloom.agent.contest import Contest, Outcome, leads, met, ring_of, set_up
from spikeloom.agent.genes import Genome
from spikeloom.agent.learning import Learning
from spikeloom.agent.policy import Policy, check_learns
from spikeloom.errors import ConfigError
from spikeloom.evolve.bench import fired
from spikeloom.evolve.evolution import Evolution
from spikeloom.evolve.executor import Executor, check_executor, opened
from spikeloom.evolve.search import CAREFUL
from spikeloom.evolve.space import PARAMETERS, Genes
from spikeloom.evolve.state import FILE, Written, key_of, read_state, write_state
from spikeloom.evolve.steering import FULL, MOST_STEERED, SILENT, at_top, grouped
from spikeloom.ir import Progress, Record
from spikeloom.neuron import by_channel
from spikeloom.simulate import Recorder, executable, repeated

log = logging.getLogger(__name__)

SECOND = 1.0
"""Standard errors by which a second look at an earlier candidate must lead."""
TOLD = 4
"""The fewest candidates that a covariance is adapted by."""
PAPERS = ("Hansen 2016, arXiv:1604.00772 (CMA-ES)", "Heidrich-Meisner & Igel 2009 (uncertainty in direct policy search)")


@final
@dataclass(frozen=True)
class Breeding:
    """How candidates are made. `neurons` and `plasticity` name what is searched, `groups` how many groups of channels of a population have
    genes of their own, `sigma` the first step in units of the genes (a tenth of a threshold, a factor e of a rate), `steered` the share
    of mutations. Raises ConfigError for numbers out of range."""

    neurons: tuple[str, ...] = PARAMETERS
    plasticity: tuple[str, ...] = ()
    population_size: int = 12
    generations: int = 10
    groups: int = 4
    sigma: float = 1.0
    steered: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (("population_size", 2 + TOLD, 10_000), ("generations", 1, 10_000), ("steered", 0, 1)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} is out of range", found=getattr(self, name), allowed=f"{least} … {most}")
        if not self.sigma > 0:
            raise ConfigError("sigma is out of range", found=self.sigma, allowed="more than 0")

    @property
    def mutated(self) -> int:
        """How many mutations a generation has; the others are drawn."""
        return int(self.steered * (self.population_size - 2))


@final
@dataclass(frozen=True)
class Evolved:
    """What evolution found: the policy (its record says how), how it should learn, the genes, a row for each generation, and what the
    closed form and the best got in episodes that nothing was chosen on."""

    policy: Policy
    learning: Learning
    exploration: float
    genes: tuple[float, ...]
    history: tuple[Mapping[str, Any], ...]
    start: Outcome
    best: Outcome


def evolve_agent(
    policy: Policy,
    contest: Contest,
    breeding: Breeding | None = None,
    *,
    learning: Learning | None = None,
    exploration: float = 0.85,
    folder: Path | None = None,
    executor: Literal["loky", "threading", "ray", "dask"] | str = "loky",
    workers: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Evolved:
    """Evolves a policy's neurons, or how it learns, or both, on return. See the module.

    The answer depends on the policy, the contest, the breeding and its seed, not on executor or workers. With a `folder` the state is
    kept there after each generation, and a search that was stopped goes on to the same answer.

    Raises ConfigError for settings that contradict each other (plasticity without adaptation; a policy that is to learn, of T > 1 or with
    membranes carried between decisions),
    DataError where the world has other spaces, ResourceError where a disk is full or workers go on dying.
    """
    breeding = breeding or Breeding()
    check_executor(executor, workers)
    if breeding.plasticity and not contest.adaptation:
        raise ConfigError("plasticity is judged by what it learns", found="adaptation 0", allowed="episodes of adaptation")
    if contest.adaptation:
        check_learns(policy)
    told: dict[str, Any] = {"neurons": breeding.neurons, "plasticity": breeding.plasticity, "groups": breeding.groups}
    genome = Genome(policy, learning or Learning(), exploration, **told)
    with _kept(folder) as place, opened(executor, workers) as running:
        set_up(place, genome, contest, told)
        key = key_of(place, asdict(breeding))
        search = Search(place, key, genome, contest, breeding, running)
        if (written := read_state(place / FILE, key)) is not None:
            search.restore(written)
        while search.generation < breeding.generations:
            (search.final if 0 < search.generation == breeding.generations - 1 else search.step)()
            write_state(place / FILE, key, search.state())
            progress(f"evolving: best return {search.history[-1]['best']:.4g}", search.generation, breeding.generations)
        start, best = search.judged()
    return _evolved(genome, search, start, best)


def _evolved(genome: Genome, search: "Search", start: Outcome, best: Outcome) -> Evolved:
    learning, exploration = genome.plasticity(search.incumbent)
    policy, options = genome.network(search.incumbent), {**asdict(search.contest), **asdict(search.breeding)}
    numbers = {"genes": search.incumbent.tolist(), "learning": asdict(learning), "exploration": exploration, "history": search.history}
    for name, outcome in (("start", start), ("best", best)):
        error = float(outcome.returns.std(ddof=1)) / len(outcome.returns) ** 0.5
        numbers |= {name: {"return": outcome.mean, "error": error, "energy_nj": outcome.energy_nj, "pairs": len(outcome.returns)}}
    model = policy.model
    program = model.program.recorded(Record("EvolveAgent", options, numbers, PAPERS))
    policy = policy.replaced(model=type(model)(program, timesteps=model.timesteps, ann=model.ann, control=model.control))
    return Evolved(policy, learning, exploration, tuple(search.incumbent.tolist()), tuple(search.history), start, best)


def seed_of(seed: int, generation: int, stage: int) -> int:
    """Where the seeds begin of the episodes of a generation's stage: all of it, a duel, the judgement at the end."""
    return int(np.random.SeedSequence([seed, generation, stage]).generate_state(1)[0]) >> 2


@final
class Search:
    """A search in a contest. `step` is one generation; `state` and `restore` are all that the next one depends on."""

    def __init__(self, folder: Path, key: str, genome: Genome, contest: Contest, breeding: Breeding, executor: Executor) -> None:
        self.genome, self.contest, self.breeding = genome, contest, breeding
        self.meet = partial(met, folder, key, contest, executor=executor)
        self.generation, self.evaluations, self.history = 0, 0, list[dict[str, Any]]()
        self.incumbent: Genes = np.zeros(genome.size)
        self.hall: Float[np.ndarray, "k d+1"] = np.zeros((0, genome.size + 1))
        usual = ring_of(str(folder), key)
        if contest.adaptation:
            usual.agent(self.incumbent)
        self.observed = usual.usual.observations[:256].numpy()
        self.evolution = Evolution(genome.size, genome.bounds, breeding.population_size - 2, breeding.sigma)

    def step(self) -> None:
        """One generation."""
        breeding, weight, mean = self.breeding, self.contest.weight, self.genome.within(self.evolution.inner.mean)
        mutated = [self._mutated(place) for place in range(breeding.mutated)]
        moved = not np.array_equal(mean, self.incumbent)
        second = mean if moved else self._mutated(breeding.mutated)
        drawn = self.evolution.ask(breeding.population_size - 2 - len(mutated), (breeding.seed, self.generation, breeding.population_size))
        candidates = [self.incumbent, second, *mutated, *drawn]
        outcomes = self.meet(candidates, seed_of(breeding.seed, self.generation, 0))
        self.evaluations += len(candidates)
        self.evolution.tell(candidates[2:], [-each.value(weight) for each in outcomes[2:]])
        self.observed = outcomes[0].observed
        place = max(range(1, len(candidates)), key=lambda place: outcomes[place].value(weight))
        ahead = leads(outcomes[place], outcomes[0], weight, CAREFUL)
        took = ahead and self._duel(candidates[place])
        if took:
            self.incumbent = candidates[place]
        if took or (moved and leads(outcomes[0], outcomes[1], weight, CAREFUL)):
            self.evolution.move_to(self.incumbent)
        self._remember(candidates, outcomes, met_twice=(0, place) if ahead else (0,))
        kinds = ("", "mean" if moved else "steered", *["steered"] * len(mutated), *["drawn"] * len(drawn))
        self._record(outcomes, place if took else 0, kinds[place] if took else "")

    def final(self) -> None:
        """The last generation: the best of those that were never sure enough of their lead to duel meet the incumbent again; the best of
        both looks takes its place where it leads in the second."""
        weight, values, genes = self.contest.weight, self.hall[:, 0], self.hall[:, 1:]
        outcomes = self.meet([self.incumbent, *genes], seed_of(self.breeding.seed, self.generation, 0))
        self.evaluations += len(outcomes)
        looks = [first + second.value(weight) for first, second in zip(values, outcomes[1:], strict=True)]
        place = 1 + int(np.argmax(looks))
        took = leads(outcomes[place], outcomes[0], weight, SECOND)
        self.incumbent = genes[place - 1] if took else self.incumbent
        self._record(outcomes, place if took else 0, "second look" if took else "")

    def _remember(self, candidates: Sequence[Genes], outcomes: Sequence[Outcome], met_twice: Sequence[int]) -> None:
        """The hall of those who got most, without the incumbent and who has dueled."""
        rows = [np.r_[each.value(self.contest.weight), genes] for genes, each in zip(candidates, outcomes, strict=True)]
        told = np.concatenate([self.hall, np.array([row for at, row in enumerate(rows) if at not in met_twice])])
        self.hall = told[np.argsort(-told[:, 0], kind="stable")][: self.breeding.population_size - 1]

    def _duel(self, challenger: Genes) -> bool:
        """Whether the challenger leads in fresh episodes as well."""
        old, new = self.meet([self.incumbent, challenger], seed_of(self.breeding.seed, self.generation, 1))
        self.evaluations += 2
        won = leads(new, old, self.contest.weight, CAREFUL)
        self.observed = new.observed if won else self.observed
        return won

    def _mutated(self, place: int) -> Genes:
        """A mutation of the incumbent: of one population's neurons, steered, or of one number of plasticity."""
        generator = np.random.default_rng([self.breeding.seed, self.generation, place])
        genes, sigma = np.array(self.incumbent), self.evolution.sigma
        spans = [] if self.genome.space is None else [site.span for site in self.genome.space.sites]
        spans += [slice(at, at + 1) for at in range(self.genome.neurons, self.genome.size)]
        span = spans[int(generator.integers(len(spans)))]
        genes[span] += sigma * generator.standard_normal(span.stop - span.start)
        if span.stop <= self.genome.neurons:
            genes[span] += generator.uniform(0.0, 1.0) * self._wanted()[span]
        return self.genome.within(genes)

    def _wanted(self) -> Genes:
        """(1) for every population of the incumbent, by its own episodes; initial potentials the other way."""
        found, space = np.zeros(self.genome.size), self.genome.space
        if space is None:
            return found
        policy = self.genome.network(self.incumbent)
        program = policy.model.program
        recorder = Recorder(executable(program, policy.steps), [site.node for site in space.sites])
        with torch.no_grad():
            recorder.run(repeated(torch.from_numpy(self.observed), policy.steps))
        for site in space.sites:
            sent = recorder.kept[site.node]
            rows = (at_top(sent, program.tensors, site), ~fired(sent, program.tensors, site))
            top, silent = (grouped(site, by_channel(each.double(), site.options["axis"]).mean(1)) for each in rows)
            more = MOST_STEERED * (np.where(top > FULL, top, 0.0) - np.where(silent > SILENT, 1.0, 0.0))
            for name, sign in (("threshold", 1.0), ("initial", -1.0)):
                if name in site.genes:
                    found[site.genes[name]] = sign * more
        return found

    def judged(self) -> tuple[Outcome, Outcome]:
        """The closed form and the incumbent in episodes that nothing was chosen on, with their energy."""
        start, best = self.meet([np.zeros(self.genome.size), self.incumbent], seed_of(self.breeding.seed, self.generation, 2), priced=True)
        return start, best

    def _record(self, outcomes: Sequence[Outcome], took: int, kind: str) -> None:
        """A generation is over. `best` is what the incumbent of its end got at its beginning."""
        values, weight = [each.value(self.contest.weight) for each in outcomes], self.contest.weight
        row: dict[str, Any] = {"generation": self.generation + 1, "evaluations": self.evaluations, "new": kind}
        row |= {"best": outcomes[took].value(weight), "return": outcomes[took].mean, "energy_nj": outcomes[took].energy_nj}
        row |= {"center": values[1], "mean": float(np.mean(values[2:])), "spread": float(np.std(values[2:])), "top": max(values)}
        self.history.append(row | {"sigma": self.evolution.sigma, "genes": self.incumbent.tolist()})
        self.generation += 1

    def state(self) -> Written:
        """All that the next generation depends on."""
        arrays = {**self.evolution.state(), "incumbent": self.incumbent, "observed": self.observed, "hall": self.hall}
        return Written(arrays, {"generation": self.generation, "evaluations": self.evaluations, "history": self.history})

    def restore(self, written: Written) -> None:
        """Go on from a state."""
        self.evolution.restore(written.arrays)
        self.incumbent, self.observed = written.arrays["incumbent"], written.arrays["observed"].astype(np.float32)
        self.hall = written.arrays["hall"]
        self.generation, self.evaluations = written.facts["generation"], written.facts["evaluations"]
        self.history = list(written.facts["history"])


@contextmanager
def _kept(folder: Path | None) -> Generator[Path]:
    """The folder of a search, where it stays, or one for the time of the block."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="spikeloom-agents-") as made:
        yield Path(made)
