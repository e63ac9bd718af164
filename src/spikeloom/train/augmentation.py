"""
Augmentation of small colour pictures: a random shift by up to four pixels and a random mirror image.

Source: He et al., Deep Residual Learning for Image Recognition (2016), §4.2 (4 pixels of padding, random crop, horizontal flip).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Augment = Literal["none", "cifar"]

SHIFT = 4


def shift_and_mirror(x: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Each picture shifted by -SHIFT … SHIFT pixels either way (zeros move in) and mirrored with probability 1/2."""
    count, channels, height, width = x.shape
    offsets = torch.randint(0, 2 * SHIFT + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    rows = offsets[0, :, None] + torch.arange(height)  # [b, h]
    columns = offsets[1, :, None] + torch.arange(width)  # [b, w]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = F.pad(x, (SHIFT, SHIFT, SHIFT, SHIFT))
    picture, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]


def augmented(x: Float[Tensor, "b *rest"], augment: Augment, generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """The batch, augmented as said."""
    return shift_and_mirror(x, generator) if augment == "cifar" else x
