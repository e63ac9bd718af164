"""Calibration: thresholds from activations, and layer-by-layer compensation (floor 4)."""

from spikeloom.calibrate.balance import Balance, batches_of
from spikeloom.calibrate.compensate import Compensate
from spikeloom.calibrate.learning import LearnCompensation
from spikeloom.calibrate.observe import Observation, observe
from spikeloom.calibrate.reading import reading_errors
from spikeloom.calibrate.scale import METHODS

__all__ = ["METHODS", "Balance", "Compensate", "LearnCompensation", "Observation", "batches_of", "observe", "reading_errors"]
