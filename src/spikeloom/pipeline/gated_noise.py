"""
Noise for a network that an ANN teaches: what a sample is before noise, and how ANN, SNN and control bear it, all on the very same samples.

    picture    pixel · scale, from 0 to 1: what noise comes to. Where bits are turned over, it is cut to 0 and 1 first
    input      (picture - mean) / std: what the networks take
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.errors import ConfigError
from spikeloom.ir import Progress
from spikeloom.pipeline.logic_samples import HALF, HeldSamples, held
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.noise_levels import Answer, UnderNoise, key_of, under_noise
from spikeloom.pipeline.pictures import at_once, load_data
from spikeloom.pipeline.settings import Settings
from spikeloom.simulate import SpikingModel, primary
from spikeloom.train.noise import Noise

MEASURED_AT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45)
"""The strengths of noise at which the networks are measured."""
BITS = "bit_flip"
Inputs = Callable[[Tensor], Tensor]
"""Pictures [B, …] to what a network takes [B, …]."""


def check_noise(settings: Settings) -> None:
    """Raises ConfigError for noise that no conversion by this method is taught with, or that is out of range."""
    if settings.noise and settings.method != "logic_gated":
        raise ConfigError(
            f"noise is for a network that is taught, and a conversion by the method {settings.method} teaches none",
            found=f"noise with conversion.method: {settings.method}",
            allowed="logic_gated",
            todo="choose that (--method logic_gated), or leave noise out",
        )
    noise_of(settings)


def noise_of(settings: Settings) -> Noise | None:
    """The noise of teaching; None where it is off. ConfigError out of range."""
    low, high = settings.noise_range
    bits_at = HALF if BITS in settings.noise_kinds else None
    return Noise(settings.noise_kinds, low, high, settings.curriculum, bits_at) if settings.noise else None


def pictures_of(data: Dataset, *, as_bits: bool = False) -> HeldSamples:
    """The samples before the model's mean and std. DataError where values lie outside 0 to 1."""
    way = data.preprocessing
    return held(data if way is None else dataclasses.replace(data, preprocessing=_plain(way)), as_bits)


def _plain(way: Preprocessing) -> Preprocessing:
    return dataclasses.replace(way, mean=(0.0,) * way.channels, std=(1.0,) * way.channels)


def inputs_of(data: Dataset) -> Inputs:
    """What makes a picture of this data set an input."""
    way = data.preprocessing
    if way is None:
        return lambda x: x
    mean, std = (torch.tensor(values)[:, None, None] for values in (way.mean, way.std))
    return lambda x: (x - mean) / std


def with_noise(found: Mapping[str, Any], snn: SpikingModel, settings: Settings, progress: Progress) -> dict[str, Any]:
    """What was `judged` of a network, with how it, its ANN and its control bear noise of the kinds it was taught with."""
    seen, samples = measured(snn, settings, progress)
    names = [name for name in ("ann", "snn", "control") if name in {network for network, _, _ in seen.tables}]
    accuracy = {name: seen.accuracy(name) for name in names}
    told: dict[str, Any] = {
        "accuracy_at_noise": accuracy,
        "accuracy_by_kind": seen.by_kind("snn") if len(settings.noise_kinds) > 1 else None,
        "noise": {"kinds": list(settings.noise_kinds), "range": list(settings.noise_range), "samples": samples},
    }
    rows = [{"noise": level, **{name: accuracy[name][key_of(level)] for name in names}} for level in MEASURED_AT]
    story = {**found["story"], "noise": rows, "metrics": {**found["story"]["metrics"], **told}}
    return {"metrics": {**found["metrics"], **told}, "story": story}


def measured(snn: SpikingModel, settings: Settings, progress: Progress) -> tuple[UnderNoise, int]:
    """The answers of a network, its ANN and its control at every level, and on how many samples. Where bits are among the kinds, level 0 is
    the picture as bits."""
    data = load_data(settings.dataset, "test", snn.program.settings, settings, settings.samples)
    samples, taken, networks = pictures_of(data, as_bits=BITS in settings.noise_kinds), inputs_of(data), Networks(snn, 1)
    samples.classes = max(samples.classes, int(snn.program.settings.get("classes") or 0))

    def answer_of(module: Callable[[Tensor], Any]) -> Answer:
        def answer(x: Tensor) -> Tensor:
            with torch.inference_mode():
                return primary(module(taken(x))).argmax(1)

        return answer

    found = under_noise(
        samples,
        {name: answer_of(module) for name, module in {**networks.modules, "snn": snn.bound(1)}.items()},
        kinds=settings.noise_kinds,
        levels=MEASURED_AT,
        seed=settings.seed,
        batch_size=at_once(snn.program, settings.batch_size, 1),
        progress=lambda done, total: progress("measuring under noise", done, total),
    )
    return found, len(samples)
