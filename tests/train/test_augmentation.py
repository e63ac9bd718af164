"""Augmentation: each picture is a shifted, perhaps mirrored copy of itself."""

import pytest
import torch
from torch.nn import functional as F

from spikeloom.train.augmentation import Augment, augmented


@pytest.mark.parametrize(("augment", "pixels"), [("cifar", 4), ("shift", 2)])
def test_every_picture_is_one_of_the_shifts_of_itself(augment: Augment, pixels: int) -> None:
    x = torch.randn(80, 3, 8, 10)
    y = augmented(x, augment, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    padded, shifts, mirrors = F.pad(x, (pixels,) * 4), set[tuple[int, int]](), 0
    for before, after in zip(padded, y, strict=True):
        found = [
            (top, left, mirrored)
            for top in range(2 * pixels + 1)
            for left in range(2 * pixels + 1)
            for mirrored in (False, True)
            if torch.equal(after.flip(2) if mirrored else after, before[:, top : top + 8, left : left + 10])
        ]
        assert len(found) == 1
        shifts.add(found[0][:2])
        mirrors += found[0][2]
    assert len(shifts) > 4 * pixels
    assert 20 < mirrors < 60 if augment == "cifar" else mirrors == 0


def test_is_a_function_of_the_generator() -> None:
    x = torch.randn(8, 3, 8, 8)
    once, again, other = (augmented(x, "cifar", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert augmented(x, "none", torch.Generator()) is x
