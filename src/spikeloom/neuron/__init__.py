"""
Neurons: the law (DESIGN.md §4) as pure functions on tensors, resets, surrogate gradients, spike encodings, function staircases.

    law         any staircase, literally: `Law`, `step`, and a constructor for each known neuron
    uniform     the identity staircase in equal steps, fast: `fire`, `run_uniform`
    table       a function staircase: `run_table`
    grid        the same, fast: `index_table`, `look_up`; `on_grid` moves thresholds to where it is fastest
    difference  any function over time on running means: `difference_over_time`
    surrogate   `spike` and its gradients
    encode      inputs over time, and the events that carry levels
    shift       `fit_shift_staircase`: heights that are powers of two
    curve       `fit_curves`: levels along a curve of a few numbers; `curve_of` finds these numbers in a table
    two_range   `fit_two_range`: fine steps inside, coarse ones outside
    builder     `fit_staircase`, `fit_staircases`: the best for a scalar function (`functions`) and one or many input distributions
"""

from spikeloom.neuron.builder import Histogram, Method, Staircase, fit_staircase, fit_staircases, staircase_error
from spikeloom.neuron.channel import Axis, Parameter, along, by_channel, from_channels, tracked
from spikeloom.neuron.curve import Curve, curve_of, fit_curves
from spikeloom.neuron.difference import (
    Running,
    advance_difference,
    continue_difference,
    difference_over_time,
    init_difference,
    running_mean,
    step_by_step,
)
from spikeloom.neuron.encode import (
    ENCODINGS,
    Encoding,
    encode_direct,
    encode_latency,
    encode_rate,
    encode_rate_regular,
    events,
    graded_bits,
)
from spikeloom.neuron.functions import FUNCTIONS, KNOWN, scalar_function
from spikeloom.neuron.grid import Lookup, Ranks, index_table, level_table, look_up, on_grid, rank_table
from spikeloom.neuron.law import (
    RESETS,
    Law,
    Reset,
    dual_threshold,
    function_staircase,
    gated_step,
    if_,
    lif,
    multi_threshold,
    sfn,
    step,
    uniform_staircase,
)
from spikeloom.neuron.optimum import least_staircase_error
from spikeloom.neuron.shift import are_shifts, fit_shift_staircase
from spikeloom.neuron.surrogate import SURROGATES, spike
from spikeloom.neuron.table import advance_table, continue_table, init_table, read_table, run_table
from spikeloom.neuron.two_range import fit_two_range
from spikeloom.neuron.uniform import Gated, Membrane, advance_uniform, continue_uniform, fire, fire_, init_uniform, passes, run_uniform

__all__ = [
    "ENCODINGS",
    "FUNCTIONS",
    "KNOWN",
    "RESETS",
    "SURROGATES",
    "Axis",
    "Curve",
    "Encoding",
    "Gated",
    "Histogram",
    "Law",
    "Lookup",
    "Membrane",
    "Method",
    "Parameter",
    "Ranks",
    "Reset",
    "Running",
    "Staircase",
    "advance_difference",
    "advance_table",
    "advance_uniform",
    "along",
    "are_shifts",
    "by_channel",
    "continue_difference",
    "continue_table",
    "continue_uniform",
    "curve_of",
    "difference_over_time",
    "dual_threshold",
    "encode_direct",
    "encode_latency",
    "encode_rate",
    "encode_rate_regular",
    "events",
    "fire",
    "fire_",
    "fit_curves",
    "fit_shift_staircase",
    "fit_staircase",
    "fit_staircases",
    "fit_two_range",
    "from_channels",
    "function_staircase",
    "gated_step",
    "graded_bits",
    "if_",
    "index_table",
    "init_difference",
    "init_table",
    "init_uniform",
    "least_staircase_error",
    "level_table",
    "lif",
    "look_up",
    "multi_threshold",
    "on_grid",
    "passes",
    "rank_table",
    "read_table",
    "run_table",
    "run_uniform",
    "running_mean",
    "scalar_function",
    "sfn",
    "spike",
    "staircase_error",
    "step",
    "step_by_step",
    "tracked",
    "uniform_staircase",
]
