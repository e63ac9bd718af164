"""
What a Loihi 2 chip holds, as far as it is published, with where each number is from and what is uncertain of it.
"""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Limit:
    """One number of the chip; `sure` is False where no document of the maker states it for Loihi 2."""

    value: int
    unit: str
    source: str
    sure: bool = True


BRIEF = "Intel Labs, Loihi 2 technology brief, 2021"
LAVA = "lava-nc 0.10.0, fixed-point process models"
LOIHI1 = "Davies et al., IEEE Micro 38(1), 2018 (Loihi 1)"

LIMITS = {
    "cores": Limit(128, "cores of a chip", BRIEF),
    "neurons": Limit(8192, "neurons of a core", BRIEF),
    "synaptic_memory": Limit(128 * 1024, "bytes of synapses of a core", BRIEF),
    "memory": Limit(192 * 1024, "bytes of a core in all", BRIEF),
    "weight_bits": Limit(8, "bits of a weight's mantissa, its sign included", f"{LAVA} (dense)"),
    "weight_exponent": Limit(7, "greatest exponent of a weight", f"{LOIHI1}: -8 to 7; not stated for Loihi 2", False),
    "spike_bits": Limit(24, "bits of a graded spike", f"{LAVA}: 24; {BRIEF}: up to 32"),
    "state_bits": Limit(24, "bits of current and voltage", f"{LAVA} (LIF)"),
    "accumulator_bits": Limit(24, "bits of a sum of synapses", f"{LAVA} (Conv, SigmaDelta: 24; LIF: 16); not stated by the maker", False),
    "cuba_accumulator_bits": Limit(16, "bits of a sum of synapses of the built-in LIF", f"{LAVA} (LIF)"),
    "threshold_bits": Limit(17, "bits of the built-in LIF's threshold mantissa, its exponent being 6", f"{LAVA} (LIF)"),
    "bias_bits": Limit(13, "bits of the built-in LIF's bias mantissa, its exponent being 6", f"{LAVA} (LIF)"),
    "decay_bits": Limit(12, "bits of a decay", f"{LAVA} (LIF)"),
    "axon_delay": Limit(62, "ticks a spike can be delayed", "lava-dl 0.6 (netx: max_delay)"),
    "axons": Limit(4096, "axons into a core, and out of it", f"{LOIHI1}; Loihi 2's number is not published and must be larger", False),
}
"""Axons are counted and reported; they refuse a network only where the option `axons` says so."""

ALIGN = 6
"""The built-in LIF shifts synaptic input, bias and threshold up by so many bits (lava-nc LIF: act_shift, vth_shift)."""

STATE_BYTES = 4
"""What one state of a neuron is taken to need (24 bits in a word of 32); ours, not published."""


def allowed(name: str) -> str:
    """A limit in words."""
    limit = LIMITS[name]
    return f"{limit.value:,} {limit.unit} ({limit.source})"


def signed(low: int, high: int) -> int:
    """The width of two's complement that holds a range."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
