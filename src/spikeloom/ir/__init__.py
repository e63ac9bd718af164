"""The artifact and its rules: programs, passes, the dialects, verification, text form, save and load (floor 1)."""

from spikeloom.ir.graph import argument, calls, constant, dynamic, find, insert_call, kind, replace, swept
from spikeloom.ir.layers import CONVOLUTIONS, TRANSPOSED, output_channels, set_weights, weighted
from spikeloom.ir.ops import OPERATIONS, population, staircase
from spikeloom.ir.passes import Batches, Context, Pass, Progress, check_fit, run, silent
from spikeloom.ir.program import PlanRow, Program, Record, TensorSpec, clone
from spikeloom.ir.rules import RULES, Dialect, Kind, Rule, name_of, resolve
from spikeloom.ir.signals import MONOTONE, Becomes, Signal, becomes, bounds, function_of, note, signals, spikeless
from spikeloom.ir.store import load, save, write_bytes, write_json
from spikeloom.ir.text import text
from spikeloom.ir.verify import shaped, verify

__all__ = [
    "CONVOLUTIONS",
    "MONOTONE",
    "OPERATIONS",
    "RULES",
    "TRANSPOSED",
    "Batches",
    "Becomes",
    "Context",
    "Dialect",
    "Kind",
    "Pass",
    "PlanRow",
    "Program",
    "Progress",
    "Record",
    "Rule",
    "Signal",
    "TensorSpec",
    "argument",
    "becomes",
    "bounds",
    "calls",
    "check_fit",
    "clone",
    "constant",
    "dynamic",
    "find",
    "function_of",
    "insert_call",
    "kind",
    "load",
    "name_of",
    "note",
    "output_channels",
    "population",
    "replace",
    "resolve",
    "run",
    "save",
    "set_weights",
    "shaped",
    "signals",
    "silent",
    "spikeless",
    "staircase",
    "swept",
    "text",
    "verify",
    "weighted",
    "write_bytes",
    "write_json",
]
