"""
Rules of policies, and rules as guards.

    fidelity   a tree of at most 24 leaves over observations and predicates (configs/rules/predicates) beside the policy, on all states of
               100 episodes of the policy that it was not learnt from, reset(seed=1000) on; its own return on the same starts; the same
               tree without predicates as control. Policies: the ANN, and on spikes at T=1 N=31 from rest
    bits       a gate network on eight named bits as exact Boolean rules
    guards     events and steps in a forbidden state (the true one, not what was seen) in 10^5 steps of a fuzzed world, with guards
               (configs/rules/*_guards.yaml) and without

    python benchmarks/acting/rules.py [--policies dqn_cartpole …] [--episodes 100]
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from acting.networks import NAMES, Zoo
from harness.rows import ROOT, Row, write
from spikeloom.agent.rules import Features, Recipe, agreement, imitate, load_features, load_guards, predicates_of, taught, visits
from spikeloom.agent.rules.imitate import losses
from spikeloom.agent.worlds import fuzzed

COMMAND = "python benchmarks/agents.py --parts rules"
RULES = ROOT / "configs" / "rules"
RULED = ("dqn_cartpole", "ppo_cartpole", "dqn_acrobot", "dqn_mountaincar")
LEARNT: Mapping[str, int] = {"dqn_acrobot": 800, "dqn_mountaincar": 400}
"""Episodes that rules are learnt from, where they are short; 100 elsewhere."""
LEAST, KICKS = 0.95, 15
JUDGED, STEPS, WORLDS = 1000, 100_000, 64

Forbidden = Callable[[ndarray], ndarray]
LIMITS: Mapping[str, tuple[str, str, Mapping[str, Forbidden]]] = {
    "ppo_cartpole": (
        "CartPole-v1",
        "cartpole_guards.yaml",
        {"|theta| > 0.2": lambda s: abs(s[:, 2]) > 0.2, "|x| > 2.3": lambda s: abs(s[:, 0]) > 2.3},
    ),
    "ppo_lunarlander": (
        "LunarLander-v3",
        "lunarlander_guards.yaml",
        {
            "flying, y < 0.1, vy < -0.4": lambda s: (s[:, 1] < 0.1) & (s[:, 3] < -0.4) & (s[:, 6] + s[:, 7] < 0.5),
            "y < 0.1, |angle| > 0.5": lambda s: (s[:, 1] < 0.1) & (abs(s[:, 4]) > 0.5),
        },
    ),
}


def rows(names: Sequence[str], episodes: int) -> Iterator[Row]:
    """The rows of these policies, as they are measured."""
    for name in names:
        zoo = Zoo(name)
        if name not in (*RULED, *LIMITS):
            continue
        spiking = outputs_of(zoo.fitted(1)[0].replaced(residue="reset"))
        if name in RULED:
            yield fidelity(zoo, "on spikes, T=1 N=31", spiking, episodes, ann_of(zoo))
            yield fidelity(zoo, "the ANN", ann_of(zoo), episodes)
        if name == "ppo_cartpole":
            yield bits(zoo, spiking)
        if name in LIMITS:
            yield from guards(name, spiking)


def outputs_of(policy: Any) -> Forbidden:
    """A spiking policy's outputs, each decision from rest."""
    return lambda seen: policy.outputs(np.asarray(seen, np.float32))[0].numpy()


def ann_of(zoo: Zoo) -> Forbidden:
    """The ANN's outputs."""
    model = zoo.model

    def outputs(seen: ndarray) -> ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(np.asarray(seen, np.float32))).numpy()

    return outputs


def fidelity(zoo: Zoo, what: str, outputs: Forbidden, episodes: int, ann: Forbidden | None = None) -> Row:
    """How often rules do what the policy does on its own unseen episodes; beside it the same with states weighed by what the worst action
    costs there (max − min of the outputs), and of a spiking policy how often it does what its ANN would in these states."""
    count = LEARNT.get(zoo.name, 100)
    learnt, judged = zoo.environments(100), zoo.environments(episodes)

    def act(seen: ndarray) -> ndarray:
        return outputs(seen).argmax(1)

    def meet(decide: Any, seed: int) -> Any:
        return visits(decide, learnt, count, 5000 + 200 * seed)

    features = load_features(RULES / "predicates" / f"{zoo.name}.yaml")
    own = visits(act, judged, episodes, JUDGED)
    wanted = act(own.observations)
    found = imitate(act, meet, features, Recipe(kicks=KICKS))
    plain = imitate(act, meet, predicates_of({}, features.names), Recipe(kicks=KICKS))
    done = found.rules(own.observations)
    share, costs = agreement(done, wanted), losses(outputs(own.observations))
    beside: dict[str, Any] = {
        "leaves": found.leaves,
        "rules": len(found.rules.rules) + 1,
        "predicates": len(features.predicates),
        "return of the rules": mean(found.rules, judged, episodes),
        "return of the policy": round(float(own.returns.mean()), 1),
        "agreement, weighed by cost": round(float(costs[done == wanted].sum() / costs.sum()), 3),
        **({} if ann is None else told_of(outputs(own.observations), ann(own.observations))),
        "agreement without predicates": round(agreement(plain.rules(own.observations), wanted), 3),
        "return without predicates": mean(plain.rules, judged, episodes),
        "text": found.rules.text(own.observations).splitlines(),
    }
    dense = RULES / "predicates" / f"{zoo.name}_dense.yaml"
    if dense.exists():
        other = imitate(act, meet, load_features(dense), Recipe(kicks=KICKS)).rules
        beside["agreement with dense predicates"] = round(agreement(other(own.observations), wanted), 3)
        beside["return with dense predicates"] = mean(other, judged, episodes)
    name = f"Rules of {NAMES[zoo.name]}, {what}: agreement on unseen episodes"
    return Row(name, round(share, 3), "of states", COMMAND, beside, None, f"at least {LEAST}, at most 24 leaves", share >= LEAST)


def told_of(spiking: ndarray, ann: ndarray) -> dict[str, float]:
    """How near a spiking network comes to its ANN: decisions in common, and the error of the gap between the ANN's two best outputs
    beside that gap itself."""
    order, rows = np.argsort(ann, 1), np.arange(len(ann))
    first, second = order[:, -1], order[:, -2]
    gaps = [each[rows, first] - each[rows, second] for each in (ann, spiking)]
    return {
        "decisions as the ANN's": round(agreement(spiking.argmax(1), ann.argmax(1)), 3),
        "median gap of the ANN's two best outputs": tidy(np.median(gaps[0])),
        "error of the gap on spikes": tidy(np.std(gaps[1] - gaps[0])),
        "median output": tidy(np.median(np.abs(ann))),
    }


def tidy(value: Any) -> float:
    """Three digits."""
    return float(f"{float(value):.3g}")


def mean(decide: Any, environments: Any, episodes: int) -> float:
    """The mean return of what decides, on the judged starts."""
    return round(float(visits(decide, environments, episodes, JUDGED).returns.mean()), 1)


def bits(zoo: Zoo, outputs: Forbidden) -> Row:
    """A gate network on named bits, taught by the policy, and its exact rules."""
    features: Features = load_features(RULES / "predicates" / f"{zoo.name}_bits.yaml")
    env = zoo.environments(50)

    def act(seen: ndarray) -> ndarray:
        return outputs(seen).argmax(1)

    seen, own = (visits(act, env, 50, seed).observations for seed in (5000, JUDGED))
    made = taught(features, seen, act(seen))
    share = agreement(made.rules(own), act(own))
    beside = {
        "bits": len(made.bits),
        "equal on every input": made.verdict.equal,
        "inputs tried": made.verdict.tried,
        "products": made.equations.products,
        "return of the rules": mean(made.rules, env, 50),
        "text": made.rules.text().splitlines(),
    }
    return Row(
        f"Exact Boolean rules of a gate network taught by {NAMES[zoo.name]}: agreement with the policy on unseen episodes",
        round(share, 3),
        "of states",
        COMMAND,
        beside,
        None,
        "rules equal to the network on every input",
        made.verdict.equal,
    )


def guards(name: str, outputs: Forbidden) -> Iterator[Row]:
    """How often a forbidden state is entered, with guards and without."""
    env_id, file, limits = LIMITS[name]
    guarded = load_guards(RULES / file).wrap(outputs)
    free = thrown(lambda seen: outputs(seen).argmax(1), env_id, limits)
    kept = thrown(guarded, env_id, limits)
    beside = {
        "with guards": kept,
        "without": free,
        "vetoes": dict(guarded.log.counts),
        "gave way": dict(guarded.log.conflicts),
        "states vetoed": f"{sum(guarded.log.counts.values()) / guarded.log.states:.2%}",
    }
    before, after = (sum(each["entered"].values()) for each in (free, kept))
    title = f"{NAMES[name]}, on spikes, guarded, {STEPS:,} steps of a fuzzed world: forbidden states entered"
    yield Row(title, after, f"times (without guards {before})", COMMAND, beside, None, "fewer than without", after < before)


def thrown(decide: Any, env_id: str, limits: Mapping[str, Forbidden]) -> dict[str, Any]:
    """What became of a policy in a fuzzed world: how often each limit was crossed, and steps spent beyond it; steps played (100,000 or a
    few more; moments of resetting are none), episodes and returns."""
    env = fuzzed(env_id, WORLDS, seed=3)
    seen, infos = env.reset(seed=3)
    beyond = {what: np.zeros(WORLDS, bool) for what in limits}
    entered, steps = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)
    waiting, returns, running, played = np.zeros(WORLDS, bool), list[float](), np.zeros(WORLDS), 0
    while played < STEPS:
        seen, rewards, ended, cut, infos = env.step(decide(seen))
        running = np.where(waiting, 0.0, running + rewards)
        over, played = (ended | cut) & ~waiting, played + int((~waiting).sum())
        for what, crossed in limits.items():
            now = crossed(infos["truth"]) & ~waiting
            entered[what] += int((now & ~beyond[what]).sum())
            steps[what] += int(now.sum())
            beyond[what] = now & ~over
        returns += running[over].tolist()
        waiting = over
    facts = {"played": played, "episodes": len(returns), "mean return": round(float(np.mean(returns)), 1)}
    return {"entered": entered, "steps": steps, **facts}


def main() -> None:
    """The rows of the policies asked for, into agents.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for row in rows(options.policies, options.episodes):
        sys.stdout.write(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}\n")
        sys.stdout.flush()
        write("agents", [row], part=True)


if __name__ == "__main__":
    main()
