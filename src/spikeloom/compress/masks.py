"""
Patterns of zeros: which connections may leave together.

    unstructured    any
    N:M             of every M inputs in a row at most N stay, for each output (and each tap of a kernel) by itself: "2:4"

Source: N:M, Mishra et al. 2021, arXiv:2104.08378.
"""

import re

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.errors import ConfigError

UNSTRUCTURED = "unstructured"


def pattern_of(text: str) -> tuple[int, int] | None:
    """N and M of "N:M", None for any zeros. Raises ConfigError for anything else."""
    if text == UNSTRUCTURED:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None or not 0 < int(found[1]) < int(found[2]):
        raise ConfigError("compression.pattern is unknown", found=text, allowed=f"{UNSTRUCTURED}, or N:M with 0 < N < M, as 2:4")
    return int(found[1]), int(found[2])


def best_of(worth: Float[Tensor, "o c *taps"], n: int, m: int) -> Bool[Tensor, "o c *taps"]:
    """The N most worthy of every M inputs in a row, by tap; ties go to the first. M must divide the inputs."""
    parts = worth.unflatten(1, (-1, m))
    places = parts.argsort(dim=2, descending=True, stable=True)[:, :, :n]
    return torch.zeros_like(parts, dtype=torch.bool).scatter_(2, places, True).flatten(1, 2)


def fits(mask: Bool[Tensor, "o c *taps"], n: int, m: int) -> bool:
    """Whether at most N of every M inputs in a row are there."""
    return mask.shape[1] % m == 0 and bool((mask.unflatten(1, (-1, m)).sum(2) <= n).all())
