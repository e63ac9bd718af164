"""Control flow over the passes: check, convert, evaluate, report, write, each phase an artifact (floor 5)."""

from spikeloom.ir import Progress
from spikeloom.pipeline.checking import CheckResult, check
from spikeloom.pipeline.compilation import Compilation, compile_folder, compile_model
from spikeloom.pipeline.conversion import Conversion, convert
from spikeloom.pipeline.judging import evaluate_folder as evaluate
from spikeloom.pipeline.library import convert_model, load_model, report_model
from spikeloom.pipeline.logic_learning import Learning, learn
from spikeloom.pipeline.logic_settings import LogicSettings
from spikeloom.pipeline.publishing import report_folder as report
from spikeloom.pipeline.refining import calibrate_folder as calibrate
from spikeloom.pipeline.refining import compress_folder as compress
from spikeloom.pipeline.refining import finetune_folder as finetune
from spikeloom.pipeline.refining import tune_folder as tune
from spikeloom.pipeline.replaying import replay
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.simulation import Simulation, simulate_events
from spikeloom.pipeline.streaming import learn_stream
from spikeloom.pipeline.streams import Course, Drift
from spikeloom.pipeline.writing import Writing, write_texts

__all__ = [
    "CheckResult",
    "Compilation",
    "Conversion",
    "Course",
    "Drift",
    "Learning",
    "LogicSettings",
    "Progress",
    "Settings",
    "Simulation",
    "Writing",
    "calibrate",
    "check",
    "compile_folder",
    "compile_model",
    "compress",
    "convert",
    "convert_model",
    "evaluate",
    "finetune",
    "learn",
    "learn_stream",
    "load_model",
    "replay",
    "report",
    "report_model",
    "simulate_events",
    "tune",
    "write_texts",
]
