"""
Six published policies on spikes: normalised return, spikes and energy for a decision.

Returns are means of 100 episodes, reset(seed=1000) to reset(seed=1099), of the ANN, the SNN at T=1, 2, 4, and the control: plain
quantisation with as many levels as the SNN has at one step. Networks are calibrated and residues chosen on episodes of other seeds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from acting.networks import LEVELS, NAMES, Zoo, control
from harness.rows import Row
from spikeloom.agent import Act, at_random, normalised, observations, returns

COMMAND = "python benchmarks/agents.py --parts policies"
LEAST = 0.97
PROFILED = 512
"""Observations of the SNN's own episodes on which spikes and energy are counted."""


def rows(names: Sequence[str], episodes: int) -> Iterator[Row]:
    """The rows of these policies, as they are measured."""
    for name in names:
        yield from of_policy(Zoo(name), episodes)


def of_policy(zoo: Zoo, episodes: int) -> Iterator[Row]:
    """One policy at every T."""
    env = zoo.environments(episodes)
    ann, chance = (mean(act, env, episodes) for act in (zoo.ann(), at_random(env, 0)))
    controls = dict[int, float]()
    for timesteps, levels in LEVELS.items():
        policy, rounds, residues = zoo.fitted(timesteps)
        found = returns(policy.actor(), env, episodes)
        if levels not in controls:
            controls[levels] = mean(control(policy.model, policy.action), env, episodes)
        share, label = normalised(float(found.mean()), chance, ann), f"{NAMES[zoo.name]}, T={timesteps} N={levels}"
        plain = normalised(controls[levels], chance, ann)
        beside = {
            "ann": short(ann),
            "snn": short(found.mean()),
            "random": short(chance),
            "standard error": short(found.std(ddof=1) / np.sqrt(episodes)),
            "control, normalised": round(plain, 3),
            "residue": policy.residue,
            "by residue, own seeds": {key: short(value) for key, value in residues.items()},
            "rounds, own seeds": [short(each.mean_return) for each in rounds],
            "agreement on the ANN's states": round(max(each.agreement for each in rounds), 3),
        }
        aim = None if timesteps == 2 else f"at least {LEAST}"
        name = f"{label}: normalised return, {episodes} episodes"
        yield Row(name, round(share, 3), "of the ANN's", COMMAND, beside, None, aim, None if aim is None else share >= LEAST)
        yield cost(label, zoo, policy, env)


def cost(label: str, zoo: Zoo, policy: Any, env: Any) -> Row:
    """Spikes, synaptic operations and energy of a decision, on observations of the SNN's own episodes."""
    seen = observations(policy.actor(), env, env.num_envs, seed=1000, limit=PROFILED)
    profile = policy.model.profile(seen, timesteps=policy.steps)
    table = {row.network: round(row.total_pj / 1000, 3) for row in profile.energy}
    beside = {
        "spikes": round(profile.counts.spikes("graded"), 1),
        "spikes, unary": round(profile.counts.spikes("unary"), 1),
        "synaptic operations": round(profile.counts.operations("graded"), 1),
        "ANN MACs": sum(row.macs for row in policy.model.program.plan),
        **{f"{network}, nJ": value for network, value in table.items()},
    }
    return Row(f"{label}: energy of a decision", table["SNN (graded)"], "nJ", COMMAND, beside)


def mean(act: Act, env: Any, episodes: int) -> float:
    """The mean return."""
    return float(returns(act, env, episodes).mean())


def short(value: Any) -> float:
    """A return with as many digits as mean something."""
    return float(f"{float(value):.5g}")
