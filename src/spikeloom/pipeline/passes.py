"""
The passes of a conversion, in order, for what was asked and what was chosen by measurement (`choice`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import PruneChannels, PruneMagnitude, PruneSpikes, Quantise, Round
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError
from spikeloom.ir import WEIGHTS, Pass, grid_named
from spikeloom.pipeline.settings import Settings
from spikeloom.plan import Fuse, Plan, Rotate

PRUNERS = ("spikes", "magnitude")


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
    spike = Spike(
        settings.method, settings.levels, settings.per_channel, placement, "staircase", tau_ms, dt_ms, placements, settings.dual_threshold
    )
    return [Unfold(), spike, Balance(settings.thresholds, settings.percentile, resolution_of(settings), settings.shifts)]


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


def arranged(
    prepared: Sequence[Pass], spiking: Sequence[Pass], correcting: Sequence[Pass], settings: Settings
) -> tuple[list[Pass], list[Pass]]:
    """The passes of a conversion with those of its compression where they belong: those up to thresholds and connections, and those that
    correct. Raises ConfigError for compression that cannot be."""
    check_compression(settings)
    rounding = quantising_passes(settings)
    if settings.sparsity == 0:
        return [*prepared, *rounding, *spiking], [*correcting]
    if settings.pattern == "channels":
        return [*prepared, *spiking], [*correcting, PruneChannels(settings.sparsity, timesteps=resolution_of(settings))]
    if settings.prune_by == "magnitude":
        return [*prepared, PruneMagnitude(settings.sparsity, settings.pattern), *rounding, *spiking], [*correcting]
    rounding = [Round(settings.compress, settings.group)] if rounding else []
    prune = PruneSpikes(settings.sparsity, pattern=settings.pattern, timesteps=resolution_of(settings))
    return [*prepared, *spiking, prune, *rounding], [*correcting]


def check_compression(settings: Settings) -> None:
    """Raises ConfigError for unknown weights, a sparsity out of range, or what cannot be had together."""
    if settings.compress not in (kinds := ("none", *WEIGHTS, "hybrid")):
        raise ConfigError("compression.weights is unknown", found=settings.compress, allowed=", ".join(kinds))
    if not 0 <= settings.sparsity < 1:
        raise ConfigError("compression.sparsity is out of range", found=settings.sparsity, allowed="0 up to 1")
    if settings.prune_by not in PRUNERS:
        raise ConfigError("compression.prune_by is unknown", found=settings.prune_by, allowed=", ".join(PRUNERS))
    if settings.sparsity == 0:
        return
    if settings.pattern == "channels" and (settings.compress != "none" or settings.prune_by == "magnitude"):
        found = f"weights {settings.compress}, by {settings.prune_by}"
        raise ConfigError(
            "channels leave by their spikes, and not together with weights of few bits", found=found, allowed="none, by spikes"
        )
    if settings.compress == "hybrid" and settings.prune_by == "spikes":
        raise ConfigError("hybrid weights and pruning by spikes cannot be had together", found="hybrid", allowed="8, 4, ternary, none")


def passes_of(settings: Settings, choice: Choice | None = None) -> tuple[list[Pass], list[Pass]]:
    """The passes of a conversion: those up to thresholds, and those that compensate; without a choice, what the settings say."""
    made = given(settings) if choice is None else choice
    spiking = spiking_passes(settings, made.placement, made.placements)
    correcting = [Compensate(timesteps=resolution_of(settings))] if settings.compensate else []
    return arranged(prepared_passes(settings, made), spiking, correcting, settings)
