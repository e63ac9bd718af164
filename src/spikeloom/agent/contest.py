"""
A contest of candidates: what return their genes bring, everyone in the same episodes.

    program/            the policy's network, as saved by `ir`
    data.safetensors    what is observed in the usual world, and the returns there
    bench.json          the contest, the genome, the spaces

Of neurons: E episodes under each shift, acting greedily, all candidates in one vector world whose rows belong to them. Of plasticity: a
life for each shift and number, in which the candidate meets the usual world (its critic does), adapts by its weights alone (no other body
is diagnosed), settles and is judged; its return is the mean of the judged episodes. Equal seeds for all (common random numbers), so that
candidates are compared in pairs.

What a candidate's rows meet depends on its genes and the seed alone: neither on who plays beside it, nor on the worker. Sensor noise is
drawn for a world as a whole, so under noise every candidate has one of its own.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from safetensors.torch import load_file, save_file

from spikeloom.agent.agent import Agent, Usual
from spikeloom.agent.body import body_of
from spikeloom.agent.episodes import JUDGED_SEED, returns
from spikeloom.agent.forward import NAME as FORWARD
from spikeloom.agent.forward import load_forward
from spikeloom.agent.genes import Genome
from spikeloom.agent.learning import Learning
from spikeloom.agent.living import acquainted, lived, settled, usual_of
from spikeloom.agent.policy import Policy
from spikeloom.agent.worlds import Shift, world
from spikeloom.datasets.episodes import gathered, played
from spikeloom.datasets.spaces import facts_of, spaces_of
from spikeloom.errors import ConfigError
from spikeloom.evolve.bench import one_thread
from spikeloom.evolve.executor import Executor, opened
from spikeloom.evolve.space import PARAMETERS, Genes
from spikeloom.ir import load, save, write_bytes
from spikeloom.simulate import SpikingModel

LISTENED = 256
"""Observations of its own episodes on which a network's spikes are counted."""
EVERY = 8
"""Of every so many control steps one is kept for it."""
APART = 10_000
"""How far the seeds of lives lie apart; those of settling and judging lie in between."""


@final
@dataclass(frozen=True)
class Contest:
    """Which return is meant. With `adaptation` 0 the mean of `episodes` greedy episodes under each shift; else the mean return, in as many
    judged episodes, after so many episodes of adaptation (the last `settling` of them to choose between weights) in `environments`, in
    `lives` of different seeds under each shift; its critic has met the usual world for `acquaintance` control steps. `weight` is λ: what
    one nJ a decision costs in returns.

    Raises ConfigError for numbers out of range; lives are the pairs that are compared, so there must be two in all."""

    env_id: str
    shifts: tuple[Shift, ...] = ({},)
    episodes: int = 32
    adaptation: int = 0
    settling: int = 32
    environments: int = 32
    lives: int = 2
    acquaintance: int = 200
    weight: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("episodes", 2), ("adaptation", 0), ("settling", 1), ("environments", 1), ("lives", 1), ("acquaintance", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is out of range", found=getattr(self, name), allowed=f"{least} or more")
        if not self.shifts:
            raise ConfigError("a contest needs a world", found="no shifts", allowed="one or more; {} is the usual world")
        if self.weight < 0:
            raise ConfigError("the weight of energy is out of range", found=self.weight, allowed="0 or more, in returns per nJ")
        if self.adaptation and self.adaptation <= self.settling:
            raise ConfigError("settling is a part of adaptation", found=f"{self.settling} of {self.adaptation}", allowed="fewer episodes")
        if self.adaptation and self.lives * len(self.shifts) < 2:
            raise ConfigError("candidates are compared in pairs of lives", found="one life", allowed="two or more, of all shifts together")

    @property
    def rows(self) -> int:
        """Episodes of one candidate that acts greedily."""
        return self.episodes * len(self.shifts)


@final
class Outcome(NamedTuple):
    """What a candidate got: returns that pair with every other candidate's of the same seed, energy of a decision in nJ (0 where it does
    not count), and some of what it observed."""

    returns: Float[ndarray, " n"]
    energy_nj: float
    observed: Float[ndarray, "m d"]

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    def value(self, weight: float) -> float:
        """Mean return less what energy costs."""
        return self.mean - weight * self.energy_nj


def leads(new: Outcome, old: Outcome, weight: float, errors: float) -> bool:
    """Whether one is better than the other by more than so many standard errors of the paired difference of returns."""
    pairs = new.returns - old.returns
    error = float(pairs.std(ddof=1)) / len(pairs) ** 0.5
    return new.value(weight) - old.value(weight) > errors * error


@final
class Ring:
    """The contest of a folder, in memory."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "bench.json").read_text())
        fields: dict[str, Any] = {**told["contest"], "shifts": tuple(told["contest"]["shifts"])}
        self.contest = Contest(**fields)
        model = SpikingModel(load(folder / "program"), timesteps=told["model_timesteps"])
        signal, action = spaces_of(told)
        forward = load_forward(folder) if (folder / FORWARD).is_file() else None
        body = body_of(told["policy"]["body"], signal, action)
        policy = Policy(model, signal, action, told["residue"], told["timesteps"], body, forward)
        self.genome = Genome(policy, Learning(**told["learning"]), told["exploration"], told["neurons"], told["plasticity"], told["groups"])
        data = {name: tensor.clone() for name, tensor in load_file(folder / "data.safetensors").items()}
        self.usual = Usual(data["observations"], data["returns"].numpy())

    def crowd(self, candidates: Sequence[Genes], first: int, priced: bool) -> list[Outcome]:
        """Greedy episodes of all candidates in one world, with seeds from `first` on."""
        contest, count = self.contest, len(candidates)
        shifts = [shift for shift in contest.shifts for _ in range(contest.episodes)] * count
        base = world(contest.env_id, len(shifts), shifts if any(contest.shifts) else ())
        policies = [self.genome.network(genes) for genes in candidates]
        crowd = _Crowd(base, policies, contest)
        found = np.zeros(len(shifts))
        seen: list[list[ndarray]] = [[] for _ in candidates]
        try:
            for number, moment in enumerate(played(crowd, crowd.act, len(shifts), first)):
                found += np.where(moment.playing, moment.rewards, 0.0)
                crowd.ended |= moment.ended
                for place in range(count) if number % EVERY == 0 else ():
                    rows = crowd.rows(place)
                    seen[place].append(moment.observations[rows][moment.playing[rows]])
        finally:
            base.close()
        body = self.genome.policy.embodied.body
        parts = [(found[crowd.rows(place)], _some(body.perceived(np.concatenate(seen[place])))) for place in range(count)]
        return [
            Outcome(each, energy_nj(policy, observed) if priced else 0.0, observed)
            for policy, (each, observed) in zip(policies, parts, strict=True)
        ]

    def agent(self, genes: Genes) -> Agent:
        """The agent of these genes; it learns from its first step on."""
        learning, exploration = self.genome.plasticity(genes)
        return Agent(self.genome.network(genes), self.usual, plastic="always", learning=learning, exploration=exploration)

    def life(self, genes: Genes, shift: Shift, first: int, priced: bool) -> tuple[float, float, ndarray]:
        """The mean return of one life, energy, and some of what was observed."""
        contest, agent = self.contest, self.agent(genes)
        state = agent.init(contest.environments, first)

        def changed(count: int) -> Any:
            return world(contest.env_id, count, shift, seed=first)

        if contest.acquaintance:
            critic = acquainted(agent, state, world(contest.env_id, contest.environments), contest.acquaintance)
            state = dataclasses.replace(state, critic=critic)
        state = lived(agent, state, changed(contest.environments), contest.adaptation - contest.settling, seed=first)
        score, _ = settled(agent, state, changed(contest.environments), contest.settling, seed=first + APART // 4)
        policy = agent.network(score.weights, score.body)
        found = returns(policy.actor(), changed(contest.episodes), contest.episodes, first + APART // 2)
        seen = gathered(changed(1), policy.actor(), 1, first + 3 * APART // 4, LISTENED)
        felt = policy.embodied.body.perceived(seen)
        return float(found.mean()), energy_nj(policy, felt) if priced else 0.0, felt


class _Crowd:
    """A vector world whose rows belong to candidates: the seeds of each one's rows are the first one's. Who has played all episodes
    acts no more."""

    def __init__(self, env: Any, policies: Sequence[Policy], contest: Contest) -> None:
        self.env, self.num_envs, self.metadata, self.size = env, env.num_envs, env.metadata, contest.rows
        self.actors, self.ended = [policy.actor() for policy in policies], np.zeros(env.num_envs, bool)
        self.idle: ndarray = np.zeros(0)

    def rows(self, place: int) -> slice:
        """The rows of a candidate."""
        return slice(place * self.size, (place + 1) * self.size)

    def reset(self, *, seed: Sequence[int]) -> Any:
        """Equal seeds for all candidates."""
        return self.env.reset(seed=list(seed[: self.size]) * len(self.actors))

    def step(self, actions: ndarray) -> Any:
        """One control step."""
        return self.env.step(actions)

    def act(self, observations: ndarray, fresh: ndarray) -> ndarray:
        """Every candidate's actions in its own rows."""
        found = list[ndarray]()
        for place, actor in enumerate(self.actors):
            rows = self.rows(place)
            done = bool(self.ended[rows].all())
            found.append(self.idle if done else actor(observations[rows], fresh[rows]))
            self.idle = np.zeros_like(found[-1])
        return np.concatenate(found)


def energy_nj(policy: Policy, observed: Float[ndarray, "m d"]) -> float:
    """What a decision costs on these observations, with graded spikes."""
    profile = policy.model.profile(torch.from_numpy(observed), timesteps=policy.steps)
    return next(row.total_pj for row in profile.energy if row.network == "SNN (graded)") / 1000


def _some(observed: Float[ndarray, "n d"]) -> Float[ndarray, "m d"]:
    """At most `LISTENED` of it, spread over all."""
    return observed[np.linspace(0, len(observed) - 1, min(len(observed), LISTENED)).astype(int)]


def set_up(folder: Path, genome: Genome, contest: Contest, told: Mapping[str, Any]) -> None:
    """The contest written into a folder: `told` are the names of what is searched."""
    policy, env = genome.policy, world(contest.env_id, contest.environments)
    with one_thread():
        usual = usual_of(policy, env, contest.environments)
    learning, exploration = genome.plasticity(np.zeros(genome.size))
    facts = {"contest": asdict(contest), "learning": asdict(learning), "exploration": exploration, "residue": policy.residue, **told}
    facts |= {"model_timesteps": policy.model.timesteps, "timesteps": policy.timesteps}
    facts["policy"] = {**facts_of(policy.observation, policy.action), "body": policy.embodied.body.to_json()}
    folder.mkdir(parents=True, exist_ok=True)
    save(policy.model.program, folder / "program")
    if policy.forward is not None:
        policy.forward.save(folder)
    save_file({"observations": usual.observations, "returns": torch.from_numpy(usual.returns)}, folder / "data.safetensors")
    write_bytes(folder / "bench.json", json.dumps(facts, indent=1).encode())


@lru_cache(maxsize=4)
def ring_of(folder: str, key: str) -> Ring:
    """The contest in a folder, read once by every worker."""
    return Ring(Path(folder))


def _crowd(folder: str, key: str, candidates: Sequence[Sequence[float]], first: int, priced: bool) -> list[Outcome]:
    with one_thread():
        return ring_of(folder, key).crowd([np.array(genes) for genes in candidates], first, priced)


def _life(folder: str, key: str, genes: Sequence[float], shift: Shift, first: int, priced: bool) -> tuple[float, float, ndarray]:
    with one_thread():
        return ring_of(folder, key).life(np.array(genes), shift, first, priced)


def met(
    folder: Path, key: str, contest: Contest, candidates: Sequence[Genes], first: int, executor: Executor, *, priced: bool = False
) -> list[Outcome]:
    """What each candidate gets with seeds from `first` on; energy where it counts, or is asked for."""
    place, plain = (str(folder), key), [genes.tolist() for genes in candidates]
    priced = priced or contest.weight > 0
    if not contest.adaptation:
        noisy = any(shift.get("noise") for shift in contest.shifts)
        parts = np.array_split(np.arange(len(plain)), len(plain) if noisy else min(executor.workers, len(plain)))
        calls = [(*place, [plain[row] for row in part], first, priced) for part in parts]
        return [outcome for part in executor.map(_crowd, calls) for outcome in part]
    lives = [(shift, first + APART * number) for shift in contest.shifts for number in range(contest.lives)]
    told = executor.map(_life, [(*place, genes, *life, priced) for genes in plain for life in lives])
    each = [told[start : start + len(lives)] for start in range(0, len(told), len(lives))]
    return [
        Outcome(
            np.array([life[0] for life in part]), float(np.mean([life[1] for life in part])), _some(np.concatenate([x[2] for x in part]))
        )
        for part in each
    ]


def entered(
    policy: Policy,
    contest: Contest,
    learning: Learning | None = None,
    exploration: float = 0.85,
    *,
    first: int = JUDGED_SEED,
    executor: str = "loky",
    workers: int = 1,
) -> Outcome:
    """What a policy gets in a contest as it is, or as it learns so, with seeds from `first` on, and its energy. Seeds of evolution are
    drawn from all numbers up to 2^30: those near `first` are other episodes."""
    told: dict[str, Any] = {"neurons": PARAMETERS, "plasticity": (), "groups": 1}
    genome = Genome(policy, learning or Learning(), exploration, **told)
    with TemporaryDirectory(prefix="spikeloom-contest-") as made, opened(executor, workers) as running:
        set_up(Path(made), genome, contest, told)
        return met(Path(made), made, contest, [np.zeros(genome.size)], first, running, priced=True)[0]
