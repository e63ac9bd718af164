"""
The numbers of one learning, in the stable form of metrics.json and `--json`.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from spikeloom.ir import Kind, Program, Quantised
from spikeloom.pipeline.logic_networks import Taught
from spikeloom.pipeline.logic_settings import LogicSettings
from spikeloom.pipeline.noise_levels import UnderNoise, key_of
from spikeloom.simulate import Counts, energy
from spikeloom.train import TrainResult

BAYES = "bayes"
CONTROLS = ("twin_noise", "twin_clean")
TERNARY_BITS = 2


def multiplications(counts: Counts) -> float:
    """Of one inference: all of its multiply-accumulates, and synaptic operations whose event is no single spike while their weight is not
    ternary. Of a logic-gated network it is 0."""
    products = (sum(row.operations.values()) for row in counts.rows if row.weight_bits > TERNARY_BITS and row.payload_bits > 1)
    return sum(row.macs for row in counts.rows) + sum(products)


def weights_of(program: Program) -> dict[str, Any]:
    """How many weights there are, which share of them is 0, and in how many bytes they are kept."""
    held = [tensor for tensor in program.tensors.values() if isinstance(tensor, Quantised)]
    count, silent = sum(tensor.numel() for tensor in held), sum(int((tensor.codes() == 0).sum()) for tensor in held)
    return {"weights": count, "zero_weights": silent / count, "weight_bytes": sum(tensor.kept.numel() for tensor in held)}


def gates_of(counts: Counts) -> dict[str, Any]:
    """Gates behind the inputs, and comparisons that make bits of inputs: the first population."""
    sizes = [row.neurons for row in counts.rows if row.kind == str(Kind.NEURON)]
    return {"gates": sum(sizes[1:]), "input_bits": sum(sizes[:1])}


def metrics_of(
    settings: LogicSettings,
    program: Program,
    taught: Taught,
    found: UnderNoise,
    counts: Counts,
    *,
    samples: int,
    seconds: float,
) -> dict[str, Any]:
    """accuracy_at_noise, bayes_limit_at_noise, controls_at_noise, multiplications, additions, gates, weights, energy_pj, training, seconds
    and what was asked for; JSON only."""
    networks = {name for name, _, _ in found.tables}
    of = {row.network: row.total_pj for row in energy(counts)}
    several = len(settings.noise_kinds) > 1
    return {
        "accuracy_at_noise": found.accuracy("network"),
        "bayes_limit_at_noise": found.accuracy(BAYES) if BAYES in networks else None,
        "controls_at_noise": {name: found.accuracy(name) for name in CONTROLS if name in networks},
        "accuracy_by_kind": found.by_kind("network") if several else None,
        "multiplications": whole(multiplications(counts)),
        "additions": counts.operations("graded"),
        **gates_of(counts),
        **weights_of(program),
        "float_weight_bytes": sum(4 * p.numel() for p in taught.model("network").parameters() if p.ndim > 1),
        "spikes_per_inference": counts.spikes("graded"),
        "energy_pj": {"ann_fp32": of["ANN fp32"], "ann_int8": of["ANN int8"], "snn": of["SNN (graded)"]},
        "samples": samples,
        "dataset": settings.dataset,
        "cut_to_bits_at": program.settings["bits_at"] if program.settings["cut"] else None,
        "measured_on": program.settings["dataset"],
        "network": {"kind": settings.network, "hidden": list(settings.hidden or ()), **coded(settings)}
        | ({"channels": list(settings.channels), "residual": settings.residual} if settings.network == "convolutional" else {}),
        "noise": {"trained": settings.noise, "kinds": list(settings.noise_kinds), "range": list(settings.noise_range)},
        "distil": settings.distil,
        "seed": settings.seed,
        "training": {name: _training(result) for name, result in taught.results.items()},
        "seconds": seconds,
    }


def coded(settings: LogicSettings) -> dict[str, Any]:
    """How values become bits."""
    code = {"thermometer": list(settings.thermometer or ())} if settings.rate_code is None else {"rate_code": settings.rate_code}
    return code | ({"learnt_bits": True} if settings.learnt_bits else {})


def whole(value: float) -> int | float:
    """A count as a whole number where it is one."""
    return int(value) if math.isfinite(value) and value == int(value) else value


def _training(result: TrainResult) -> Mapping[str, Any]:
    return {
        "epochs": len(result.losses),
        "steps": result.steps,
        "losses": list(result.losses),
        "accuracies": list(result.accuracies),
        "seconds": result.seconds,
    }


def confusions_of(found: UnderNoise, levels: tuple[float, ...]) -> dict[str, list[list[int]]]:
    """The network's confusion matrices without noise and at 40 %, or at the levels nearest to these."""
    wanted = dict.fromkeys(min(levels, key=lambda level: abs(level - near)) for near in (0.0, 0.4))
    return {key_of(level): found.of("network", level).tolist() for level in wanted}


def differing(frozen: torch.Tensor, network: nn.Module, x: torch.Tensor) -> int:
    """How many answers of the frozen program are not the network's."""
    with torch.inference_mode():
        return int((network.eval()(x).argmax(1) != frozen).sum())
