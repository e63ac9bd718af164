"""
Metrics: the numbers of one evaluation in the stable form of metrics.json and `--json`.
"""

from typing import Any

from spikeloom.pipeline.evaluation import Evaluation
from spikeloom.simulate import Counts, SpikingModel, energy


def metrics_of(
    found: Evaluation, counts: Counts, snn: SpikingModel, seconds: float | None, encoding: str, margin: float | None
) -> dict[str, Any]:
    """accuracy, agreement, timesteps, levels, samples, spikes_per_inference, synaptic_operations, energy_pj, seconds; JSON only."""
    of = {row.network: row.total_pj for row in energy(counts)}
    metrics: dict[str, Any] = {
        "accuracy": {name: found.accuracy(name) for name in ("ann", "snn", "control")},
        "agreement": found.agreement,
        "mcnemar": found.mcnemar(),
        "timesteps": found.timesteps,
        "levels": snn.program.settings.get("levels"),
        "samples": found.samples,
        "spikes_per_inference": counts.spikes(encoding),
        "synaptic_operations": counts.operations(encoding),
        "encoding": encoding,
        "spike_driven_share": counts.spike_share(),
        "energy_pj": {"ann_fp32": of["ANN fp32"], "ann_int8": of["ANN int8"], "snn": of[f"SNN ({encoding})"]},
        "seconds": {"ann": found.seconds["ann"], "snn": found.seconds["snn"], "conversion": seconds},
        "reasons": dict(found.reasons),
    }
    if margin is not None:
        metrics["early_exit"] = {"margin": margin, "mean_timesteps": found.mean_timesteps}
    return metrics
