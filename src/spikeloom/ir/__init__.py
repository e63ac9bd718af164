"""The artifact and its rules: programs, passes, the dialects, verification, text form, save and load (floor 1)."""

from spikeloom.ir.graph import args_of, argument, calls, constant_name, dynamic, kind, kwargs_of, source_of, swept, target_of
from spikeloom.ir.layers import TRANSPOSED, groups_of, output_channels, set_weights, weighted, weights_of
from spikeloom.ir.ops import OPERATIONS, population, staircase
from spikeloom.ir.passes import Batches, Context, Pass, Progress, check_fit, run, silent
from spikeloom.ir.program import PlanRow, Program, Record, TensorSpec, clone
from spikeloom.ir.rules import RULES, Dialect, Kind, Rule, name_of, resolve
from spikeloom.ir.signals import MONOTONE, Becomes, Signal, becomes, bounds, function_of, note, signals, spikeless
from spikeloom.ir.store import load, save, write_bytes, write_json
from spikeloom.ir.text import text
from spikeloom.ir.verify import shaped, verify

__all__ = [
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
    "args_of",
    "argument",
    "becomes",
    "bounds",
    "calls",
    "check_fit",
    "clone",
    "constant_name",
    "dynamic",
    "function_of",
    "groups_of",
    "kind",
    "kwargs_of",
    "load",
    "name_of",
    "note",
    "output_channels",
    "population",
    "resolve",
    "run",
    "save",
    "set_weights",
    "shaped",
    "signals",
    "silent",
    "source_of",
    "spikeless",
    "staircase",
    "swept",
    "target_of",
    "text",
    "verify",
    "weighted",
    "weights_of",
    "write_bytes",
    "write_json",
]
