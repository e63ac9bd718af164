"""Calibration: thresholds from activations, and layer-by-layer compensation (floor 4)."""

from spikeloom.calibrate.balance import Balance
from spikeloom.calibrate.compensate import Compensate
from spikeloom.calibrate.device import Device
from spikeloom.calibrate.learning import LearnCompensation
from spikeloom.calibrate.observe import Observation, observe
from spikeloom.calibrate.reading import reading_errors
from spikeloom.calibrate.scale import METHODS

__all__ = ["METHODS", "Balance", "Compensate", "Device", "LearnCompensation", "Observation", "observe", "reading_errors"]
