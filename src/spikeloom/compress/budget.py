"""
Budgets: how much of a network goes in all, and how much of it in each round.

One threshold holds for the whole network: connections leave in the order of their worth for what they cost, whatever layer they are in.

    s_r = s·(1 − (1 − r/R)³)       the share that has left after round r of R                (1)

Source: (1) Zhu & Gupta 2017, arXiv:1710.01878.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spikeloom.errors import ConfigError, NumericError


def check_share(share: float, key: str, *, zero: bool = False) -> None:
    """Raises ConfigError for a share that is not above 0 (or 0, where that means something) and below 1."""
    if not (0 <= share < 1) or (share == 0 and not zero):
        raise ConfigError(f"{key} is out of range", found=share, allowed="0 to below 1" if zero else "above 0, below 1")


def schedule(share: float, rounds: int) -> list[float]:
    """(1) for every round."""
    return [share * (1 - (1 - r / rounds) ** 3) for r in range(1, rounds + 1)]


def cheapest(worths: Sequence[Tensor], prices: Sequence[Tensor], share: float) -> list[Tensor]:
    """What stays (True) when connections leave, the least worth for their price first, until `share` of all prices has left.

    Raises NumericError where nothing has a price: no spike meets a weight.
    """
    worth, price = (torch.cat([each.flatten().double() for each in parts]) for parts in (worths, prices))
    total = float(price.sum())
    if not total > 0:
        raise NumericError("there is nothing to prune: no spike reaches a layer with weights", todo="check the data and the thresholds")
    order = (worth / price.clamp_min(total * 1e-15 / len(price))).argsort(stable=True)
    spent = price[order].cumsum(0)
    leaves = torch.zeros(len(worth), dtype=torch.bool)
    leaves[order[spent <= share * total * (1 + 1e-12)]] = True
    parts = (~leaves).split([each.numel() for each in worths])
    return [part.view(each.shape) for part, each in zip(parts, worths, strict=True)]
