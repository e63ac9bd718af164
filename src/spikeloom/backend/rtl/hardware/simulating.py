"""
Hardware in Amaranth's own simulator.
"""

from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.hardware.axis import Axis
from spikeloom.backend.rtl.hardware.hdl import Module, Simulator
from spikeloom.backend.rtl.interface import Beat, Interface, answers_of, beats_of

PATIENCE = 50_000
"""Cycles without a word on either side after which a design is taken to be stuck."""
STUCK = 1 << 62
"""What stands for an answer that never came."""


def simulated(made: Module, axis: Axis, interface: Interface, ticks: Int[ndarray, "t b ..."]) -> tuple[Int[ndarray, "b o"], list[int]]:
    """(what it answers, cycles from a sample's first beat to its last answer), one sample after the other; inputs [T, B, ...]."""
    found, cycles = list[list[int]](), list[int]()

    async def bench(context: Any) -> None:
        for beats in beats_of(interface, ticks):
            words, taken = await _sample(context, axis, beats, interface.outputs)
            found.append(answers_of(interface, words) + [STUCK] * (interface.outputs - len(words)))
            cycles.append(taken)

    simulator = Simulator(made)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found, np.int64).reshape(len(found), -1), cycles


async def _sample(context: Any, axis: Axis, beats: list[Beat], outputs: int) -> tuple[list[int], int]:
    words, sent, cycles, quiet = list[int](), 0, 0, 0
    context.set(axis.out_ready, 1)
    while len(words) < outputs and quiet < PATIENCE:
        offered = sent < len(beats)
        context.set(axis.in_valid, int(offered))
        if offered:
            context.set(axis.in_data, beats[sent][0])
            context.set(axis.in_last, beats[sent][1])
        accepted, answered = offered and context.get(axis.in_ready), context.get(axis.out_valid)
        sent += int(accepted)
        quiet = 0 if accepted or answered else quiet + 1
        if answered:
            words.append(context.get(axis.out_data))
        await context.tick()
        cycles += 1
    context.set(axis.in_valid, 0)
    return words, cycles
