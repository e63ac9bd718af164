"""
Worlds that changed, and what became of policies there: frozen, adapted by local rules, and the ANN fine-tuned by PPO in as many steps.

The shifts were fixed beforehand (`spikeloom.agent.worlds.benchmark`). The agent knows the usual world: its own returns there, a critic and
a forward model that explored there. It may ask which body it has (`spikeloom.agent.diagnosis`), which PPO does not: nine of the fifteen
shifts are of a body's wiring. Then the world has changed, and 500 episodes of 64 environments together are all there is: exploring,
sentinels' trials, and the last 64 of them to choose between the weights of now, the best of all trials, and the converted ones. Returns
are judged on 128 other episodes.

    recovered = (R_adapted − R_frozen)/(R_usual − R_frozen)                                                   (1)

PPO (Schulman et al. 2017) is Stable-Baselines3's with its defaults but for n_steps: 64 environments × 32 steps. It begins from the ANN
(of Q-values: divided by the agent's τ, so that both explore alike), and takes as many steps as the agent did in the changed world, those
of the settling episodes included (rows of commit 9d8fcb9: without these). It has not what the agent had before: its practice in the usual
world, 400 control steps of 64 environments for the critic and 800 for the forward model.

Of the fifteen shifts nine are of the wiring (sensors, signs, delays), which the diagnosis and the forward model undo; six are of physics,
which weights alone have to answer. The summary counts them together and apart.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from acting.networks import Zoo
from harness.rows import Row, read
from spikeloom.agent import Act, returns
from spikeloom.agent.agent import Agent
from spikeloom.agent.body import worded
from spikeloom.agent.critic import CriticState
from spikeloom.agent.learning import Learning
from spikeloom.agent.living import acquainted, foreseen, lived, settled, usual_of
from spikeloom.agent.trials import Score
from spikeloom.agent.worlds import world
from spikeloom.agent.worlds.benchmark import SUITES, Case, Suite
from spikeloom.agent.worlds.table import SWITCHES

COMMAND = "python benchmarks/agents.py --parts shifts"
ENVIRONMENTS, EPISODES, SETTLING, JUDGED = 64, 500, 64, 128
LEAST = 0.7
SETTINGS: Mapping[str, tuple[Learning, float]] = {"LunarLander-v3": (Learning(rate=0.03, discount=0.995, divergence=0.02), 0.75)}
"""How an agent learns, and how much it explores, where it is not by default; LunarLander's episodes are longer."""


def rows(names: Sequence[str], episodes: int, seeds: int = 5) -> Iterator[Row]:
    """Rows of the shifts of every suite whose policy is asked for, with seeds from 1: settings were found with 0, 6 and 7."""
    torch.set_num_threads(1)
    for env_id, suite in SUITES.items():
        if suite.policy in names:
            yield from of_suite(env_id, suite, seeds)
    yield from summaries()


def of_suite(env_id: str, suite: Suite, seeds: int) -> Iterator[Row]:
    """Every shift of one environment, all seeds."""
    zoo = Zoo(suite.policy)
    policy = zoo.fitted(1)[0].replaced(residue="reset")
    usual = usual_of(policy, world(env_id, ENVIRONMENTS))
    learning, exploration = settings_of(env_id)
    agent = Agent(policy, usual, plastic="always", learning=learning, exploration=exploration)
    critic = acquainted(agent, agent.init(ENVIRONMENTS), world(env_id, ENVIRONMENTS))
    agent = agent.replaced(forward=foreseen(agent, world(env_id, ENVIRONMENTS)))
    base = judged(policy.actor(), env_id, {})
    for case in suite.cases:
        frozen = judged(policy.actor(), env_id, case.shift)
        yield of_case(env_id, case, suite, zoo, (agent, critic), (base, frozen), seeds)


def of_case(
    env_id: str, case: Case, suite: Suite, zoo: Zoo, made: tuple[Agent, CriticState], known: tuple[float, float], seeds: int
) -> Row:
    """One shift: frozen, adapted and fine-tuned, mean and interval over the seeds."""
    agent, critic = made
    base, frozen = known
    adapted, tuned, steps, bodies = list[float](), list[float](), list[int](), set[str]()
    for seed in range(1, 1 + seeds):
        kept, taken = life(env_id, case, agent, critic, seed)
        adapted.append(judged(agent.network(kept.weights, kept.body).actor(), env_id, case.shift))
        steps.append(taken)
        bodies.add(worded(kept.body or agent.body, agent.body))
        tuned.append(judged(fine_tuned(zoo, env_id, case, taken, agent.exploration.width, seed), env_id, case.shift))
    made = row(env_id, case, suite, base, frozen, (adapted, tuned, steps), judged(zoo.ann(), env_id, case.shift))
    return dataclasses.replace(made, control={**made.control, "bodies found": sorted(bodies)})


def life(env_id: str, case: Case, agent: Agent, critic: CriticState, seed: int) -> tuple[Score, int]:
    """The weights that are kept after 500 episodes, and the control steps of all of them."""
    settling = list[int]()
    state = dataclasses.replace(agent.init(ENVIRONMENTS, seed), critic=critic)
    state = lived(agent, state, world(env_id, ENVIRONMENTS, case.shift), EPISODES - SETTLING, seed=500 + 1000 * seed)
    kept, _ = settled(
        agent,
        state,
        world(env_id, ENVIRONMENTS, case.shift),
        SETTLING,
        seed=90_000 + 1000 * seed,
        watch=lambda moment: settling.append(int(moment.playing.sum())),
    )
    return kept, state.steps + sum(settling)


def title(env_id: str, case: Case) -> str:
    """The name of a shift's row."""
    return f"{env_id} {case.kind} {', '.join(f'{key}={value}' for key, value in case.shift.items())}: recovered of the lost return"


def row(
    env_id: str, case: Case, suite: Suite, base: float, frozen: float, found: tuple[list[float], list[float], list[int]], ann: float
) -> Row:
    """What was found, as a row: the share that was recovered."""
    adapted, tuned, steps = found
    share = (np.mean(adapted) - frozen) / (base - frozen)
    beside = {
        "usual": tidy(base),
        "frozen": tidy(frozen),
        "frozen, normalised": round((frozen - suite.random) / (base - suite.random), 2),
        "adapted": [tidy(value) for value in adapted],
        "adapted, mean and 95 % interval": interval(adapted),
        "frozen ANN": tidy(ann),
        "ANN by PPO": [tidy(value) for value in tuned],
        "PPO, mean and 95 % interval": interval(tuned),
        "PPO recovered": round(float((np.mean(tuned) - frozen) / (base - frozen)), 3),
        "steps": steps,
        "known to be possible": case.reached,
    }
    return Row(
        title(env_id, case),
        round(float(share), 3),
        f"mean of {len(adapted)} seeds",
        COMMAND,
        beside,
        None,
        f"at least {LEAST}",
        bool(share >= LEAST),
    )


def summaries() -> Iterator[Row]:
    """How many of the shifts are recovered from: of all that were measured, of those that weights alone have to answer, and of those that
    the diagnosis undoes."""
    shown = {each["name"]: each for each in read("agents")}
    known = {title(env_id, case): set(case.shift) <= set(SWITCHES) for env_id, suite in SUITES.items() for case in suite.cases}
    wired = {name: wiring for name, wiring in known.items() if name in shown}
    for what, names in (
        ("of all", list(wired)),
        ("by weights alone (physics)", [name for name in wired if not wired[name]]),
        ("by diagnosis (wiring and delays)", [name for name in wired if wired[name]]),
    ):
        found = [shown[name] for name in names]
        held, tuned = sum(bool(each["holds"]) for each in found), sum(each["control"]["PPO recovered"] >= LEAST for each in found)
        holds = len(found) > 0 and 3 * held >= 2 * len(found)
        name = f"shifts recovered from by 70 % or more, {what}"
        yield Row(name, held, f"of {len(found)}", COMMAND, {"the ANN by PPO": tuned}, None, "two thirds", holds)


def judged(act: Act, env_id: str, shift: Any) -> float:
    """The mean return of 128 episodes that nothing was chosen on."""
    env = world(env_id, JUDGED, shift)
    try:
        return float(returns(act, env, JUDGED, 1000).mean())
    finally:
        env.close()


def fine_tuned(zoo: Zoo, env_id: str, case: Case, steps: int, width: float, seed: int) -> Act:
    """The ANN after as many steps of PPO under the shift, acting its best."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    linear = [module for module in zoo.model.modules() if isinstance(module, nn.Linear)]
    hidden = nn.Tanh if any(isinstance(module, nn.Tanh) for module in zoo.model.modules()) else nn.ReLU
    widths = [layer.out_features for layer in linear[:-1]]
    env = VecMonitor(as_vec_env(world(env_id, ENVIRONMENTS, case.shift, seed=500 + 1000 * seed, autoreset="SameStep")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gamma = settings_of(env_id)[0].discount
        tuner = PPO(
            "MlpPolicy", env, n_steps=32, batch_size=256, gamma=gamma, seed=seed, device="cpu",
            policy_kwargs={"net_arch": {"pi": widths, "vf": [64, 64]}, "activation_fn": hidden},
        )  # fmt: skip
    acting = [module for module in tuner.policy.mlp_extractor.policy_net if isinstance(module, nn.Linear)]
    scale = width if suite_of_values(zoo) else 1.0
    with torch.no_grad():
        for mine, theirs in zip([*acting, tuner.policy.action_net], linear, strict=True):
            last = theirs is linear[-1]
            mine.weight.copy_(theirs.weight / (scale if last else 1.0))
            mine.bias.copy_(theirs.bias / (scale if last else 1.0))
    tuner.learn(steps)
    return lambda observations, fresh: tuner.predict(observations, deterministic=True)[0]


def settings_of(env_id: str) -> tuple[Learning, float]:
    """How an agent learns there, and how much it explores."""
    return SETTINGS.get(env_id, (Learning(), 0.85))


def suite_of_values(zoo: Zoo) -> bool:
    """Whether the network's outputs are values of actions and not preferences."""
    return zoo.name.startswith("dqn")


def as_vec_env(env: Any) -> Any:
    """A vector of Gymnasium (autoreset in the same step) as one of Stable-Baselines3."""
    from stable_baselines3.common.vec_env import VecEnv

    class Vector(VecEnv):
        def __init__(self) -> None:
            super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
            self.actions = np.zeros(0)

        def reset(self) -> ndarray:
            return env.reset()[0]

        def step_async(self, actions: ndarray) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            observations, rewards, terminated, truncated, info = env.step(self.actions)
            done, told = terminated | truncated, [dict[str, Any]() for _ in range(env.num_envs)]
            for place in np.flatnonzero(done):
                told[place] = {
                    "terminal_observation": info["final_obs"][place],
                    "TimeLimit.truncated": bool(truncated[place] and not terminated[place]),
                }
            return observations, rewards.astype(np.float32), done, told

        def close(self) -> None:
            env.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None] * env.num_envs

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            return None

        def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
            return [None] * env.num_envs

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * env.num_envs

    return Vector()


def interval(values: list[float]) -> list[float]:
    """The mean and the half-width of its 95 % interval (Student, over seeds)."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return [tidy(np.mean(values)), tidy(half)]


def tidy(value: float) -> float:
    """A return to one digit after the point."""
    return round(float(value), 1)
