"""
Metrics: the numbers of one evaluation in the stable form of metrics.json and `--json`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from spikeloom.ir import Program
from spikeloom.pipeline.evaluation import Evaluation
from spikeloom.simulate import Audit, Counts, SpikingModel, audit, energy

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
    audited: Mapping[str, Any],
) -> dict[str, Any]:
    """The task's own measures (accuracy and agreement first of all), timesteps, levels, samples, spikes_per_inference,
    synaptic_operations, what the audit found (`audited_on`), energy_pj, seconds; JSON only."""
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
        **audited,
        "energy_pj": {"ann_fp32": of["ANN fp32"], "ann_int8": of["ANN int8"], "snn": of[f"SNN ({encoding})"]},
        "seconds": {"ann": found.seconds["ann"], "snn": found.seconds["snn"], "conversion": seconds},
        "reasons": dict(found.reasons),
    }
    if margin is not None:
        metrics["early_exit"] = {"margin": margin, "mean_timesteps": found.mean_timesteps}
    return metrics


def audited_on(program: Program, inputs: tuple[Tensor, ...], timesteps: int) -> dict[str, Any]:
    """What the audit finds on the first samples of these inputs, edge by edge at T=1: `floating_operations`, the share of the nonlinear
    operations that is computed by spikes, and at T > 1 the operations that act on running means."""
    found = audit(program, *(value[:AUDITED] for value in inputs))
    means = list(found.running_means) if timesteps > 1 else list[str]()
    return {"floating_operations": floating_in(found), "nonlinear_share": found.nonlinear_share, "running_means": means}


def floating_in(found: Audit) -> list[str]:
    """The operations that do not run on spikes, named, in execution order, and why: those declared to stay floating, and those of which
    the audit finds an operand with more values than a population sends."""
    rows = [row for row in found.rows if not row.spiking and not row.analog]
    named = {row.node for row in rows}
    declared = [line for line in found.floating if line.partition(":")[0] not in named]
    return [*declared, *(f"{row.node}: {row.operation}: {row.operand} is no spikes, it takes {row.values} values" for row in rows)]
