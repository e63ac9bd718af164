"""Corruptions: each does what it says, more of it with severity, and the same for the same seed."""

import pytest
import torch
from torch import Tensor

from spikeloom.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from spikeloom.errors import ConfigError, DataError


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


def test_less_contrast_keeps_the_mean_and_so_much_of_what_differs() -> None:
    x = pictures()
    found = corrupted(x, "contrast", 5, seed=0)
    assert torch.allclose(found.mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    assert float(found.std((2, 3)).mean() / x.std((2, 3)).mean()) == pytest.approx(0.15, rel=1e-4)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_grey_pictures_are_corrupted_as_well(kind: str) -> None:
    x = pictures()[:, :1]
    found = corrupted(x, kind, 4, seed=1)
    assert found.shape == x.shape
    assert float((found - x).abs().max()) > 0.01
    assert float((found - x).square().mean()) < 0.04


def test_a_picture_is_corrupted_by_its_place_whatever_batch_it_is_in() -> None:
    x = pictures()
    whole = corrupted(x, "gaussian_noise", 3, seed=1)
    assert torch.equal(whole[2:], corrupted(x[2:], "gaussian_noise", 3, seed=1, first=2))


@pytest.mark.parametrize("x", [torch.full((1, 1, 8, 8), 1.5), torch.full((1, 1, 8, 8), torch.nan), torch.zeros(1, 2, 8, 8)])
def test_what_is_no_picture_is_refused(x: Tensor) -> None:
    with pytest.raises(DataError, match="no pictures"):
        corrupted(x, "jpeg", 1, seed=0)


@pytest.mark.parametrize(("kind", "severity"), [("fog", 1), ("jpeg", 0), ("jpeg", 6)])
def test_what_there_is_not(kind: str, severity: int) -> None:
    with pytest.raises(ConfigError):
        corrupted(pictures(), kind, severity, seed=0)
