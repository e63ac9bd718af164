"""
The story of a logic-gated network: everything its report shows, and its card.
"""

import dataclasses
import math
from typing import Any

from torch import Tensor

from spikeloom.ir import Kind, Program, Quantised, calls, weighted, weights_of
from spikeloom.pipeline.logic_metrics import confusions_of
from spikeloom.pipeline.logic_samples import LogicData
from spikeloom.pipeline.logic_settings import LogicSettings
from spikeloom.pipeline.noise_levels import UnderNoise, key_of
from spikeloom.report import LogicStory, text
from spikeloom.report.logic_verdict import findings, sentence
from spikeloom.simulate import ASSUMPTIONS, Counts, LayerCount, energy

PICTURES, CELLS = 16, 128 * 128
"""Gates whose weights are shown, and the largest picture of one."""
NAMES = {"ANN fp32": "floating twin, fp32", "ANN int8": "floating twin, int8", "SNN (graded)": "logic-gated network"}

WIDER = "The floating twin is priced with the same layers; it reads values, not their bits, so its first layer is smaller than that."


def logic_story_of(
    settings: LogicSettings, program: Program, metrics: dict[str, Any], found: UnderNoise, counts: Counts, data: LogicData
) -> LogicStory:
    """The report's data of one learning."""
    measures = {"network": metrics["accuracy_at_noise"], "bayes": metrics["bayes_limit_at_noise"], **metrics["controls_at_noise"]}
    shown, arranged = pictures_of(program, data.train.shape, settings.bits_each)
    note = [f"Data: {data.note}."] if data.note else []
    wider = [WIDER] if settings.bits_each > 1 else []
    return LogicStory(
        title=f"Logic-gated network on {settings.dataset}",
        dataset=settings.dataset,
        kinds=list(settings.noise_kinds),
        metrics=metrics,
        curve=[
            {"noise": level, **{name: values[key_of(level)] for name, values in measures.items() if values}}
            for level in dict.fromkeys(settings.measured_at)
        ],
        confusion=confusions_of(found, settings.measured_at),
        pictures=shown,
        arranged=arranged,
        layers=[_layer(row) for row in counts.rows],
        energy=[
            {**dataclasses.asdict(row), "network": NAMES[row.network], "total_pj": row.total_pj}
            for row in energy(counts)
            if row.network in NAMES
        ],
        assumptions=[*ASSUMPTIONS, *wider, *note],
        settings=told(settings),
    )


def told(settings: LogicSettings) -> dict[str, Any]:
    """The choices that made the network what it is, as lists and plain values."""
    left = ("output_dir", "resume", "data_root", "device", "samples", "measured_at")
    known = {key: value for key, value in dataclasses.asdict(settings).items() if key not in left and value is not None}
    return {key: (list(value) or "none") if isinstance(value, tuple) else value for key, value in known.items()}


def _layer(row: LayerCount) -> dict[str, Any]:
    if row.kind == str(Kind.NEURON):
        return {"node": row.node, "what": "threshold gates", "gates": row.neurons, "rate": row.rate}
    products = row.macs + (sum(row.operations.values()) if row.weight_bits > 2 and row.payload_bits > 1 else 0)
    additions = row.operations.get("graded", 0.0)
    return {"node": row.node, "what": "ternary synapses", "weights": row.weights, "additions": additions, "multiplications": products}


def pictures_of(program: Program, shape: tuple[int, ...], bits: int) -> tuple[list[dict[str, Any]], str]:
    """Weights of the first layer's first gates as rows of numbers, and in words how they are arranged; none where there are too many."""
    first = next((node for node in calls(program.graph) if weighted(node)), None)
    held = weights_of(first, program.tensors)[0] if first is not None else None
    if not isinstance(held, Quantised):
        return [], ""
    planes, arranged = planes_of(held.codes()[:PICTURES].long(), shape, bits)
    if planes[0].numel() > CELLS:
        return [], ""
    most = max(1, int(planes.abs().max()))
    return [{"name": f"gate {number}", "rows": plane.tolist(), "most": most} for number, plane in enumerate(planes)], arranged


def planes_of(codes: Tensor, shape: tuple[int, ...], bits: int) -> tuple[Tensor, str]:
    """Weights [gates, ...] as [gates, height, width], added over colours and bits."""
    if codes.dim() == 4:
        return codes.sum(1), "Kernels, added over what comes in."
    if len(shape) == 3:
        summed = codes.view(len(codes), shape[0], shape[1], shape[2], bits).sum((1, 4))
        return summed, "In the inputs' places" + (", added over colours and thresholds." if shape[0] * bits > 1 else ".")
    each = codes.view(len(codes), -1, bits).sum(2)
    wide = math.ceil(math.sqrt(each.shape[1]))
    padded = each.new_zeros(len(codes), math.ceil(each.shape[1] / wide) * wide)
    padded[:, : each.shape[1]] = each
    return padded.view(len(codes), -1, wide), f"The {each.shape[1]} inputs in their order, in rows of {wide}."


def logic_card(story: LogicStory) -> str:
    """A README.md with the hub's metadata block."""
    head = "---\nlibrary_name: spikeloom\ntags:\n- spiking-neural-network\n- logic-gated\n---\n"
    use = '```python\nfrom spikeloom import SpikingModel\n\nsnn = SpikingModel.from_pretrained("this folder")\n```'
    facts = "\n".join(f"- {finding.text}" for finding in findings(story))
    settings = "\n".join(f"- {key}: {value}" for key, value in story.settings.items())
    return f"{head}\n" + "\n\n".join(
        (f"# {story.title}", text(sentence(story)), facts, "See `report.html` for everything measured.", use, settings, "")
    )
