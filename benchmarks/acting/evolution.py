"""
Evolution of agents: neurons on return, plasticity on what it learns; beside random search with the same budget (`acting.searches`).

Neurons: dqn_cartpole at seven levels without compensation, which costs it nearly all of its return, and at three levels with it. A
candidate plays 8 episodes. What was found is judged on 128 episodes that no search has met.

Plasticity: a converted CartPole policy whose pole is three times as long, 128 episodes to adapt in. Rate, exploration, trace, discount,
divergence and window are searched on two lives a candidate; the given numbers and those found then adapt in six lives of other seeds,
there and in a world that no search has met. Lives are the same for all, so that differences are paired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from acting.networks import FITTED, NAMES, Zoo
from acting.searches import EXPLORATION, Found, at_random, hybrid, plain, seeded
from harness.rows import Row
from spikeloom import Settings, convert
from spikeloom.agent import Act, Breeding, Contest, Policy, entered, observations, policy_of, returns
from spikeloom.agent.learning import Learning
from spikeloom.agent.worlds import Shift, world

COMMAND = "python benchmarks/agents.py --parts evolution"
ENVIRONMENT = "CartPole-v1"
SEEDS = (11, 12, 13)
"""Seeds of the searches; they were written with others."""
JUDGED, JUDGED_FROM, LIVED_FROM = 128, 1000, 7_000_000
"""Episodes of the last judgement, and where the seeds begin of those and of its lives."""
COARSE = {7: False, 3: True}
"""Levels, and whether errors are compensated."""
CONTEST = Contest(ENVIRONMENT, episodes=8)
BREEDING = Breeding(population_size=12, generations=6)
TRAITS = ("rate", "exploration", "trace", "discount", "divergence", "steps")
EVOLVED_ON: Shift = {"length": 3.0}
TRIED_ON: tuple[Shift, ...] = (EVOLVED_ON, {"sign": -1.0})
LIVING = Contest(ENVIRONMENT, (EVOLVED_ON,), episodes=16, adaptation=128, lives=2, acquaintance=100)
LEARNERS = Breeding((), TRAITS, population_size=6, generations=3, sigma=0.7)
LEARNER = "ppo_cartpole"
LIVES = 6


def rows(names: Sequence[str], episodes: int) -> Iterator[Row]:
    """The rows of evolution, of the policies that are asked for."""
    torch.set_num_threads(1)
    for levels, compensated in COARSE.items() if "dqn_cartpole" in names else ():
        yield of_neurons(Zoo("dqn_cartpole"), levels, compensated)
    if LEARNER in names:
        yield from of_plasticity(Zoo(LEARNER))


def converted(zoo: Zoo, levels: int, *, compensated: bool = True) -> Policy:
    """The policy at T = 1, calibrated on its ANN's episodes."""
    data = observations(zoo.ann(), zoo.environments(FITTED), FITTED)
    settings = Settings(timesteps=1, levels=levels, compensate=compensated, calibration_samples=len(data))
    return policy_of(convert(zoo.source.address, data, settings))


def of_neurons(zoo: Zoo, levels: int, compensated: bool) -> Row:
    """Three searches from the same network."""
    policy, spent = converted(zoo, levels, compensated=compensated), list[int]()
    found: dict[str, list[float]] = {"HSEO": [], "CMA-ES": [], "random search": []}
    for seed in SEEDS:
        breeding = seeded(BREEDING, seed)
        best = hybrid(policy, CONTEST, breeding)
        spent.append(best.spent)
        others = (search(policy, CONTEST, breeding, best.spent) for search in (plain, at_random))
        for values, each in zip(found.values(), (best, *others), strict=True):
            values.append(judged(each.policy.actor()))
    beside: dict[str, Any] = {"before": judged(policy.actor()), "ANN": judged(zoo.ann()), "seeds": list(SEEDS)}
    if not compensated:
        beside["compensated, no search"] = judged(converted(zoo, levels).actor())
    beside |= {"evaluations": spent, "episodes of an evaluation": CONTEST.episodes, **found, **compared(found["HSEO"], found)}
    how = "compensated" if compensated else "not compensated"
    name = f"{NAMES[zoo.name]}, T=1 N={levels}, {how}: return after evolution of its neurons"
    return Row(name, mean(found["HSEO"]), f"mean of {len(SEEDS)} searches", COMMAND, beside)


def of_plasticity(zoo: Zoo) -> Iterator[Row]:
    """Numbers of the rule: given, evolved, and the best of random draws; each adapts in lives that no search has met."""
    policy, found = converted(zoo, 31), dict[str, list[Found]](HSEO=[], random=[])
    for seed in SEEDS:
        breeding = seeded(LEARNERS, seed)
        found["HSEO"].append(hybrid(policy, LIVING, breeding))
        found["random"].append(at_random(policy, LIVING, breeding, found["HSEO"][-1].spent))
    usual = Found(policy, Learning(), EXPLORATION, 0)
    for shift in TRIED_ON:
        yield of_shift(policy, shift, usual, found)


def of_shift(policy: Policy, shift: Shift, usual: Found, found: Mapping[str, Sequence[Found]]) -> Row:
    """What the numbers found in one world are worth in this one."""
    base = lives(policy, shift, usual)
    told = {name: [lives(policy, shift, each) for each in parts] for name, parts in found.items()}
    means = {name: [mean(each) for each in parts] for name, parts in told.items()}
    frozen = returns(policy.actor(), world(ENVIRONMENT, JUDGED, shift), JUDGED, JUDGED_FROM)
    beside: dict[str, Any] = {"frozen": mean(frozen), "given": mean(base), "HSEO": means["HSEO"], "random search": means["random"]}
    beside |= compared(means["HSEO"], {"random search": means["random"], "given": [mean(base)] * len(SEEDS)})
    gains = np.array([np.subtract(each, base) for each in told["HSEO"]]).mean(0)
    beside["gain on the given numbers, and its standard error over lives"] = [mean(gains), round(_error(gains), 1)]
    beside |= {
        "evolved on": dict(EVOLVED_ON),
        "evaluations": [each.spent for each in found["HSEO"]],
        "lives of an evaluation": LIVING.lives,
    }
    beside["numbers"] = [_numbers(each) for each in found["HSEO"]]
    where = ", ".join(f"{key}={value}" for key, value in shift.items())
    name = f"{NAMES[LEARNER]}, {where}: return adapted with evolved plasticity"
    return Row(name, mean(means["HSEO"]), f"mean of {len(SEEDS)} searches, {LIVES} lives of {LIVING.adaptation} episodes", COMMAND, beside)


def lives(policy: Policy, shift: Shift, how: Found) -> list[float]:
    """Mean returns after lives of seeds that no search has met."""
    contest = replace(LIVING, shifts=(shift,), lives=LIVES)
    return entered(policy, contest, how.learning, how.exploration, first=LIVED_FROM).returns.tolist()


def compared(best: Sequence[float], found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Means, and how often HSEO ended above the others from the same seed."""
    means = {f"{name}, mean": mean(values) for name, values in found.items()}
    others = {name: values for name, values in found.items() if name != "HSEO"}
    wins = {f"HSEO above {name}": sum(a > b for a, b in zip(best, values, strict=True)) for name, values in others.items()}
    return means | {name: f"{count} of {len(best)} seeds" for name, count in wins.items()}


def judged(act: Act) -> float:
    """The mean return of 128 episodes that nothing was chosen on."""
    return mean(returns(act, world(ENVIRONMENT, JUDGED), JUDGED, JUDGED_FROM))


def mean(values: Any) -> float:
    """The mean, to a tenth."""
    return round(float(np.mean(values)), 1)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def _numbers(found: Found) -> dict[str, float]:
    now = {**vars(found.learning), "exploration": found.exploration}
    return {name: round(float(now[name]), 4) for name in TRAITS}
