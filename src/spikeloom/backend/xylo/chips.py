"""
The Xylo family's limits as data.

    hidden neurons 1000 / 992 / 496, output neurons 8 / 32 / 16, fan-out of a hidden neuron 64 / 1024 / 512 (Audio 2, Audio 3, IMU);
    16 input channels of up to 15 events a tick, weights of 8 bits shifted left together, states of 16 bits that saturate, up to 31 spikes
    of a hidden neuron in a tick and 1 of an output neuron

Source: SynSense, rockpool, docs/devices/xylo-overview.ipynb, and devices/xylo (`syns61201`, `syns65302`, `syns63300`: neurons and outputs);
xylosim 0.1.3, src/v2/cpp (limits of spikes, widths, order of a tick).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

INPUTS, INPUT_EVENTS = 16, 15
SPIKES, OUTPUT_SPIKES = 31, 1
WEIGHT_LOW, WEIGHT_HIGH = -128, 127
STATE_LOW, STATE_HIGH = -(1 << 15), (1 << 15) - 1


@final
@dataclass(frozen=True)
class Chip:
    """What one member of the family has."""

    title: str
    hidden: int
    outputs: int
    fan_out: int


CHIPS: Mapping[str, Chip] = {
    "audio2": Chip("Xylo Audio 2 (SYNS61201)", 1000, 8, 64),
    "audio3": Chip("Xylo Audio 3 (SYNS65302)", 992, 32, 1024),
    "imu": Chip("Xylo IMU (SYNS63300)", 496, 16, 512),
}
