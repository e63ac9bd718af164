"""
An adaptation from beginning to end: a policy that acts well in the usual world meets a changed one, and goes on learning there.

    usual world    returns, what is observed, a critic that knows it, and a forward model
    changed world  returns of the frozen network; then, for each seed, a life of so many episodes in all environments together, and the
                   weights to keep of those it had (`living.settled`, within the same episodes)
    recovered      (R_adapted − R_frozen)/(R_usual − R_frozen)                                                       (1)

Returns before and after are of the best actions (no exploration), over the same episodes for all, which nothing was fitted on.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.agent import Agent, AgentState
from spikeloom.agent.body import Body
from spikeloom.agent.critic import CriticState
from spikeloom.agent.episodes import JUDGED_SEED, returns
from spikeloom.agent.learning import Learning
from spikeloom.agent.living import acquainted, foreseen, settled, usual_of
from spikeloom.agent.logbook import Episode, Event, Logbook
from spikeloom.agent.policy import Policy
from spikeloom.agent.reliving import EVERY, relived
from spikeloom.agent.store import Kept, copied, load_state, save_state
from spikeloom.agent.tail import Tail, Weights
from spikeloom.agent.trials import Score
from spikeloom.agent.worlds import world
from spikeloom.datasets.environment import spaces_within
from spikeloom.datasets.episodes import Act, at_random
from spikeloom.datasets.spaces import acted, check_same
from spikeloom.errors import ConfigError, ProgramError
from spikeloom.ir import Progress, silent, write_json
from spikeloom.simulate import Profile, SpikingModel, executable, primary

LIFE_SEED = 50_000
"""Where the seeds begin of the episodes that are lived; each life has 10 000 of its own."""
PROFILED = 512
"""Observations on which spikes and energy are counted."""


@final
@dataclass(frozen=True)
class Course:
    """How an adaptation goes: episodes of all environments together, lives (one for each seed), the control steps after which the world
    changes and over which, and how the agent learns (`Agent`)."""

    episodes: int = 500
    environments: int = 64
    seeds: int = 1
    onset: int = 0
    ramp: int = 0
    exploration: float = 0.85
    layers: int | None = None
    plastic: str = "on drift"
    learning: Learning = dataclasses.field(default_factory=Learning)
    judged: int = 64
    settling: int = 64
    acquaintance: int = 400
    every: int = EVERY
    diagnosed: bool = True

    def __post_init__(self) -> None:
        least = {"episodes": self.least, "environments": 1, "seeds": 1, "judged": 1, "settling": 1, "acquaintance": 0, "every": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"an adaptation's {name} are out of range", found=getattr(self, name), allowed=f"{low} or more")

    @property
    def least(self) -> int:
        """The fewest episodes: those that settle which weights are kept, and one for each environment before."""
        return max(self.settling, self.environments) + self.environments


@final
@dataclass(frozen=True)
class Change:
    """How a layer's weights differ from what was converted: ‖ΔW‖/‖W‖, the largest |ΔW|, the share whose sign turned, how many there are."""

    layer: str
    relative: float
    largest: float
    turned: float
    weights: int


@final
@dataclass(frozen=True)
class Life:
    """One seed: every episode and event, the returns of the kept weights, what settling them found, and what the network costs now."""

    seed: int
    episodes: tuple[Episode, ...]
    events: tuple[Event, ...]
    policy: Policy
    returns: Float[ndarray, " m"]
    score: Score
    profile: Profile
    changes: tuple[Change, ...]
    steps: int

    @property
    def body(self) -> Body | None:
        """The body that the kept weights act through."""
        return self.score.body


@final
@dataclass(frozen=True)
class Adaptation:
    """Returns in the usual world (of the network, of random actions, of its ANN where that was kept) and of the frozen network in the
    changed one, its cost a decision there, and the lives."""

    environment: str
    shifts: Mapping[str, float | str]
    course: Course
    policy: Policy
    usual: Float[ndarray, " m"]
    chance: Float[ndarray, " m"]
    ann: Float[ndarray, " m"] | None
    frozen: Float[ndarray, " m"]
    profile: Profile
    lives: tuple[Life, ...]

    @property
    def best(self) -> Life:
        """The life whose weights settled best; what is judged afterwards has no say."""
        return max(self.lives, key=lambda life: life.score.mean)

    def recovered(self, life: Life) -> float:
        """(1); NaN where the frozen network lost nothing."""
        lost = float(self.usual.mean() - self.frozen.mean())
        return float(life.returns.mean() - self.frozen.mean()) / lost if lost > 0 else float("nan")


def adapt(
    policy: Policy,
    env_id: str,
    shifts: Mapping[str, float | str],
    course: Course | None = None,
    *,
    progress: Progress = silent,
    checkpoints: Path | None = None,
    resume: bool = False,
) -> Adaptation:
    """The whole of the module. With `checkpoints` a life is kept every `course.every` control steps, and with `resume` goes on from there
    to the result of an unbroken one.

    Raises DataError for an environment of other spaces than the policy's and for observations or rewards that are no numbers or explode;
    ConfigError for unknown shifts, and for checkpoints of another adaptation.
    """
    course = course or Course()
    usual_world, changed = world(env_id, course.environments), world(env_id, course.environments, shifts)
    check_same((policy.observation, policy.action), spaces_within(usual_world, env_id), env_id)
    prepare(checkpoints, {"environment": env_id, "shifts": dict(shifts), **_plain(course)}, resume=resume)
    judged = max(course.judged, course.environments)
    progress("the usual world", 0, 4)
    usual = usual_of(policy, usual_world, judged)
    agent = Agent(policy, usual, exploration=course.exploration, layers=course.layers, plastic=course.plastic, learning=course.learning)
    progress("the usual world", 1, 4)
    critic = acquainted(agent, agent.init(course.environments), usual_world, course.acquaintance)
    agent = agent.replaced(forward=foreseen(agent, usual_world)) if course.diagnosed else agent
    progress("the usual world", 2, 4)
    found = {name: returns(act, usual_world, judged) for name, act in _others(policy, usual_world)}
    progress("the changed world, frozen", 3, 4)
    frozen, seen = observed(policy.actor(), changed, judged)
    profile = policy.model.profile(_some(seen))
    lives = tuple(
        lived_once(agent, env_id, shifts, critic, course, seed, float(frozen.mean()), progress, checkpoints) for seed in range(course.seeds)
    )
    for env in (usual_world, changed):
        env.close()
    return Adaptation(env_id, dict(shifts), course, policy, found["usual"], found["chance"], found.get("ann"), frozen, profile, lives)


def lived_once(
    agent: Agent,
    env_id: str,
    shifts: Mapping[str, float | str],
    critic: CriticState,
    course: Course,
    seed: int,
    frozen: float,
    progress: Progress,
    checkpoints: Path | None,
) -> Life:
    """The life of one seed, from its checkpoint on where there is one."""
    known, folder = (agent.tail.converted,), None if checkpoints is None else checkpoints / f"seed-{seed}"
    begun = Kept(dataclasses.replace(agent.init(course.environments, seed), critic=critic), {}, {})
    kept = load_state(folder, known) if folder is not None and (folder / "state.json").is_file() else begun
    book = Logbook(kept.state, kept.told.get("log"))
    goal = course.episodes - max(course.settling, course.environments)
    state, first = kept.state, LIFE_SEED + 10_000 * seed

    def keep(now: AgentState, actions: ndarray, checksum: int) -> None:
        if folder is not None:
            save_state(folder, now, known, {"log": book.told(), "checksum": checksum}, {"actions": actions})

    def watch(told: Any) -> bool:
        book.note(told)
        detail = f"mean return {book.recent():.4g} (frozen {frozen:.4g}){', learning' if told.state.learning else ''}"
        progress(f"adapting, seed {seed}: {detail}", min(book.count, goal), goal)
        return book.count >= goal

    if book.count < goal:
        env = world(env_id, course.environments, shifts, onset=course.onset, ramp=course.ramp)
        past, checksum = tuple(kept.rows.get("actions", ())), int(kept.told.get("checksum", 0))
        state = relived(agent, state, env, first, watch, past=past, checksum=checksum, keep=keep, every=course.every)
        env.close()
        state = copied(state, known)
        keep(state, np.zeros(0), 0)
    progress(f"settling, seed {seed}", goal, course.episodes)
    changed = world(env_id, course.environments, shifts)
    score, _ = settled(agent, state, changed, course.settling, first + 5_000)
    policy = agent.network(score.weights, score.body)
    found, seen = observed(policy.actor(), changed, max(course.judged, course.environments))
    changed.close()
    profile, changes = policy.model.profile(_some(seen)), changes_of(agent.tail, score.weights)
    return Life(seed, tuple(book.episodes), tuple(book.events), policy, found, score, profile, changes, state.steps)


def observed(act: Act, env: Any, episodes: int, seed: int = JUDGED_SEED) -> tuple[Float[ndarray, " m"], Float[ndarray, "n ..."]]:
    """Returns of so many episodes, and what was observed in them."""
    seen = list[ndarray]()

    def noting(observations: ndarray, fresh: ndarray) -> ndarray:
        seen.append(np.array(observations, np.float32))
        return act(observations, fresh)

    return returns(noting, env, episodes, seed), np.concatenate(seen)


def changes_of(tail: Tail, weights: Weights) -> tuple[Change, ...]:
    """How each layer of a tail differs from what was converted, as the network holds it."""
    found, pairs = list[Change](), list(zip(tail.on_grid(tail.converted), tail.on_grid(weights), strict=True))
    for place, name in enumerate(tail.names):
        before, after = (torch.cat([part.flatten() for part in parts]) for parts in zip(*pairs[2 * place : 2 * place + 2], strict=True))
        moved, turned = after - before, (after * before < 0).float().mean()
        relative = float(moved.norm() / before.norm().clamp_min(torch.finfo(before.dtype).tiny))
        found.append(Change(name, relative, float(moved.abs().max()), float(turned), len(before)))
    return tuple(found)


def prepare(folder: Path | None, agreed: Mapping[str, Any], *, resume: bool) -> None:
    """The folder of checkpoints belongs to this adaptation. ConfigError where it belongs to another one that is to be resumed."""
    if folder is None:
        return
    path = folder / "adaptation.json"
    if not resume:
        for old in folder.glob("seed-*"):
            shutil.rmtree(old, ignore_errors=True)
        write_json(path, agreed)
        return
    found = _read(path)
    different = sorted(name for name in {*agreed, *found} if agreed.get(name) != found.get(name))
    if different:
        raise ConfigError(
            f"the checkpoints in {folder} belong to another adaptation",
            found=", ".join(f"{name}={agreed.get(name)!r}" for name in different),
            allowed=", ".join(f"{name}={found.get(name)!r}" for name in different),
            todo="give the settings of that one, or begin anew without resuming",
        )


def _read(path: Path) -> dict[str, Any]:
    from json import loads

    if not path.is_file():
        raise ConfigError("there is nothing to go on from", found=f"no {path}", todo="begin anew, without resuming")
    try:
        return dict(loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ProgramError(f"{path} cannot be read", found=error, todo="begin anew, without resuming") from error


def _plain(course: Course) -> dict[str, Any]:
    return dataclasses.asdict(course)


def _others(policy: Policy, env: Any) -> Sequence[tuple[str, Act]]:
    """Whoever else acts in the usual world."""
    whole: SpikingModel = policy.model
    found: list[tuple[str, Act]] = [("usual", policy.actor()), ("chance", at_random(env, JUDGED_SEED))]
    if whole.ann is None:
        return found
    run = executable(whole.ann, 1)

    def ann(observations: ndarray, fresh: ndarray) -> ndarray:
        with torch.inference_mode():
            return acted(primary(run(torch.from_numpy(np.ascontiguousarray(observations, np.float32)))), policy.action)

    return [*found, ("ann", ann)]


def _some(seen: Float[ndarray, "n ..."]) -> Tensor:
    order = np.random.default_rng(0).permutation(len(seen))[:PROFILED]
    return torch.from_numpy(seen[order])
