"""
Steps of an agent in a second: the spiking policy at T=1 against its ANN in the same loop, which observes, decides and steps CartPole.

Both take turns, each turn a few hundred steps of a vector environment of its own; the ratio is that of turns beside one another, and the
row holds the median over the turns.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from acting.networks import NAMES, Zoo
from harness.rows import Row
from spikeloom.agent import Act, Policy, observations
from spikeloom.agent.agent import Agent
from spikeloom.agent.living import live, usual_of
from spikeloom.datasets.episodes import played

COMMAND = "python benchmarks/agents.py --parts speed"
LEAST, LEARNING = 0.3, 0.15
COUNTS = (1, 64)
TURNS = 15
STEPS = {1: 600, 64: 120}
ENDLESS = 1 << 20


def rows(names: Sequence[str], episodes: int) -> Iterator[Row]:
    """The rows of these policies, as they are measured; the network does not depend on the number of episodes."""
    for name in names:
        zoo = Zoo(name)
        policy = zoo.converted(1, observations(zoo.ann(), zoo.environments(4), 4, limit=1024))
        for count in COUNTS:
            yield ratio(zoo, policy.actor(), count)
        yield ratio(zoo, policy, 64)


def ratio(zoo: Zoo, other: Act | Policy, count: int) -> Row:
    """One ratio, with the steps in a second of both; a policy learns at every window, what acts only acts."""
    learns = isinstance(other, Policy)
    env = zoo.environments(count)
    loops = {"ann": loop(zoo.ann(), zoo.environments(count)), "snn": lesson(other, env) if isinstance(other, Policy) else loop(other, env)}
    taken: dict[str, list[float]] = {key: [] for key in loops}
    for turn in range(TURNS + 1):
        for key, each in loops.items():
            began = time.perf_counter()
            for _ in range(STEPS[count]):
                next(each)
            if turn:  # the first one compiles
                taken[key].append(time.perf_counter() - began)
    found = statistics.median(ann / snn for ann, snn in zip(taken["ann"], taken["snn"], strict=True))
    beside = {f"{key}, steps a second": round(count * STEPS[count] / statistics.median(values)) for key, values in taken.items()}
    which, least = (" that learns", LEARNING) if learns else ("", LEAST)
    name = f"{NAMES[zoo.name]}, T=1, {count} environment{'s' if count > 1 else ''}: agent steps a second, SNN{which} / ANN"
    return Row(name, round(found, 3), "x", COMMAND, beside, None, f"at least {least}", found >= least)


def loop(act: Act, env: Any) -> Iterator[object]:
    """Steps without end."""
    return played(env, act, ENDLESS, 0)


def lesson(policy: Policy, env: Any) -> Iterator[object]:
    """Steps without end of an agent that learns at every window."""
    agent = Agent(policy, usual_of(policy, env), plastic="always")
    return live(agent, agent.init(env.num_envs), env, 0)
