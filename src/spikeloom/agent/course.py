"""
How an adaptation goes.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

from spikeloom.agent.learning import Learning
from spikeloom.agent.reliving import EVERY
from spikeloom.errors import ConfigError


@final
@dataclass(frozen=True)
class Course:
    """How an adaptation goes: episodes of all environments together, lives (one for each seed), the control steps after which the world
    changes and over which, how the agent learns (`Agent`), and whether it asks first what of its body has changed (`diagnosis`)."""

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
