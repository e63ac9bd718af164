"""
A plan's hardware in Amaranth's own simulator.
"""

from typing import Any

import numpy as np
from amaranth.sim import Simulator  # pyright: ignore[reportMissingImports]
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.hardware.network import network
from spikeloom.backend.rtl.interface import Beat, Interface, answers_of, beats_of
from spikeloom.backend.rtl.plan import Plan

PATIENCE = 200_000
"""Cycles without an answer after which a design is taken to be stuck."""


def simulated(plan: Plan, interface: Interface, ticks: Int[ndarray, "t b ..."], fifo_depth: int = 16) -> tuple[Int[ndarray, "b o"], list[int]]:
    """(what it answers, cycles from a sample's first beat to its last answer), one sample after the other; inputs [T, B, ...]."""
    samples = images(plan, ticks)
    made, axis = network(plan, interface, fifo_depth)
    found, cycles = list[list[int]](), list[int]()

    async def bench(context: Any) -> None:
        for beats in beats_of(plan, interface, samples):
            words, taken = await _sample(context, axis, beats, interface.outputs)
            found.append(answers_of(interface, words))
            cycles.append(taken)

    simulator = Simulator(made)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found, np.int64).reshape(len(found), -1), cycles


async def _sample(context: Any, axis: Any, beats: list[Beat], outputs: int) -> tuple[list[int], int]:
    words, sent, cycles = list[int](), 0, 0
    context.set(axis.out_ready, 1)
    while len(words) < outputs and cycles < PATIENCE:
        offered = sent < len(beats)
        context.set(axis.in_valid, int(offered))
        if offered:
            context.set(axis.in_data, beats[sent][0])
            context.set(axis.in_last, beats[sent][1])
        sent += int(offered and context.get(axis.in_ready))
        if context.get(axis.out_valid):
            words.append(context.get(axis.out_data))
        await context.tick()
        cycles += 1
    context.set(axis.in_valid, 0)
    return words, cycles


def images(plan: Plan, ticks: Int[ndarray, "t b ..."]) -> Int[ndarray, "t b c h w"]:
    """Inputs [T, B, ...] as images."""
    shape = (plan.given.channels, plan.given.height, plan.given.width)
    return np.asarray(ticks).reshape(plan.timesteps, -1, *shape)
