"""
The passes of a conversion, in order, for what was asked and what was chosen by measurement (`choice`).
"""

from dataclasses import dataclass
from typing import final

from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import Quantise
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import WEIGHTS, Pass, grid_named
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


def prepared_passes(settings: Settings, choice: Choice) -> list[Pass]:
    """From the ANN as captured to the ANN that is converted: the same function."""
    return [Plan(), Fuse(), *([Rotate(choice.rotate, choice.gains_db)] if settings.rotation != "none" else [])]


def quantising_passes(settings: Settings) -> list[Pass]:
    """Weights onto their grid, where they are to lie on one."""
    if settings.compress == "none":
        return []
    return [Quantise(settings.compress, settings.group, settings.bits, settings.rounding)]


def nearest_passes(settings: Settings) -> list[Pass]:
    """The control's weights: each at the nearest value of a grid of as many bits, every layer alike."""
    if settings.compress == "none":
        return []
    kinds = [kind for kind in WEIGHTS if grid_named(kind).width <= settings.bits] if settings.compress == "hybrid" else [settings.compress]
    return [Quantise(max(kinds, key=lambda kind: grid_named(kind).width), settings.group, method="nearest")]


def passes_of(settings: Settings, choice: Choice | None = None) -> tuple[list[Pass], list[Pass]]:
    """The passes of a conversion: those up to thresholds, and those that compensate; without a choice, what the settings say."""
    made = given(settings) if choice is None else choice
    spiking = spiking_passes(settings, made.placement, made.placements)
    first = [*prepared_passes(settings, made), *quantising_passes(settings), *spiking]
    return first, [Compensate(timesteps=resolution_of(settings))] if settings.compensate else []
