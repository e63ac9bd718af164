"""
The shifts of the benchmark `agents`, fixed on 2026-11-26 before anything was adapted to them.

They were chosen by looking at the frozen ANN policies alone (../shared/data/rl_policies; CartPole: dqn_cartpole): five of different
kinds for each environment, each costing at least 20 % of the normalised return

    (R − R_random)/(R_ANN − R_random),    R_ANN and R_random both in the unshifted environment.                 (1)

The numbers are means over 128 episodes, world seed 1000. `reached` says why a shift counts as solvable: for one that merely exchanges
sensors or actions, the unshifted return itself (the inverse exchange undoes it); for the others, what a cross-entropy search over a
small controller without memory found (CartPole, Acrobot: linear in the sensors; LunarLander: gymnasium's heuristic with its gains
searched): a lower bound of what is possible. Shifts whose best was hardly above the frozen policy's (Acrobot gain=0.3: −253 against
−263; length=2: −181 against −245; friction=0.1: −186 against −217) were left out: what physics took, no learning gives back.

Two were exchanged the same day, because they cost the frozen SNN less than 20 % (CartPole swap=1:3: 486 of 500; Acrobot gravity=3,gain=2:
0.89): for swap=2:3 and gravity=4,gain=2. Nothing had been adapted to the new ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from spikeloom.agent.worlds.shifts import Shift


@final
@dataclass(frozen=True)
class Case:
    """One shift of the benchmark: its kind, itself, the frozen ANN's mean return under it, and a return known to be possible."""

    kind: str
    shift: Shift
    frozen: float
    reached: float


@final
@dataclass(frozen=True)
class Suite:
    """An environment's shifts, the policy that meets them, and the returns of the ANN and of random actions without them."""

    policy: str
    ann: float
    random: float
    cases: tuple[Case, ...]

    def normalised(self, mean_return: float) -> float:
        """(1): 1 for the ANN in the unshifted environment, 0 for random actions there."""
        return (mean_return - self.random) / (self.ann - self.random)


SUITES: Mapping[str, Suite] = {
    "CartPole-v1": Suite(
        "dqn_cartpole",
        ann=500.0,
        random=23.6,
        cases=(
            Case("dynamics", {"length": 3.0}, 70.8, 500.0),
            Case("actuator", {"gain": 0.3}, 120.6, 500.0),
            Case("actuator", {"sign": -1.0}, 10.3, 500.0),
            Case("sensor", {"swap": "2:3"}, 132.3, 500.0),
            Case("delay", {"delay": 2.0}, 98.3, 500.0),
        ),
    ),
    "Acrobot-v1": Suite(
        "dqn_acrobot",
        ann=-76.5,
        random=-500.0,
        cases=(
            Case("dynamics", {"inertia": 0.2}, -238.9, -112.6),
            Case("dynamics", {"gravity": 4.0, "gain": 2.0}, -432.8, -101.3),
            Case("actuator", {"sign": -1.0}, -500.0, -76.5),
            Case("sensor", {"swap": "1:3"}, -221.1, -76.5),
            Case("delay", {"delay": 4.0}, -310.0, -86.8),
        ),
    ),
    "LunarLander-v3": Suite(
        "ppo_lunarlander",
        ann=244.0,
        random=-169.6,
        cases=(
            Case("dynamics", {"gravity": 0.15}, 107.5, 209.9),
            Case("actuator", {"side": 0.15}, 69.3, 124.1),
            Case("actuator", {"sign": -1.0}, -658.7, 244.0),
            Case("sensor", {"swap": "0:1"}, -86.7, 244.0),
            Case("delay", {"delay": 6.0}, 97.5, 226.0),
        ),
    ),
}
"""By environment. Fifteen shifts, each with what the frozen ANN got."""
