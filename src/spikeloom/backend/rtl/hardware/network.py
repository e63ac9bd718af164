"""
The whole: what comes in by AXI-Stream, the stages with queues between them, what goes out by AXI-Stream.
"""

from typing import Any

from spikeloom.backend.rtl.hardware.axis import Axis, answer, received
from spikeloom.backend.rtl.hardware.hdl import Module
from spikeloom.backend.rtl.hardware.maximum import maximum
from spikeloom.backend.rtl.hardware.ports import Events, events, queued
from spikeloom.backend.rtl.hardware.sweep import stage
from spikeloom.backend.rtl.interface import Interface
from spikeloom.backend.rtl.plan import Maximum, Plan, Stage, banks_of


def network(plan: Plan, interface: Interface, fifo_depth: int) -> tuple[Module, Axis]:
    """The hardware of a plan, and its ports."""
    m, axis = Module(), Axis(interface)
    layouts, ranges = plan.layouts(), plan.ranges()
    streams = {name: events(f"from_{place}", layouts[name], ranges[name], name == plan.last.name) for place, name in enumerate(layouts)}
    queues = dict[tuple[str, int], Events]()
    for place, name in enumerate(layouts):
        reading = [(each.name, bank) for each in plan.stages for bank, told in enumerate(banks_of(each)) if told.link.source == name]
        if reading:
            queues |= zip(reading, queued(m, f"queue{place}", streams[name], len(reading), fifo_depth), strict=True)
    for place, each in enumerate(plan.stages):
        given = [queues[each.name, bank] for bank in range(len(banks_of(each)))]
        m.submodules[f"stage{place}"] = _made(each, given, streams[each.name], plan.timesteps)
    answer(m, axis, streams[plan.last.name])
    m.submodules.receive = received(axis, streams[plan.source], interface)
    return m, axis


def _made(each: Stage | Maximum, given: list[Events], sent: Events, timesteps: int) -> Any:
    return stage(each, given, sent, timesteps) if isinstance(each, Stage) else maximum(each, given[0], sent, timesteps)
