"""Worlds that change: vectors of gymnasium's environments whose physics, sensors and actuators shift while they run."""

from spikeloom.agent.worlds.build import scales, world
from spikeloom.agent.worlds.shifts import Shift, parsed
from spikeloom.agent.worlds.table import PHYSICS, SENSORS, SWITCHES, family

__all__ = ["PHYSICS", "SENSORS", "SWITCHES", "Shift", "family", "parsed", "scales", "world"]
