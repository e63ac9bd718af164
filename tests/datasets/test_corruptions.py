"""Corruptions: each does what it says, more of it with severity, and the same for the same seed."""

import pytest
import torch
from torch import Tensor

from spikeloom.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from spikeloom.errors import ConfigError


def pictures() -> Tensor:
    """Smooth colours with one sharp edge, four of them."""
    rows = torch.linspace(0.2, 0.6, 32)
    picture = torch.stack([rows.expand(32, 32), rows.flip(0).expand(32, 32), torch.full((32, 32), 0.3)])
    picture[:, :, 16:] *= 0.5
    return picture.expand(4, 3, 32, 32).clone()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_severity_grows_and_seeds_repeat(kind: str) -> None:
    x = pictures()
    errors = [float((corrupted(x, kind, severity, seed=1) - x).square().mean()) for severity in range(1, 6)]
    assert errors == sorted(errors)
    assert errors[0] > 0
    assert torch.equal(corrupted(x, kind, 3, seed=1), corrupted(x, kind, 3, seed=1))


def test_noise_is_as_strong_as_it_says_and_another_in_each_picture() -> None:
    x = torch.full((20, 3, 32, 32), 0.5)
    found = corrupted(x, "gaussian_noise", 3, seed=2)
    assert float((found - x).std()) == pytest.approx(SEVERITIES["gaussian_noise"][2], rel=0.02)
    assert not torch.equal(found[0], found[1])


def test_brightness_keeps_hue_and_adds_to_the_value() -> None:
    x = pictures()
    found = corrupted(x, "brightness", 2, seed=0)
    assert torch.allclose(found.amax(1), x.amax(1) + 0.1, atol=1e-6)
    assert torch.allclose(found / found.amax(1, keepdim=True), x / x.amax(1, keepdim=True), atol=1e-5)


def test_a_blur_keeps_the_mean_and_softens_the_edge() -> None:
    x = pictures()
    found = corrupted(x, "gaussian_blur", 5, seed=0)
    assert float(found.mean()) == pytest.approx(float(x.mean()), rel=0.01)
    assert float((found[..., 16] - found[..., 15]).abs().mean()) < 0.6 * float((x[..., 16] - x[..., 15]).abs().mean())


@pytest.mark.parametrize(("kind", "severity"), [("fog", 1), ("jpeg", 0), ("jpeg", 6)])
def test_what_there_is_not(kind: str, severity: int) -> None:
    with pytest.raises(ConfigError):
        corrupted(pictures(), kind, severity, seed=0)
