"""
Sets of parameters as published, by name.

Pfister & Gerstner 2006, J. Neuroscience 26, 9673, tables 3 and 4: fits of the triplet rule to hippocampal cultures (Wang et al. 2005) and
to slices of visual cortex (Sjöström, Turrigiano, Nelson 2001), each full (all of A₂±, A₃±) and minimal (terms at 0), all-to-all and
nearest-spike. Changes are fractions of the weight at the start. Of a set whose A₃⁻ is 0, τ_x plays no part.

Sjöström et al. 2001, Neuron 32, 1149: pairs at ±10 ms at several rates; the numbers that Pfister & Gerstner fitted, for 60 pairs.
"""

from collections.abc import Mapping
from typing import NamedTuple, final

from spikeloom.plasticity.bounds import Bounds
from spikeloom.plasticity.stdp import STDP

PAIRS = 60
"""Pairs of spikes in the protocols below."""


def _cortex(a2: tuple[float, float], a3: tuple[float, float], tau_x_ms: float, tau_y_ms: float, nearest: bool) -> STDP:
    return STDP(*a2, 16.8, 33.7, *a3, tau_x_ms, tau_y_ms, nearest=nearest)


VISUAL_CORTEX: Mapping[str, STDP] = {
    "all-to-all, full": _cortex((5e-10, 7e-3), (6.2e-3, 2.3e-4), 101.0, 125.0, False),
    "all-to-all, minimal": _cortex((0.0, 7.1e-3), (6.5e-3, 0.0), 101.0, 114.0, False),
    "nearest, full": _cortex((8.8e-11, 6.6e-3), (5.3e-2, 3.1e-3), 714.0, 40.0, True),
    "nearest, minimal": _cortex((0.0, 8e-3), (5e-2, 0.0), 714.0, 40.0, True),
}
"""Fits to Sjöström et al. 2001; τ₊ = 16.8 ms, τ₋ = 33.7 ms (Bi & Poo 2001)."""

HIPPOCAMPUS: Mapping[str, STDP] = {
    "all-to-all, full": _cortex((6.1e-3, 1.6e-3), (6.7e-3, 1.4e-3), 946.0, 27.0, False),
    "all-to-all, minimal": _cortex((5.3e-3, 3.5e-3), (8e-3, 0.0), 946.0, 40.0, False),
    "nearest, full": _cortex((4.6e-3, 3e-3), (9.1e-3, 7.5e-9), 575.0, 47.0, True),
    "nearest, minimal": _cortex((4.6e-3, 3e-3), (9.1e-3, 0.0), 575.0, 48.0, True),
}
"""Fits to Wang et al. 2005; the same τ₊ and τ₋."""

SONG_2000 = STDP(0.005, 0.005 * 1.05, 20.0, 20.0, bounds=Bounds(0.0, 1.0))
"""Song, Miller, Abbott 2000: pairs, A₊ = 0.005 of the largest weight, A₋/A₊ = 1.05, both 20 ms, additive."""


@final
class Pairing(NamedTuple):
    """A row of Sjöström et al. 2001: pairs at a rate, post after pre by `delay_ms`; the mean change and its standard error."""

    rate_hz: float
    delay_ms: float
    change: float
    error: float


SJOSTROM_2001: tuple[Pairing, ...] = (
    Pairing(0.1, 10.0, -0.04, 0.05),
    Pairing(10.0, 10.0, 0.14, 0.10),
    Pairing(20.0, 10.0, 0.29, 0.14),
    Pairing(40.0, 10.0, 0.53, 0.11),
    Pairing(50.0, 10.0, 0.56, 0.26),
    Pairing(0.1, -10.0, -0.29, 0.08),
    Pairing(10.0, -10.0, -0.41, 0.11),
    Pairing(20.0, -10.0, -0.34, 0.10),
    Pairing(40.0, -10.0, 0.56, 0.32),
    Pairing(50.0, -10.0, 0.75, 0.19),
)
"""What `VISUAL_CORTEX` was fitted to."""
