"""
Advice: what a person could do next, from what was measured and what was done already.

Each limit has its remedy (README, Limitations): accuracy right after conversion: more levels or steps, compensation, `calibrate` for
neurons that the closed form does not know, then `finetune`; weights of few bits: `finetune` on their grid; memory of training through
time: `--chunk-steps`; training cost: distillation on few samples, early stop. What was done already is not said again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from spikeloom.ir import Record
from spikeloom.simulate import Fidelity

CUT = 0.01
"""A share of values above the highest level that is worth saying."""
LONG = 4
"""Beyond so many steps fine-tuning had better keep only some of them in memory."""


def advice(metrics: Mapping[str, Any], hurt: Fidelity | None, records: Sequence[Record]) -> list[str]:
    """What a person could do next, where the SNN is worse than the ANN, or costs more."""
    lost, said = loss(metrics), list[str]()
    if lost is not None:
        said += remedies(lost, metrics, records)
        said += [where(hurt)] if hurt is not None else []
    if metrics["floating_operations"]:
        said.append(f"{len(metrics['floating_operations'])} operations stay floating point; the audit in the report says which, and why.")
    energy_pj = metrics["energy_pj"]
    if energy_pj["snn"] > energy_pj["ann_int8"] and "Quantise" not in names(records):
        said.append("By these prices the ANN in int8 needs less energy than this SNN; `spikeloom compress DIR --weights 4` changes that.")
    elif energy_pj["snn"] > energy_pj["ann_int8"]:
        said.append("By these prices the ANN in int8 needs less energy than this SNN; fewer connections change that (`--sparsity 0.5`).")
    return said


def names(records: Sequence[Record]) -> Collection[str]:
    """The passes that were run."""
    return {record.name for record in records}


def remedies(lost: str, metrics: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """What brings an SNN that is behind closer to its ANN, the cheapest first."""
    done, steps = names(records), int(metrics["timesteps"])
    if "LogicGate" in done:
        return [f"The SNN{lost}: more gates, thresholds of the input, or epochs (`logic_gated` in the configuration) bring it closer."]
    spike = next((record.options for record in records if record.name == "Spike"), dict[str, Any]())
    said = [f"The SNN{lost}: {finer(spike, steps, int(metrics.get('levels') or 1))}"]
    if "Compensate" not in done:
        said.append("Earlier layers' errors were not compensated: `spikeloom convert --compensate` does it in seconds, without training.")
    if spike.get("method") in ("if", "lif") and "LearnCompensation" not in done:
        said.append("For IF and LIF neurons `spikeloom calibrate DIR` learns what the closed form does not know, without labels.")
    return [*said, trained(done, steps)]


def finer(spike: Mapping[str, Any], steps: int, levels: int) -> str:
    """More levels, or more steps where a neuron has but one level."""
    if spike.get("method") == "if" and not spike.get("dual"):
        return f"`--dual-threshold` lets neurons take back what they sent too early; more steps (`--timesteps {2 * steps}`) help as well."
    if spike.get("method") in ("if", "lif"):
        return f"more steps (`--timesteps {2 * steps}`, twice the run time) bring it closer."
    density = "" if spike.get("placement", "density") != "uniform" else " with `--placement density`"
    return (
        f"more levels (`--levels {2 * levels + 1}`, no more run time{density}) bring it closer; `--levels auto` measures which are enough."
    )


def trained(done: Collection[str], steps: int) -> str:
    """Fine-tuning, as it suits this network."""
    if "FineTune" in done:
        return (
            "It was fine-tuned already: more of it (`--epochs`, `--training-samples`) helps while the held-out loss in the history falls."
        )
    on_grid = ", its weights stay on their grid" if "Quantise" in done else ""
    memory = f" (`--chunk-steps {LONG}` keeps the memory of {steps} steps small)" if steps > LONG else ""
    few = "; `--training-samples 2000 --patience 1` is where to begin where training is dear"
    return f"`spikeloom finetune DIR --epochs 1` trains it as it runs, towards the ANN{on_grid}{memory}{few}."


def where(hurt: Fidelity) -> str:
    """The layer to look at first."""
    said = f"{hurt.node} loses most ({hurt.drop_db:.1f} dB against what feeds it, {hurt.sqnr_db:.1f} dB in all): look there first."
    if hurt.saturation > CUT:
        said += f" {hurt.saturation:.1%} of its values are above its highest level: `--thresholds maximum` cuts none."
    return said


def loss(metrics: Mapping[str, Any]) -> str | None:
    """How far the SNN is behind the ANN, in words that follow its name; None where that is hardly anything, or not known."""
    right, confused, alike = (metrics.get(key) or {} for key in ("accuracy", "perplexity", "cosine"))
    if right.get("ann") is not None and right.get("snn") is not None and right["ann"] - right["snn"] > 0.005:
        return f" is {100 * (right['ann'] - right['snn']):.1f} points under the ANN"
    if confused.get("ann") is not None and confused.get("snn") is not None and confused["snn"] > 1.01 * confused["ann"]:
        return f"'s perplexity is {100 * (confused['snn'] / confused['ann'] - 1):.1f} % above the ANN's"
    if alike.get("snn") is not None and alike["snn"] < 0.99:
        return f"'s outputs have a mean cosine of {alike['snn']:.3f} to the ANN's"
    return None
