"""Hardware-native compilation (floor 4): netlists of whole numbers from spiking programs, and files for each target from netlists."""

from spikeloom.backend.target import Form, Golden, Refusal, Target, TargetOptions, Verdict
from spikeloom.backend.targets import TARGETS

__all__ = ["TARGETS", "Form", "Golden", "Refusal", "Target", "TargetOptions", "Verdict"]
