"""Preprocessing: channels, size, scale, normalisation."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spikeloom.datasets import Preprocessing, plain
from spikeloom.errors import ConfigError, DataError

GREY = plain(1)
COLOUR = plain(3)


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_normalises_by_the_equation() -> None:
    pixels = noise(4, 5, 3)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    x = Preprocessing(None, mean, std).apply(pixels)
    assert x.dtype == torch.float32
    expected = (np.moveaxis(pixels, 2, 0) / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


def test_scale_one_leaves_pixels_as_numbers() -> None:
    pixels = noise(4, 5, 3)
    assert torch.equal(
        Preprocessing(None, (0.0,) * 3, (1.0,) * 3, scale=1.0).apply(pixels), torch.from_numpy(pixels).permute(2, 0, 1).float()
    )


@pytest.mark.parametrize("given", [(6, 7), (6, 7, 1), (1, 6, 7), (6, 7, 3), (3, 6, 7), (6, 7, 4)])
def test_array_layouts(given: tuple[int, ...]) -> None:
    assert GREY.apply(noise(*given)).shape == (1, 6, 7)
    assert COLOUR.apply(noise(*given)).shape == (3, 6, 7)


def test_arrays_and_pictures_are_prepared_alike() -> None:
    pixels = noise(20, 30, 3)
    half = Preprocessing((10, 15), (0.5,), (0.5,), channels=1)
    assert torch.equal(half.apply(pixels), half.apply(Image.fromarray(pixels)))
    np.testing.assert_allclose(half.apply(pixels.astype(np.float64)).numpy(), half.apply(pixels).numpy(), atol=2 / 255 / 0.5)


def test_grey_is_luma_and_colour_is_repeated() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert GREY.apply(red)[0, 0, 0] == pytest.approx(0.299, abs=1 / 255)
    assert GREY.apply(red.astype(np.float32))[0, 0, 0] == pytest.approx(0.299, abs=1e-6)
    x = COLOUR.apply(noise(3, 3))
    assert torch.equal(x[0], x[1])
    assert torch.equal(x[0], x[2])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_picture_modes(mode: str) -> None:
    image = Image.fromarray(noise(5, 4, 3)).convert(mode)
    assert COLOUR.apply(image).shape == (3, 5, 4)
    assert GREY.apply(image).shape == (1, 5, 4)


def test_sixteen_bit_pictures_are_refused_not_clipped() -> None:
    with pytest.raises(DataError, match="more than 8 bits"):
        GREY.apply(Image.fromarray(np.full((4, 4), 40_000, np.uint16)))


def test_is_upright_as_exif_says() -> None:
    pixels = noise(4, 6)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 6  # held turned by a quarter
    np.testing.assert_array_equal((GREY.apply(image)[0] * 255).round().numpy(), np.rot90(pixels, -1))


def test_a_picture_of_the_right_size_is_not_resized() -> None:
    pixels = noise(8, 8, 3)
    cropping = Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3, shorter_side=12)
    assert torch.equal(cropping.apply(pixels), COLOUR.apply(pixels))
    assert torch.equal(cropping.apply(Image.fromarray(pixels)), COLOUR.apply(pixels))


def test_squeezing_and_cropping() -> None:
    pixels = np.zeros((20, 40, 1), np.uint8)
    pixels[:, 10:30] = 200  # the middle half
    squeezed = Preprocessing((20, 20), (0.0,), (1.0,), channels=1).apply(pixels)
    cropped = Preprocessing((20, 20), (0.0,), (1.0,), shorter_side=20, channels=1).apply(pixels)
    assert squeezed[0, 10, 1] == 0
    assert squeezed[0, 10, 10] == pytest.approx(200 / 255)
    assert torch.allclose(cropped, torch.tensor(200 / 255))


@pytest.mark.parametrize("shape", [(33, 50), (50, 33)])
def test_crop_is_of_the_centre_at_the_said_scale(shape: tuple[int, int]) -> None:
    image = Image.fromarray(noise(*shape))
    x = Preprocessing((16, 16), (0.0,), (1.0,), resize="bicubic", shorter_side=20, channels=1).apply(image)
    longer = int(20 * 50 / 33)
    small = image.resize((longer, 20) if shape[0] == 33 else (20, longer), Image.Resampling.BICUBIC)
    left, top = (small.width - 16) // 2, (small.height - 16) // 2
    assert torch.equal(x, GREY.apply(small.crop((left, top, left + 16, top + 16))))


def test_float_arrays_of_any_channels_are_resized_plane_by_plane() -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    x = Preprocessing((4, 4), (0.0, 0.0), (1.0, 1.0), scale=1.0, channels=2).apply(pixels)
    assert x.shape == (2, 4, 4)
    assert float(x.mean()) == pytest.approx(float(pixels.mean()), abs=0.05)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("channels", {"channels": 0, "mean": (), "std": ()}),
        ("size", {"size": (0, 4)}),
        ("mean", {"mean": (0.0,)}),
        ("std", {"std": (1.0, 0.0, 1.0)}),
        ("std", {"std": (1.0,)}),
        ("scale", {"scale": 0.0}),
        ("shorter_side", {"size": (8, 10), "shorter_side": 9}),
        ("shorter_side", {"size": None, "shorter_side": 9}),
    ],
)
def test_contradictions_are_refused(key: str, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"preprocessing.{key} "):
        Preprocessing(**{"size": (8, 8), "mean": (0.0,) * 3, "std": (1.0,) * 3, **change})


@pytest.mark.parametrize("shape", [(4,), (2, 4, 5, 3), (5, 4, 7)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="not a picture"):
        COLOUR.apply(noise(*shape))


def test_channels_that_cannot_become_ours_are_refused() -> None:
    two = Preprocessing(None, (0.0, 0.0), (1.0, 1.0), channels=2)
    for picture in (noise(4, 4, 3), noise(4, 4, 3).astype(np.float32), Image.new("RGB", (4, 4))):
        with pytest.raises(DataError, match="another number of channels"):
            two.apply(picture)
