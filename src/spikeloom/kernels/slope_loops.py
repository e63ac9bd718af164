"""
The kernel of `slopes`: what `loops.run_uniform` sends at T = 1, and whether a little more would have sent more.
"""

from typing import no_type_check

import numpy as np

from spikeloom.kernels.compilation import compiled
from spikeloom.kernels.loops import _floats


@compiled("ppppp" + "ff" + "nn")
@no_type_check
def fire_with_slope(h_at, step_at, v0_at, o_at, slope_at, low, high, rows, channels):
    """Spikes and slopes of [rows, channels] numbers; one step and one v[0] for each channel."""
    h, o, slope = _floats(h_at, rows * channels), _floats(o_at, rows * channels), _floats(slope_at, rows * channels)
    step, v0 = _floats(step_at, channels), _floats(v0_at, channels)
    for row in range(rows):
        start = row * channels
        for i in range(channels):
            z = np.floor((v0[i] + h[start + i]) / step[i])
            slope[start + i] = np.float32(1.0) if z >= low and z <= high else np.float32(0.0)
            z = low if z < low else z
            z = high if z > high else z
            o[start + i] = z * step[i]
    return False
