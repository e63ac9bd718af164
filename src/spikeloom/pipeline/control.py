"""
The control: plain post-training quantisation of the same ANN with the same number of levels and the same granularity.

Every activation (and every current that is read as spikes) is rounded to N·T uniform levels, its scale the best of
maximum, percentile and mean-squared error on the calibration data, with the same weights and no compensation (DESIGN.md §5). Where the
network's weights lie on a grid, the control's lie on one of as many bits for every layer, each weight at the nearest value.
"""

from collections.abc import Sequence

import torch

from spikeloom.calibrate import Balance, batches_of, observe
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Pass, Program, run
from spikeloom.plan import Fuse
from spikeloom.simulate import executable, primary

SCALES = ("maximum", "percentile", "mse")


def control_of(
    ann: Program,
    context: Context,
    *,
    levels: int,
    timesteps: int,
    per_channel: bool,
    percentile: float,
    samples: int,
    weights: Sequence[Pass] = (),
) -> Program:
    """The control as a T=1 program, `weights` being what rounds its weights; of the three scales the one whose outputs are nearest the
    ANN's on the calibration data."""
    made = run(
        [Fuse(), *weights, Unfold("attention"), Spike(levels=levels * timesteps, per_channel=per_channel, functions="quantised")],
        ann,
        context,
    )
    choices = [Balance(method=method, percentile=percentile) for method in SCALES]
    choices[0].check()
    seen = observe(made, batches_of(context), lambda: None)
    candidates = [choice.of(made, seen) for choice in choices]
    errors = output_errors(candidates, ann, context, samples)
    return candidates[errors.index(min(errors))]


def output_errors(programs: Sequence[Program], ann: Program, context: Context, samples: int) -> list[float]:
    """Of each program Σ‖outputs − ANN's outputs‖² over the first calibration samples."""
    modules, exact, totals, seen = [executable(program, 1) for program in programs], ann.module(), [0.0] * len(programs), 0
    with torch.no_grad():
        for inputs in batches_of(context)():
            meant = primary(exact(*inputs))
            for place, module in enumerate(modules):
                totals[place] += float((primary(module(*inputs)) - meant).square().sum())
            seen += inputs[0].shape[0]
            if seen >= samples:
                break
    return totals
