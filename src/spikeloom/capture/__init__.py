"""Model ingestion: `resolve` makes a module of an address, `capture` a program of a module, `load` both (floor 4)."""

from spikeloom.capture.export import capture, export_model, folded, program_of, set_eval
from spikeloom.capture.huggingface import reads_texts
from spikeloom.capture.source import OPENERS, Source, load, resolve
from spikeloom.capture.weights import check_finite, load_weights, read_state_dict

__all__ = [
    "OPENERS",
    "Source",
    "capture",
    "check_finite",
    "export_model",
    "folded",
    "load",
    "load_weights",
    "program_of",
    "read_state_dict",
    "reads_texts",
    "resolve",
    "set_eval",
]
