"""Worlds that change: vectors of gymnasium's environments whose physics, sensors and actuators shift while they run."""

from spikeloom.agent.worlds.benchmark import SUITES
from spikeloom.agent.worlds.build import fuzzed, scales, world
from spikeloom.agent.worlds.shifts import Shift, parsed
from spikeloom.agent.worlds.table import PHYSICS, SENSORS, SWITCHES, family

__all__ = ["PHYSICS", "SENSORS", "SUITES", "SWITCHES", "Shift", "family", "fuzzed", "parsed", "scales", "world"]
