"""Control flow over the passes: check, convert, evaluate, report, each phase an artifact (floor 5)."""

from spikeloom.ir import Progress
from spikeloom.pipeline.checking import CheckResult, check
from spikeloom.pipeline.conversion import Conversion, convert
from spikeloom.pipeline.conversion import evaluate_folder as evaluate
from spikeloom.pipeline.conversion import report_folder as report
from spikeloom.pipeline.library import convert_model, load_model, report_model
from spikeloom.pipeline.settings import Settings

__all__ = [
    "CheckResult",
    "Conversion",
    "Progress",
    "Settings",
    "check",
    "convert",
    "convert_model",
    "evaluate",
    "load_model",
    "report",
    "report_model",
]
