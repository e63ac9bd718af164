"""
Conversion onto grids that whole numbers hold, so that the network that is measured is the one that is compiled.
"""

import dataclasses
import time

from spikeloom.backend.lower import grounded
from spikeloom.ir import Batches, Program, Record
from spikeloom.pipeline.input_range import input_range
from spikeloom.pipeline.settings import Settings


def kept_whole(settings: Settings) -> Settings:
    """Settings whose weights have few bits where the whole network is to lie on grids: 8 unless others were asked for."""
    if not settings.whole_numbers or settings.compress != "none" or settings.method == "logic_gated":
        return settings
    return dataclasses.replace(settings, compress="8")


def grounded_program(program: Program, timesteps: int, stream: Batches) -> Program:
    """The spiking program on the grids of its netlist. Raises UnsupportedError naming what has no place in whole numbers."""
    began = time.perf_counter()
    given = input_range(program, stream())
    made = grounded(program, timesteps, given)
    numbers = {"input_low": given.low, "input_high": given.high, "seconds": time.perf_counter() - began}
    return made.recorded(Record("Ground", {"timesteps": timesteps}, numbers, ("Jacob et al. 2018, arXiv:1712.05877",), numbers["seconds"]))
