"""
From a picture to what a model takes: channels, size, scale, normalisation.

    x = (pixel · scale - mean_c) / std_c      (1)

A picture that already has the size asked for is never resized. Resizing is PIL's (antialiased), as in torchvision's and Hugging Face's
image processors; colour becomes grey by ITU-R 601 luma, grey becomes colour by repetition, both as in PIL.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from spikeloom.errors import ConfigError, DataError

Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Pixels = NDArray[Any]

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601: what red, green and blue weigh in grey."""

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture was held; 1 is upright."""


@final
@dataclass(frozen=True)
class Preprocessing:
    """
    How pictures are prepared for a model.

    size: (height, width) in pixels of what comes out; None leaves pictures as large as they are.
    mean, std: per channel, on the scale of `pixel * scale`.
    scale: what a pixel is multiplied with; 1/255 for 8-bit pictures.
    resize: the filter a picture of another size is resized with.
    shorter_side: resize so that the shorter side has this many pixels, then cut `size` out of the centre; None squeezes to `size`.
    channels: 1 grey, 3 colour; with another number pictures must have just that many.

    ConfigError where these contradict each other.
    """

    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255
    resize: Resample = "bilinear"
    shorter_side: int | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        refuse = _refusal(self)
        if refuse is not None:
            key, allowed = refuse
            raise ConfigError(f"preprocessing.{key} cannot be used", found=getattr(self, key), allowed=allowed)

    def prepare(self, image: Image.Image | Pixels) -> Pixels:
        """The picture as [height, width, channels] with our size and channels, uint8 or float32, not yet scaled. DataError as `apply`."""
        if not isinstance(image, np.ndarray):
            return self._from_pil(_upright(image))
        pixels = channels_last(image, self.channels)
        same_size = self.size is None or pixels.shape[:2] == self.size
        if pixels.dtype == np.uint8 and not (same_size and pixels.shape[2] == self.channels) and pixels.shape[2] in (1, 3, 4):
            return self._from_pil(Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
        pixels = convert_channels(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32), self.channels)
        return pixels if same_size else np.stack([self._resized_plane(plane) for plane in np.moveaxis(pixels, 2, 0)], axis=2)

    def normalise(self, pixels: Tensor) -> Float[Tensor, "*batch c h w"]:
        """(1), for pixels [..., channels, height, width] of any number type; float32."""
        mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (self.mean, self.std))
        return (pixels.contiguous().to(torch.float32) * self.scale).sub_(mean).div_(std)

    def apply(self, image: Image.Image | Pixels) -> Float[Tensor, "c h w"]:
        """
        The picture as a model takes it, float32.

        An array is [h, w], [h, w, c] or [c, h, w]. DataError where its channels cannot become ours, or it is a 16-bit PIL picture.
        """
        return self.normalise(torch.from_numpy(np.array(self.prepare(image))).permute(2, 0, 1))

    def _from_pil(self, image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
        if self.channels not in (1, 3):
            raise DataError("a picture has another number of channels than the model takes", found=image.mode, allowed=self.channels)
        mode = "L" if self.channels == 1 else "RGB"
        image = image if image.mode == mode else image.convert(mode)
        pixels = np.asarray(self._resized(image))
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def _resized_plane(self, plane: Pixels) -> Pixels:
        return np.asarray(self._resized(Image.fromarray(plane.astype(np.float32))))

    def _resized(self, image: Image.Image) -> Image.Image:
        """The picture at `size`; as it is where it has that size."""
        if self.size is None or (image.height, image.width) == self.size:
            return image
        resample = Image.Resampling[self.resize.upper()]
        (height, width), side = self.size, self.shorter_side
        if side is None:
            return image.resize((width, height), resample)
        short = min(image.height, image.width)
        image = image.resize((int(side * image.width / short), int(side * image.height / short)), resample)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))


def _refusal(p: Preprocessing) -> tuple[str, str] | None:
    """The first field that cannot be used, and what it may be."""
    checks: tuple[tuple[str, bool, str], ...] = (
        ("channels", p.channels >= 1, "1 or more"),
        ("size", p.size is None or (len(p.size) == 2 and min(p.size) >= 1), "two positive numbers (height, width), or none"),
        ("mean", len(p.mean) == p.channels, f"{p.channels} numbers, one per channel"),
        ("std", len(p.std) == p.channels and all(value > 0 for value in p.std), f"{p.channels} positive numbers, one per channel"),
        ("scale", p.scale > 0, "a positive number"),
        ("resize", p.resize in ("nearest", "bilinear", "bicubic", "lanczos"), "nearest, bilinear, bicubic, lanczos"),
        (
            "shorter_side",
            p.shorter_side is None or (p.size is not None and p.shorter_side >= max(p.size)),
            f"at least the longer side of size {p.size}",
        ),
    )
    return next(((key, allowed) for key, holds, allowed in checks if not holds), None)


def plain(channels: int) -> Preprocessing:
    """Pictures in their own size, pixels divided by 255, nothing else."""
    return Preprocessing(None, (0.0,) * channels, (1.0,) * channels, channels=channels)


def channels_last(pixels: Pixels, channels: int) -> Pixels:
    """[h, w], [h, w, c] or [c, h, w] as [h, w, c]: the channels are the last axis, else the first, that is 1, 3, 4 or `channels` long."""
    known = {1, 3, 4, channels}
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.ndim == 3 and pixels.shape[2] in known:
        return pixels
    if pixels.ndim == 3 and pixels.shape[0] in known:
        return np.moveaxis(pixels, 0, 2)
    raise DataError("an array is not a picture", found=f"shape {pixels.shape}", allowed="[h, w], [h, w, c] or [c, h, w], c being 1, 3 or 4")


def convert_channels(pixels: Pixels, channels: int) -> Pixels:
    """[h, w, c] with `channels` channels: grey repeated, colour weighed by LUMA, an alpha channel dropped."""
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 3 and found in (1, 4):
        return np.repeat(pixels, 3, axis=2) if found == 1 else pixels[:, :, :3]
    if channels == 1 and found in (3, 4):
        return (pixels[:, :, :3] @ np.asarray(LUMA, dtype=np.float32))[:, :, None]
    raise DataError("a picture has another number of channels than the model takes", found=found, allowed=channels)


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says it is seen. DataError for a picture of more than 8 bits, which PIL would clip."""
    if image.mode.startswith("I") or image.mode == "F":
        raise DataError("a picture has more than 8 bits per channel", found=f"mode {image.mode}", todo="save it with 8 bits, or as npz:")
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image
