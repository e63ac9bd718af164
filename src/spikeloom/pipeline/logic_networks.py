"""
The networks of one learning, trained one after another, each from its own checkpoint on when that is resumed.

    twin_noise    the floating twin trained with the noise: what it costs to have no floating point; the teacher, where there is one
    twin_clean    the floating twin trained without: what it costs not to know noise
    network       the logic-gated network
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from spikeloom.errors import ConfigError
from spikeloom.ir import Progress
from spikeloom.logic import Bits, check_weights, convolutional, floating_twin, fully_connected, rate_bits
from spikeloom.pipeline.logic_samples import LogicData
from spikeloom.pipeline.logic_settings import LogicSettings
from spikeloom.train import TrainProgress, TrainResult, train_classifier
from spikeloom.train.lesson import Teacher
from spikeloom.train.noise import Noise

TWIN_RATE = 0.3
"""A twin's learning rate, as a share of the network's: real weights bear smaller steps."""
COLOUR = (3, 32, 32)
"""Pictures of this shape are shifted and mirrored in training."""


@final
@dataclass(frozen=True)
class Taught:
    """The trained networks by name; `network` always, the twins where controls were asked for."""

    results: dict[str, TrainResult]

    def model(self, name: str) -> nn.Module:
        """One of them, in evaluation mode."""
        return self.results[name].model


@contextmanager
def weights_from(seed: int) -> Generator[None]:
    """First weights drawn inside are a function of the seed; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def built(settings: LogicSettings, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of resolved settings before training. ConfigError where it does not fit samples of this shape."""
    hidden, flat = tuple(settings.hidden or ()), settings.network == "fully_connected"
    values = int(torch.Size(shape).numel())
    with weights_from(settings.seed):
        if flat:
            code = code_of(settings, values)
            return fully_connected(values, hidden, classes, code, settings.share or 0.0)
        if len(shape) != 3:
            raise ConfigError("a convolutional network takes pictures", found=f"samples of shape {shape}", todo="use fully_connected")
        code = code_of(settings, shape[0])
        return convolutional((shape[0], shape[1], shape[2]), settings.channels, hidden[0], classes, code, settings.residual)


def code_of(settings: LogicSettings, channels: int) -> Bits:
    """How values become bits: a rate code with thresholds of each channel's own, or a thermometer."""
    if settings.rate_code is not None:
        return rate_bits(channels, settings.rate_code, torch.Generator().manual_seed(settings.seed), settings.learnt_bits)
    return Bits(settings.thermometer or (), settings.learnt_bits)


def taught(settings: LogicSettings, data: LogicData, folder: Path, progress: Progress) -> Taught:
    """All networks of resolved settings, trained. Checkpoints lie in `folder`; without `settings.resume` older ones there go."""
    if not settings.resume:
        for old in folder.glob("*.safetensors"):
            old.unlink()
    network, noise, results = built(settings, data.train.shape, data.train.classes), settings.trained_noise, dict[str, TrainResult]()
    check_weights(network)
    if settings.controls:
        with weights_from(settings.seed):
            twin = floating_twin(network)
        wanted: dict[str, Noise | None] = {"twin_noise": noise} if noise is not None else {}
        for name, its_noise in {**wanted, "twin_clean": None}.items():
            results[name] = _train(name, twin, settings, data, folder, progress, noise=its_noise, rate=TWIN_RATE)
    teacher = results["twin_noise"].model if settings.distil else None
    results["network"] = _train("network", network, settings, data, folder, progress, noise=noise, teacher=teacher)
    return Taught(results)


def _train(
    name: str,
    model: nn.Module,
    settings: LogicSettings,
    data: LogicData,
    folder: Path,
    progress: Progress,
    *,
    noise: Noise | None,
    rate: float = 1.0,
    teacher: Teacher | None = None,
) -> TrainResult:
    words = {"twin_noise": "training the floating twin with noise", "twin_clean": "training the floating twin without noise"}

    def show(now: TrainProgress) -> None:
        opened = "" if now.noise is None else f", noise up to {now.noise:.0%}"
        said = f"epoch {now.epoch}/{now.epochs}{opened}, right {now.accuracy:.1%}"
        progress(f"{words.get(name, 'training the logic-gated network')}: {said}", now.step, now.steps)

    return train_classifier(
        model,
        data.train,
        data.test,
        epochs=settings.epochs or 1,
        batch_size=settings.batch_size or 2,
        lr=settings.learning_rate * rate,
        seed=settings.seed,
        device=settings.device,
        checkpoint=folder / f"{name}.safetensors",
        resume=settings.resume,
        progress=show,
        augment="cifar" if data.train.shape == COLOUR and settings.network == "convolutional" else "none",
        optimiser="adamw",
        schedule="cosine",
        weight_decay=settings.weight_decay,
        noise=noise,
        consistency=settings.consistency if noise is not None else 0.0,
        teacher=teacher,
        distil=(settings.distil or 0.0) if teacher is not None else 0.0,
        patience=settings.patience,
        precision=settings.precision,
    )
