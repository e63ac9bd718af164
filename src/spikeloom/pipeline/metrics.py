"""
Metrics: the numbers of one evaluation in the stable form of metrics.json and `--json`.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from spikeloom.ir import Program
from spikeloom.pipeline.evaluation import Evaluation
from spikeloom.simulate import Counts, SpikingModel, audit, energy

AUDITED = 2
"""Samples on which every edge is asked whether it carries spikes."""


def metrics_of(
    found: Evaluation,
    counts: Counts,
    snn: SpikingModel,
    *,
    seconds: float | None,
    encoding: str,
    margin: float | None,
    floating: Sequence[str],
) -> dict[str, Any]:
    """The task's own measures (accuracy and agreement first of all), timesteps, levels, samples, spikes_per_inference,
    synaptic_operations, floating_operations, energy_pj, seconds; JSON only."""
    of = {row.network: row.total_pj for row in energy(counts)}
    metrics: dict[str, Any] = {
        **found.measures,
        "timesteps": found.timesteps,
        "levels": snn.program.settings.get("levels"),
        "samples": found.samples,
        "spikes_per_inference": counts.spikes(encoding),
        "synaptic_operations": counts.operations(encoding),
        "encoding": encoding,
        "spike_driven_share": counts.spike_share(),
        "floating_operations": list(floating),
        "energy_pj": {"ann_fp32": of["ANN fp32"], "ann_int8": of["ANN int8"], "snn": of[f"SNN ({encoding})"]},
        "seconds": {"ann": found.seconds["ann"], "snn": found.seconds["snn"], "conversion": seconds},
        "reasons": dict(found.reasons),
    }
    if margin is not None:
        metrics["early_exit"] = {"margin": margin, "mean_timesteps": found.mean_timesteps}
    return metrics


def floating_on(program: Program, inputs: tuple[Tensor, ...]) -> list[str]:
    """The operations that do not run on spikes, named, in execution order, and why: those declared to stay floating, and those of which
    the audit, on the first samples of these inputs, finds an operand with more values than a population sends."""
    found = audit(program, *(value[:AUDITED] for value in inputs))
    rows = [row for row in found.rows if not row.spiking and not row.analog]
    named = {row.node for row in rows}
    declared = [line for line in found.floating if line.partition(":")[0] not in named]
    return [*declared, *(f"{row.node}: {row.operation}: {row.operand} is no spikes, it takes {row.values} values" for row in rows)]
