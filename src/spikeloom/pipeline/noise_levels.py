"""
Networks under noise: who answers what, at every level, all of them on the very same noisy samples.

A level's noise is a function of the seed, the level and the kind: it is the same for another network, in another run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from spikeloom.logic import PackedNetwork
from spikeloom.pipeline.logic_samples import HeldSamples
from spikeloom.simulate import SpikingModel
from spikeloom.train.noise import NOISES, at_strength
from spikeloom.train.samples import generator_for

Answer = Callable[[Tensor], Tensor]
"""Inputs [B, …] to the classes that are answered, int64 [B]."""
MEASURED = 5
"""What random numbers are drawn for here, beside the purposes in `train.samples`."""


def frozen_answer(snn: SpikingModel) -> Answer:
    """What a frozen program answers, run on packed words: the class with the greatest count, of equal ones the first."""
    packed = PackedNetwork(snn.program)

    def answer(x: Tensor) -> Tensor:
        return packed(x).argmax(1)

    return answer


def module_answer(model: nn.Module, device: str) -> Answer:
    """What a network in evaluation mode answers."""

    def answer(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.eval()(x.to(device)).argmax(1).cpu()

    return answer


def key_of(level: float) -> str:
    """A level as metrics name it: "0.0", "0.45"."""
    return str(float(level))


@final
@dataclass(frozen=True)
class UnderNoise:
    """By network, level and kind of noise the confusion matrix [classes, answers], in samples."""

    tables: Mapping[tuple[str, float, str], Int64[Tensor, "k k"]]

    def of(self, network: str, level: float) -> Int64[Tensor, "k k"]:
        """Over all kinds of noise."""
        return torch.stack([table for (name, at, _), table in self.tables.items() if (name, at) == (network, level)]).sum(0)

    def accuracy(self, network: str) -> dict[str, float]:
        """The share of right answers at each level, over all kinds of noise."""
        levels = dict.fromkeys(level for _, level, _ in self.tables)
        return {key_of(level): share(self.of(network, level)) for level in levels}

    def by_kind(self, network: str) -> dict[str, dict[str, float]]:
        """The same for each kind of noise by itself; without noise, kinds are alike."""
        found: dict[str, dict[str, float]] = {}
        for (name, level, kind), table in self.tables.items():
            if name == network and level > 0:
                found.setdefault(kind, {})[key_of(level)] = share(table)
        return found


def share(table: Int64[Tensor, "k k"]) -> float:
    """The share of a confusion matrix that lies on its diagonal."""
    return int(table.diagonal().sum()) / int(table.sum())


def under_noise(
    samples: HeldSamples,
    answers: Mapping[str, Answer],
    *,
    kinds: Sequence[str],
    levels: Sequence[float],
    seed: int,
    batch_size: int = 1024,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> UnderNoise:
    """What each network answers to every sample at each level of each kind of noise. DataError as `train.noise.bit_flip`."""
    tables: dict[tuple[str, float, str], Tensor] = {}
    rounds = [(level, kind) for level in dict.fromkeys(levels) for kind in (kinds if level > 0 else kinds[:1])]
    for done, (level, kind) in enumerate(rounds):
        generator = generator_for(seed, MEASURED, round(level * 1000) * len(NOISES) + list(NOISES).index(kind))
        for rows in torch.arange(len(samples)).split(batch_size):
            clean, y = samples.gather(rows)
            x = at_strength(clean, kind, level, generator)
            for name, answer in answers.items():
                key = (name, level, kind)
                tables[key] = tables.get(key, 0) + confusion(y, answer(x), samples.classes)
        progress(done + 1, len(rounds))
    return UnderNoise(tables)


def confusion(y: Int64[Tensor, " b"], answered: Int64[Tensor, " b"], classes: int) -> Int64[Tensor, "k k"]:
    """How often each class (row) was answered as each (column)."""
    return torch.bincount(y * classes + answered, minlength=classes * classes).view(classes, classes)
