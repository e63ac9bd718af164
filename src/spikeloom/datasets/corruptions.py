"""
Corruptions of pictures, in colour or grey, as in CIFAR-10-C, five severities each, drawn here.

    gaussian_noise   standard deviation 0.04 … 0.10 of the range
    gaussian_blur    standard deviation 0.4 … 1.0 pixels
    brightness       0.05 … 0.3 of the range added to HSV's value
    contrast         0.75 … 0.15 of each colour's distance to its mean in the picture
    jpeg             quality 80 … 40

Source: Hendrycks & Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, arXiv:1903.12261; the
strengths are those of its CIFAR-10 set.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from spikeloom.errors import ConfigError, DataError

SEVERITIES: Mapping[str, tuple[float, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "jpeg": (80.0, 65.0, 58.0, 50.0, 40.0),
}

Picture = NDArray[np.float64]
"""[H, W, 3] or [H, W, 1], 0 to 1."""


def gaussian_noise(picture: Picture, strength: float, generator: np.random.Generator) -> Picture:
    """Each number moved on its own."""
    return picture + generator.normal(0, strength, picture.shape)


def gaussian_blur(picture: Picture, strength: float, generator: np.random.Generator) -> Picture:
    """Each colour on its own; edges go on as they are."""
    del generator
    return gaussian_filter(picture, (strength, strength, 0), mode="nearest", truncate=4.0)


def brightness(picture: Picture, strength: float, generator: np.random.Generator) -> Picture:
    """Hue and saturation stay: all colours grow by the same factor; black becomes grey."""
    del generator
    value = picture.max(2, keepdims=True)
    raised = np.clip(value + strength, 0, 1)
    return np.where(value > 0, picture * raised / np.maximum(value, 1e-12), raised)


def contrast(picture: Picture, strength: float, generator: np.random.Generator) -> Picture:
    """Each colour closer to its mean over the picture."""
    del generator
    mean = picture.mean((0, 1), keepdims=True)
    return mean + (picture - mean) * strength


def jpeg(picture: Picture, strength: float, generator: np.random.Generator) -> Picture:
    """Compressed with that quality, and read again."""
    del generator
    pixels: NDArray[np.uint8] = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    with io.BytesIO() as kept:
        Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(kept, "JPEG", quality=int(strength))
        return np.asarray(Image.open(kept), dtype=np.float64).reshape(picture.shape) / 255


CORRUPTIONS: Mapping[str, Callable[[Picture, float, np.random.Generator], Picture]] = {
    "gaussian_noise": gaussian_noise,
    "gaussian_blur": gaussian_blur,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg": jpeg,
}


def check_corruption(kind: str, severity: int) -> None:
    """Raises ConfigError for an unknown kind or a severity outside 1 to 5."""
    if kind not in CORRUPTIONS:
        raise ConfigError("a corruption of that kind is unknown", found=kind, allowed=", ".join(CORRUPTIONS))
    if not 1 <= severity <= 5:
        raise ConfigError("a corruption cannot have this severity", found=severity, allowed="1 to 5")


def corrupted(pictures: Float[Tensor, "b c h w"], kind: str, severity: int, seed: int, first: int = 0) -> Float[Tensor, "b c h w"]:
    """The pictures, values from 0 to 1, of three channels or one, each corrupted alike; a picture's noise is a function of the seed and its
    place, which is `first` for the first of them. ConfigError as `check_corruption`, DataError for other pictures."""
    check_corruption(kind, severity)
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or not bool(((pictures > -1e-3) & (pictures < 1.001)).all()):
        found = f"{tuple(pictures.shape)} from {float(pictures.min()):.3g} to {float(pictures.max()):.3g}"
        raise DataError("these are no pictures that can be corrupted", found=found, allowed="[b, 1 or 3, h, w], values from 0 to 1")
    strength, change = SEVERITIES[kind][severity - 1], CORRUPTIONS[kind]
    made = np.empty((len(pictures), *pictures.shape[2:], pictures.shape[1]))
    for place, picture in enumerate(pictures.permute(0, 2, 3, 1).double().numpy(), start=first):
        made[place - first] = np.clip(change(picture, strength, np.random.default_rng([seed, place])), 0, 1)
    return torch.from_numpy(made).permute(0, 3, 1, 2).to(pictures.dtype)
