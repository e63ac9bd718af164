"""Stories to render: ResNet-20 on CIFAR-10 with numbers as a real run gives them, made from a seed."""

import math
import random
from typing import Any

from spikeloom.report import Story

LAYERS = ["relu", *(f"layer{stage}_{block}_relu{number}" for stage in (1, 2, 3) for block in (0, 1, 2) for number in (1, 2))]
WORST = "layer3_2_relu1"
HOSTILE = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>"


def plan() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "node": "conv1",
            "operation": "conv2d",
            "becomes": "convolution",
            "status": "exact",
            "parameters": 448,
            "macs": 442_368,
            "reason": "reads analog pixels",
        }
    ]
    for layer in LAYERS[1:]:
        conv = layer.replace("relu", "conv")
        rows.append(
            {
                "node": conv,
                "operation": "conv2d",
                "becomes": "convolution of spikes",
                "status": "exact",
                "parameters": 9232,
                "macs": 2_359_296,
                "spiking": True,
            }
        )
        rows.append(
            {
                "node": conv.replace("conv", "bn"),
                "operation": "batch_norm",
                "becomes": "folded into its convolution",
                "status": "exact",
                "parameters": 32,
            }
        )
        rows.append(
            {"node": layer, "operation": "relu", "becomes": "SFN, 15 levels", "status": "approximate", "reason": "a staircase of 15 levels"}
        )
    rows += [
        {"node": "avg_pool", "operation": "adaptive_avg_pool2d", "becomes": "average of spikes", "status": "exact"},
        {
            "node": "fc",
            "operation": "linear",
            "becomes": "linear of spikes",
            "status": "exact",
            "parameters": 650,
            "macs": 640,
            "spiking": True,
        },
        {
            "node": "softmax",
            "operation": "softmax",
            "becomes": "softmax",
            "status": "floating",
            "reason": "after the last layer; once per inference",
            "todo": "leave it out: the class is the same",
        },
    ]
    return rows


def fidelity(seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for index, node in enumerate(LAYERS):
        sqnr = 26.0 - 0.55 * index + draw.gauss(0, 1.0) - (4.4 if node == WORST else 0)
        rows.append(
            {
                "node": node,
                "source": node.replace("_", "."),
                "function": "relu",
                "sqnr_db": sqnr,
                "cosine": 1 - 10 ** (-sqnr / 10) / 2,
                "firing_rate": min(0.9, max(0.06, draw.gauss(0.42, 0.12) - 0.012 * index)),
                "saturation": abs(draw.gauss(0.004, 0.002)) + (0.011 if node == WORST else 0),
                "silent": abs(draw.gauss(0.01, 0.02)),
                "events": int(4096 * draw.uniform(0.8, 3.5)),
            }
        )
    return rows


def thresholds(seed: int = 1, bins: int = 64, levels: int = 15) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for node in LAYERS:
        scale = draw.uniform(0.4, 2.5)
        step = 3.1 * scale / levels
        counts = [0] * bins
        low, high = -2.5 * scale, 4.6 * scale
        for _ in range(1500):
            place = int((draw.gauss(0.1, 0.95) * scale - low) / (high - low) * bins)
            counts[min(bins - 1, max(0, place))] += 512
        edges = [low + (high - low) * index / bins for index in range(bins + 1)]
        rows.append({"node": node, "threshold": step, "step": step, "levels": levels, "edges": edges, "counts": counts})
    return rows


def raster(timesteps: int, neurons: int, levels: int, node: str, rate: float, seed: int = 2) -> dict[str, Any]:
    draw = random.Random(seed)
    rates = [min(1.0, draw.expovariate(1 / rate)) if draw.random() > 0.1 else 0.0 for _ in range(neurons)]
    events = [
        [step, neuron, draw.randint(1, levels)] for step in range(timesteps) for neuron in range(neurons) if draw.random() < rates[neuron]
    ]
    return {"node": node, "timesteps": timesteps, "neurons": neurons, "events": events}


def curve() -> list[dict[str, Any]]:
    accuracy = [0.900, 0.901, 0.903, 0.904, 0.904]
    agreement = [0.950, 0.962, 0.971, 0.983, 0.990]
    return [
        {"timesteps": steps, "accuracy": a, "agreement": g, "control": 0.891, "ann": 0.904}
        for steps, a, g in zip((1, 2, 4, 8, 16), accuracy, agreement, strict=True)
    ]


def records() -> list[dict[str, Any]]:
    horowitz = "Horowitz, Computing's energy problem, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323"
    sfn = "One timestep is enough: scale-and-fire neurons, arXiv:2510.23383"
    return [
        {
            "name": "capture",
            "options": {"source": "zoo:cifar-resnet20", "example": [2, 3, 32, 32]},
            "numbers": {"operations": 78, "max_error": 1.2e-7},
            "papers": [],
            "seconds": 1.31,
        },
        {"name": "fold", "options": {}, "numbers": {"folded": 19}, "papers": ["Jacob et al., arXiv:1712.05877"], "seconds": 0.04},
        {
            "name": "spike",
            "options": {"method": "scale_and_fire", "timesteps": 1, "levels": 15, "granularity": "layer"},
            "numbers": {"populations": 19},
            "papers": [sfn],
            "seconds": 0.02,
        },
        {
            "name": "balance",
            "options": {"rule": "mse", "samples": 512, "seed": 0},
            "numbers": {"thresholds": [round(0.11 + 0.013 * i, 3) for i in range(19)], "mean_clipped": 0.0041},
            "papers": [sfn],
            "seconds": 6.92,
        },
        {
            "name": "compensate",
            "options": {"samples": 512, "per": "channel"},
            "numbers": {"mean_shift": 0.0213, "worst": WORST, "sqnr_gain_db": 2.31},
            "papers": ["Error compensation learning, ICML 2025"],
            "seconds": 8.27,
        },
        {
            "name": "evaluate",
            "options": {"timesteps": 1},
            "numbers": {"synaptic_operations": 12_311_204},
            "papers": [horowitz],
            "seconds": 11.4,
        },
    ]


def story(timesteps: int = 1, **changes: Any) -> Story:
    """A whole story; `changes` replace parts of it."""
    parts: dict[str, Any] = {
        "title": "ResNet-20, converted with scale-and-fire neurons",
        "source": "zoo:cifar-resnet20 --weights cifar10_resnet20.safetensors",
        "dataset": "hf:cifar10_test_lossless",
        "settings": {
            "method": "scale_and_fire",
            "timesteps": timesteps,
            "levels": 15,
            "calibration_samples": 512,
            "seed": 0,
            "threads": 1,
            "spikeloom": "0.1.0",
            "torch": "2.13.0",
        },
        "metrics": {
            "accuracy": {"ann": 0.904, "snn": 0.900, "control": 0.891},
            "agreement": 0.950,
            "timesteps": timesteps,
            "levels": 15,
            "samples": 1000,
            "spikes_per_inference": 71_530,
            "synaptic_operations": 12_311_204,
            "energy_pj": {"ann_fp32": 1.89e8, "ann_int8": 1.31e7, "snn": 9.87e6},
            "seconds": {"ann": 1.41, "snn": 1.93, "conversion": 15.3},
        },
        "mcnemar": {"snn_only_right": 21, "control_only_right": 12, "p": 0.031},
        "plan": plan(),
        "spike_share": 0.9892,
        "curve": curve(),
        "history": [],
        "front": [],
        "before": [],
        "fidelity": fidelity(),
        "worst": WORST,
        "thresholds": thresholds(),
        "raster": [raster(timesteps, 64, 15, "layer1_0_relu1", 0.5), raster(timesteps, 128, 15, "layer3_2_relu1", 0.25, 3)],
        "energy": [
            {
                "network": "ANN fp32",
                "compute_pj": 1.88e8,
                "memory_pj": 1.0e6,
                "total_pj": 1.89e8,
                "operations": "40.6 M multiply-accumulates at 4.6 pJ",
            },
            {
                "network": "ANN int8",
                "compute_pj": 1.22e7,
                "memory_pj": 0.9e6,
                "total_pj": 1.31e7,
                "operations": "40.6 M multiply-accumulates at 0.3 pJ",
            },
            {
                "network": "SNN",
                "compute_pj": 8.4e6,
                "memory_pj": 1.47e6,
                "total_pj": 9.87e6,
                "operations": "12.3 M graded events by fan-out at 0.2·b₁b₂/64 + 0.1 pJ; 0.44 M MACs on pixels",
            },
        ],
        "assumptions": [
            "45 nm: fp32 multiply-accumulate 4.6 pJ, int8 multiply 0.2 pJ, int32 add 0.1 pJ (Horowitz, doi:10.1109/ISSCC.2014.6757323).",
            "Encoding: graded, one event carries 4 bits; each costs an integer multiply-accumulate at its width.",
            "Weights are priced at 8 bits for both networks; they are float in this run.",
            "One reuse model for ANN and SNN: every weight is read once per inference from 32 KB SRAM (20 pJ per 64 bits).",
        ],
        "records": records(),
        "recommendation": [
            "Use 31 levels (`--levels 31`) to close the last 0.4 points: the ANN's answer is then kept on 97.4 % of the images.",
            "layer3.2.relu1 saturates most; a per-channel scale there helps first.",
        ],
    }
    return Story(**{**parts, **changes})


def large(operations: int = 200) -> Story:
    """A deep network: a plan of that many operations, a population every other one, half of it beyond what can be drawn."""
    names = [f"encoder_layer_{index:03d}_intermediate_dense_activation_function" for index in range(operations)]
    states = ("exact", "approximate", "floating", "unsupported")
    rows = [
        {
            "node": n,
            "operation": "aten.conv2d.default",
            "becomes": "convolution of spikes",
            "status": states[i % 4],
            "macs": 10**6 * i,
            "parameters": 10**4,
            "reason": "why it is so",
            "todo": "what to do",
        }
        for i, n in enumerate(names)
    ]
    base = thresholds()
    return story(
        plan=rows,
        fidelity=[{**fidelity(i)[0], "node": n} for i, n in enumerate(names[::2])],
        worst=names[10],
        thresholds=[{**base[i % 19], "node": n} for i, n in enumerate(names[::2])],
        raster=[raster(32, 256, 15, n, 0.4, i) for i, n in enumerate(names[:4])],
    )


def broken_numbers() -> Story:
    """Every number that can be NaN or infinite is."""
    bad = (math.nan, math.inf, -math.inf)
    rows = [
        {**row, **dict.fromkeys(("sqnr_db", "cosine", "firing_rate", "saturation", "silent", "events"), bad[i % 3])}
        for i, row in enumerate(fidelity())
    ]
    return story(
        metrics={
            "accuracy": dict.fromkeys(("ann", "snn", "control"), math.nan),
            "agreement": math.inf,
            "timesteps": math.nan,
            "levels": math.inf,
            "samples": math.nan,
            "spikes_per_inference": math.nan,
            "synaptic_operations": math.inf,
            "energy_pj": dict.fromkeys(("ann_fp32", "ann_int8", "snn"), math.nan),
            "seconds": dict.fromkeys(("ann", "snn", "conversion"), math.inf),
        },
        mcnemar={"snn_only_right": math.nan, "control_only_right": math.inf, "p": math.nan},
        spike_share=math.nan,
        fidelity=rows,
        curve=[
            {"timesteps": t, "accuracy": math.nan, "agreement": 0.5, "control": math.inf, "ann": None} for t in (1, 2, math.nan, math.inf)
        ],
        sweep=[
            {"levels": n, "timesteps": t, "accuracy": math.nan, "agreement": 0.5, "control": math.inf, "ann": None}
            for n in (7, 15)
            for t in (1, 2)
        ],
        thresholds=[
            {"node": "a", "threshold": math.nan, "step": math.inf, "levels": math.nan, "edges": [0.0, math.nan, 1.0], "counts": [1, 2]},
            {"node": "b", "threshold": math.inf, "step": math.nan, "levels": 3, "edges": [0.0, 0.5, 1.0], "counts": [math.nan, 2]},
        ],
        noise=[{"noise": at, "ann": math.nan, "snn": math.inf, "control": None} for at in (0.0, 0.4, math.nan)],
        raster=[{"node": "a", "timesteps": 4, "neurons": 3, "events": [[math.nan, 0, 1], [0, math.inf, 1], [1, 1, math.nan]]}],
        energy=[
            {"network": "SNN", "compute_pj": math.nan, "memory_pj": math.inf, "total_pj": math.nan},
            {"network": "ANN int8", "total_pj": math.inf},
        ],
        plan=[{"node": "a", "operation": "relu", "becomes": "x", "status": "exact", "macs": math.nan, "parameters": math.inf}],
        records=[{"name": "r", "options": {"x": math.nan}, "numbers": {"y": math.inf}, "seconds": math.nan}],
    )


def refined(**changes: Any) -> Story:
    """A network that was searched and fine-tuned: its history, a front, and every layer as it was before."""
    was = [{"node": row["node"], "sqnr_db": row["sqnr_db"] - 3.0, "firing_rate": row["firing_rate"] + 0.05} for row in fidelity()]
    history: list[dict[str, Any]] = [{"run": "Search, step 7", "step": 0, "best": 1.0, "relative": True}]
    history += [
        {"run": "Search, step 7", "step": n, "best": 0.95**n, "mean": 1.6 - 0.05 * n + 0.1 * (n % 2), "relative": True}
        for n in range(1, 11)
    ]
    history += [{"run": "Fine-tuning, step 8", "step": 0, "best": 0.31, "accuracy": 0.89}]
    history += [{"run": "Fine-tuning, step 8", "step": n, "best": 0.31 - 0.02 * n, "mean": 0.4 - 0.05 * n} for n in (1, 2, 3)]
    front: list[dict[str, Any]] = [
        {
            "of": "levels and steps",
            "levels": n,
            "timesteps": t,
            "energy_pj": 1e6 * t * (2 + n / 16),
            "accuracy": 0.905 - 0.2 / n + 0.001 * t,
        }
        for n in (7, 15, 31, 63)
        for t in (1, 2, 4)
    ]
    front = [{**row, "agreement": row["accuracy"], "picked": (row["levels"], row["timesteps"]) == (31, 1)} for row in front]
    metrics = dict(story().metrics or {})
    metrics["before"] = {
        "accuracy": {"ann": 0.904, "snn": 0.862, "control": 0.891},
        "agreement": 0.903,
        "synaptic_operations": 13_400_000,
        "energy_pj": {"ann_fp32": 1.89e8, "ann_int8": 1.31e7, "snn": 1.1e7},
    }
    metrics["chosen"] = {"budget": "accuracy=0.5", "levels": 31, "timesteps": 1, "lost": "0.20 points", "tried": 12, "samples": 512}
    return story(**{"before": was, "history": history, "front": front, "metrics": metrics, **changes})


def swept() -> list[dict[str, Any]]:
    """The rows of a language model over four N and three T."""
    return [
        {
            "levels": n,
            "timesteps": t,
            "perplexity": {"ann": 4.856, "snn": 4.9 + 3 / n + 0.02 * t, "control": 5 + 5 / n},
            "agreement": 0.95 - 0.5 / n,
            "control_agreement": 0.9 - 0.5 / n,
            "kl_nats": 0.01,
            "samples": 20,
        }
        for n in (7, 15, 31, 63)
        for t in (1, 2, 4)
    ]


def noisy(**changes: Any) -> Story:
    """A network of gates that was taught under noise."""
    rows = [{"noise": at, "ann": 0.95 - 2 * at, "snn": 0.93 - 0.5 * at, "control": 0.4 - 0.5 * at} for at in (0.0, 0.1, 0.2, 0.3, 0.4)]
    told = {"kinds": ["bit_flip"], "range": [0.0, 0.45], "samples": 2000}
    return story(**{"metrics": {**(story().metrics or {}), "noise": told}, "noise": rows, **changes})


def language(**changes: Any) -> Story:
    """A language model with its sweep."""
    measured = {"perplexity": {"ann": 4.856, "snn": 4.947, "control": 5.186}, "next_token_agreement": 0.917, "agreement": 0.917}
    metrics = {**(story().metrics or {}), **measured, "accuracy": dict.fromkeys(("ann", "snn", "control"))}
    curve = [{"timesteps": 1, "agreement": 0.917, "perplexity": measured["perplexity"]}]
    return story(**{"metrics": metrics, "mcnemar": None, "unit": "blocks", "curve": curve, "sweep": swept(), "noise": [], **changes})
