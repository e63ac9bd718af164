"""
An adaptation from beginning to end: a policy that acts well in the usual world meets a changed one, and goes on learning there.

    usual world    returns, what is observed, a critic that knows it, and a forward model
    changed world  returns of the frozen network; then, for each seed, a life of so many episodes in all environments together, and the
                   weights to keep of those it had (`living.settled`, within the same episodes)

Returns before and after are of the best actions (no exploration), over the same episodes for all, which nothing was fitted on. What a
person tells (`rules.instructions`): guards hold in every one of these episodes but the ANN's; rules are taught before the life begins and
again while it learns (`teaching`), and a life begins, and ends at worst, with the network that was taught them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.adaptation import Adaptation, Lesson, Life
from spikeloom.agent.agent import Agent
from spikeloom.agent.body import Body
from spikeloom.agent.changes import changes_of
from spikeloom.agent.checkpoints import prepare
from spikeloom.agent.course import Course
from spikeloom.agent.critic import CriticState
from spikeloom.agent.episodes import JUDGED_SEED, returns
from spikeloom.agent.guarding import KEPT, Keeping
from spikeloom.agent.living import acquainted, foreseen, settled, usual_of
from spikeloom.agent.logbook import Logbook
from spikeloom.agent.policy import Acting, Policy, check_learns
from spikeloom.agent.reliving import relived
from spikeloom.agent.rules.guard import Guard, Log
from spikeloom.agent.rules.instructions import Instructions
from spikeloom.agent.rules.ruleset import RuleSet
from spikeloom.agent.state import AgentState, Usual
from spikeloom.agent.store import Kept, copied, load_state, save_state
from spikeloom.agent.tail import Weights
from spikeloom.agent.teaching import done_by, instructed, obeyed, reminded
from spikeloom.agent.vetoes import VetoFile
from spikeloom.agent.worlds import world
from spikeloom.datasets.environment import spaces_within
from spikeloom.datasets.episodes import Act, at_random
from spikeloom.datasets.spaces import acted, check_same
from spikeloom.ir import Progress, silent
from spikeloom.simulate import SpikingModel, executable, primary

LIFE_SEED = 50_000
"""Where the seeds begin of the episodes that are lived; each life has 10 000 of its own."""
MET = 4096
"""Observations of each kind that rules are taught, or asked about, on."""
REMINDERS = 4
"""Passes over a window in which rules are taught again."""
PROFILED = 512
"""Observations on which spikes and energy are counted."""


def adapt(
    policy: Policy,
    env_id: str,
    shifts: Mapping[str, float | str],
    course: Course | None = None,
    *,
    instructions: Instructions | None = None,
    progress: Progress = silent,
    checkpoints: Path | None = None,
    resume: bool = False,
) -> Adaptation:
    """The whole of the module. With `checkpoints` a life is kept every `course.every` control steps, and with `resume` goes on from there
    to the result of an unbroken one.

    Raises DataError for an environment of other spaces than the policy's and for observations or rewards that are no numbers or explode;
    ConfigError for unknown shifts, for a policy that an agent cannot teach, and for checkpoints of another adaptation.
    """
    course, told = course or Course(), instructions or Instructions()
    check_learns(policy)
    usual_world, changed = world(env_id, course.environments), world(env_id, course.environments, shifts)
    check_same((policy.observation, policy.action), spaces_within(usual_world, env_id), env_id)
    agreed = {"environment": env_id, "shifts": dict(shifts), **_plain(course)} | ({"rules": told.text} if told.text else {})
    prepare(checkpoints, agreed, resume=resume)
    judged = max(course.judged, course.environments)
    progress("the usual world", 0, 4)
    usual = usual_of(policy, usual_world, judged, guard=told.guard)
    agent = _agent(policy, usual, course, told)
    progress("the usual world", 1, 4)
    found = {name: returns(act, usual_world, judged) for name, act in _others(policy, usual_world, told.guard)}
    progress("the changed world, frozen", 2, 4)
    files = [
        VetoFile(_within(checkpoints, f"vetoes-{when}.jsonl"), told.guard, policy.action, {"when": when}) for when in ("frozen", "taught")
    ]
    frozen, seen, guarded = observed(policy, changed, judged, told.guard, files[0].log())
    profile = policy.model.profile(_some(seen))
    agent, lesson = _lesson(agent, told, usual, seen, changed, judged, files[1].log())
    for file in files:
        file.flush()
    progress("the usual world", 3, 4)
    critic = acquainted(agent, agent.init(course.environments), usual_world, course.acquaintance)
    agent = agent.replaced(forward=foreseen(agent, usual_world)) if course.diagnosed else agent
    lives = tuple(
        lived_once(agent, env_id, shifts, critic, course, seed, float(frozen.mean()), progress, checkpoints, told)
        for seed in range(course.seeds)
    )
    for env in (usual_world, changed):
        env.close()
    ends = (found["usual"], found["chance"], found.get("ann"), frozen, profile, lives)
    vetoes = tuple(path for file in files for path in file.paths) + tuple(path for life in lives for path in life.vetoes)
    return Adaptation(env_id, dict(shifts), course, policy, *ends, told, guarded, lesson, vetoes)


def _agent(policy: Policy, usual: Usual, course: Course, told: Instructions) -> Agent:
    def remind(agent: Agent, state: AgentState, seen: ndarray) -> AgentState:
        return state if told.rules is None else reminded(agent, state, told.rules, seen, REMINDERS)

    return Agent(
        policy,
        usual,
        exploration=course.exploration,
        layers=course.layers,
        plastic=course.plastic,
        learning=course.learning,
        guard=told.guard,
        remind=None if told.rules is None else remind,
    )


def _lesson(
    agent: Agent, told: Instructions, usual: Usual, seen: ndarray, changed: Any, judged: int, log: Log | None
) -> tuple[Agent, Lesson | None]:
    """The agent that begins with what rules teach it, on states of the usual world and of the changed one."""
    if told.rules is None:
        return agent, None
    met = seen[np.random.default_rng(0).permutation(len(seen))[:MET]]
    before = _obeys(agent, told.rules, agent.begun, met)
    _, taught = instructed(agent, agent.init(1), told.rules, np.concatenate([agent.body.observed(usual.observations.numpy()[:MET]), met]))
    agent = agent.replaced(begun=taught.weights)
    found, own, _ = observed(agent.network(taught.weights), changed, judged, told.guard, log)
    return agent, Lesson(
        taught, found, before, obeyed(told.rules, own[:MET], done_by(agent, taught.weights, own[:MET]), agent.policy.action)[1]
    )


def _obeys(agent: Agent, rules: RuleSet, weights: Weights, seen: ndarray, body: Body | None = None) -> float:
    """Of the states in which rules speak, the share in which these weights do what they say; NaN where there are none."""
    return obeyed(rules, seen[:MET], done_by(agent, weights, seen[:MET], body), agent.policy.action)[1]


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
    told: Instructions,
) -> Life:
    """The life of one seed, from its checkpoint on where there is one."""
    known, folder = agent.known, None if checkpoints is None else checkpoints / f"seed-{seed}"
    begun = Kept(dataclasses.replace(agent.init(course.environments, seed), critic=critic), {}, {})
    kept = load_state(folder, known) if folder is not None and (folder / "state.json").is_file() else begun
    facts = {"when": "lived", "seed": seed}
    lived = VetoFile(_within(folder, "vetoes.jsonl"), told.guard, agent.policy.action, facts, int(kept.told.get("vetoes", 0)))
    book = Logbook(kept.state, kept.told.get("log"), told.guard, max(KEPT // course.seeds, 1), lived.add)
    goal = course.episodes - max(course.settling, course.environments)
    state, first = kept.state, LIFE_SEED + 10_000 * seed

    def keep(now: AgentState, actions: ndarray, checksum: int) -> None:
        if folder is not None:
            save_state(folder, now, known, {"log": book.told(), "vetoes": lived.flush(), "checksum": checksum}, {"actions": actions})

    def watch(now: Any) -> bool:
        book.note(now)
        detail = f"mean return {book.recent():.4g} (frozen {frozen:.4g}){', learning' if now.state.learning else ''}"
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
    score, _ = settled(agent, state, changed, course.settling, first + 5_000, book.vetoes)
    policy = agent.network(score.weights, score.body)
    last = VetoFile(_within(folder, "vetoes-adapted.jsonl"), told.guard, agent.policy.action, {"when": "adapted", "seed": seed})
    found, seen, judged = observed(policy, changed, max(course.judged, course.environments), told.guard, last.log())
    changed.close()
    for file in (lived, last):
        file.flush()
    profile, changes = policy.model.profile(_some(seen)), changes_of(agent.tail, score.weights)
    said = None if told.rules is None else _obeys(agent, told.rules, score.weights, seen, score.body)
    life = Life(seed, tuple(book.episodes), tuple(book.events), policy, found, score, profile, changes, state.steps)
    return dataclasses.replace(life, lived=book.vetoes, judged=judged, obeyed=said, vetoes=(*lived.paths, *last.paths))


def _within(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def observed(
    policy: Policy, env: Any, episodes: int, guard: Guard | None = None, log: Log | None = None, seed: int = JUDGED_SEED
) -> tuple[Float[ndarray, " m"], Float[ndarray, "n ..."], Log | None]:
    """Returns of so many episodes of a policy's best actions within a guard, what was observed in them, and what the guard did (`log`)."""
    seen, act = list[ndarray](), Keeping(Acting(policy), policy.action, guard, log)

    def noting(observations: ndarray, fresh: ndarray) -> ndarray:
        seen.append(np.array(observations, np.float32))
        return act(observations, fresh)

    return returns(noting, env, episodes, seed, act.note), np.concatenate(seen), act.log


def _plain(course: Course) -> dict[str, Any]:
    return dataclasses.asdict(course)


def _others(policy: Policy, env: Any, guard: Guard | None) -> Sequence[tuple[str, Act]]:
    """Whoever else acts in the usual world."""
    whole: SpikingModel = policy.model
    found: list[tuple[str, Act]] = [("usual", Keeping(Acting(policy), policy.action, guard)), ("chance", at_random(env, JUDGED_SEED))]
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
