"""
The passes of a conversion, in order, for what was asked and what was chosen by measurement (`choice`).
"""

from dataclasses import dataclass
from typing import final

from spikeloom.calibrate import Balance, Compensate
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Pass
from spikeloom.pipeline.settings import Settings
from spikeloom.plan import Fuse, Plan, Rotate


@final
@dataclass(frozen=True)
class Choice:
    """Which groups are rotated (None: all that can be, () none), by how much each was better or worse for it, dB, and where the levels of
    populations lie: of all, and of some by name."""

    rotate: tuple[str, ...] | None
    gains_db: tuple[tuple[str, float], ...] = ()
    placement: str = "uniform"
    placements: tuple[tuple[str, str], ...] = ()


def given(settings: Settings) -> Choice:
    """What the settings say themselves, `auto` as nothing chosen."""
    placement = "uniform" if settings.placement == "auto" else settings.placement
    return Choice(None if settings.rotation == "all" else (), placement=placement)


def levels_of(settings: Settings) -> int:
    """N: the positive levels a population has at one step."""
    return settings.levels if settings.method == "scale_and_fire" else 1


def resolution_of(settings: Settings) -> int:
    """The steps a value takes: a Scale-and-Fire population carries it in every single step, IF and LIF need all T for it."""
    return 1 if settings.method == "scale_and_fire" else settings.timesteps


def spiking_passes(settings: Settings, placement: str, placements: tuple[tuple[str, str], ...] = ()) -> list[Pass]:
    """From the ANN to populations with thresholds."""
    tau_ms, dt_ms = settings.tau_mem_ms, settings.dt_ms
    spike = Spike(settings.method, settings.levels, settings.per_channel, placement, "staircase", tau_ms, dt_ms, placements)
    return [Unfold(), spike, Balance(settings.thresholds, settings.percentile, resolution_of(settings))]


def passes_of(settings: Settings, choice: Choice | None = None) -> tuple[list[Pass], list[Pass]]:
    """The passes of a conversion: those up to thresholds, and those that compensate; without a choice, what the settings say."""
    made = given(settings) if choice is None else choice
    first: list[Pass] = [Plan(), Fuse()]
    if settings.rotation != "none":
        first.append(Rotate(made.rotate, made.gains_db))
    first += spiking_passes(settings, made.placement, made.placements)
    return first, [Compensate(timesteps=resolution_of(settings))] if settings.compensate else []
