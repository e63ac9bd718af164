"""Calibration: thresholds from activations, and layer-by-layer compensation (floor 4)."""

from spikeloom.calibrate.balance import Balance
from spikeloom.calibrate.compensate import Compensate
from spikeloom.calibrate.observe import Observation, observe
from spikeloom.calibrate.reading import reading_errors
from spikeloom.calibrate.scale import METHODS

__all__ = ["METHODS", "Balance", "Compensate", "Observation", "observe", "reading_errors"]
