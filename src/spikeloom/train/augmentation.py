"""
Augmentation of small pictures: a random shift (zeros move in) and a random mirror image.

    cifar    by up to four pixels, mirrored half the time: He et al., Deep Residual Learning for Image Recognition (2016), §4.2
    shift    by up to two pixels, never mirrored: for digits and letters
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Augment = Literal["none", "cifar", "shift"]

SHIFTS: Mapping[str, tuple[int, float]] = {"cifar": (4, 0.5), "shift": (2, 0.0)}
"""Pixels, and how often a picture is mirrored."""


def shift_and_mirror(x: Float[Tensor, "b c h w"], generator: torch.Generator, pixels: int, mirror: float) -> Float[Tensor, "b c h w"]:
    """Each picture shifted by up to so many pixels either way and, with probability `mirror`, mirrored."""
    count, channels, height, width = x.shape
    offsets = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < mirror
    rows = offsets[0, :, None] + torch.arange(height)  # [b, h]
    columns = offsets[1, :, None] + torch.arange(width)  # [b, w]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = F.pad(x, (pixels,) * 4)
    picture, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]


def augmented(x: Float[Tensor, "b *any"], augment: Augment, generator: torch.Generator) -> Float[Tensor, "b *any"]:
    """The batch, augmented as said."""
    return x if augment == "none" else shift_and_mirror(x, generator, *SHIFTS[augment])
