"""
How a source wants its pictures prepared, as settings: the fields of a preprocessing, in JSON.

    {"size": [h, w], "shorter_side": n | null, "resize": "bilinear", "scale": 1/255, "mean": […], "std": […], "channels": c}

`shorter_side` is what the shorter side is resized to before `size` is cut out of the centre; null squeezes to `size`. A way that has no
such form (channels swapped, other filters) is null: then the caller must say.

Source: transformers' image processors, timm's data configurations, torchvision's presets.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.capture.opened import why
from spikeloom.errors import SourceError

FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
Preparation = dict[str, Any]


def preparation(
    size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    scale: float = 1 / 255,
    shorter_side: int | None = None,
    resize: str = "bilinear",
) -> Preparation:
    """The settings of one way to prepare pictures; `size` is (height, width), or one number for both."""
    height, width = (size[0], size[-1])
    return {
        "size": [int(height), int(width)],
        "shorter_side": shorter_side if shorter_side is not None and shorter_side >= max(height, width) else None,
        "resize": resize,
        "scale": float(scale),
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "channels": len(mean),
    }


def at_shape(prepared: Mapping[str, Any] | None, input_shape: Sequence[int]) -> Preparation | None:
    """The same preparation for inputs [c, h, w] of another size (squeezed to it); None where the channels differ or it is no picture."""
    if prepared is None or len(input_shape) != 3 or input_shape[0] != len(prepared["mean"]):
        return None
    if list(input_shape[1:]) == list(prepared["size"]):
        return dict(prepared)
    return {**prepared, "size": [int(input_shape[1]), int(input_shape[2])], "shorter_side": None}


def of_hugging_face(folder: Path, image_size: Sequence[int] | None, channels: int) -> Preparation | None:
    """
    What a transformers folder says: its preprocessor_config.json (or processor_config.json), else means beside the weights.

    `image_size` (height, width) is taken where the file names none. None where nothing is said, or what is said has no form here.
    """
    said = _read(folder / "preprocessor_config.json") or _read(folder / "processor_config.json").get("image_processor", {})
    said = said or {"do_resize": False, **_means(folder)}
    if "image_mean" not in said or said.get("do_flip_channel_order") or said.get("resample", 2) not in FILTERS:
        return None
    size, shorter = _geometry(said, image_size)
    if size is None:
        return None
    mean, std = _normalisation(said, channels)
    scale = said.get("rescale_factor", said.get("rescale", 1 / 255)) if said.get("do_rescale", True) else 1.0
    return preparation(size, mean, std, scale=scale, shorter_side=shorter, resize=FILTERS[said.get("resample", 2)])


def _normalisation(said: Mapping[str, Any], channels: int) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel, with what some processors do on top: shift by one, divide a second time (EfficientNet's)."""
    mean, deviation = (_per_channel(said[key], channels) for key in ("image_mean", "image_std"))
    std = deviation
    if not said.get("do_normalize", True):
        mean, std = [0.0] * channels, [1.0] * channels
    if said.get("rescale_offset"):
        mean = [value + 1 for value in mean]
    if said.get("include_top"):
        std = [first * second for first, second in zip(std, deviation, strict=True)]
    return mean, std


def _geometry(said: Mapping[str, Any], image_size: Sequence[int] | None) -> tuple[Sequence[int] | None, int | None]:
    """The size that comes out, and what the shorter side is resized to first."""
    size, crop = _sides(said.get("size")), _sides(said.get("crop_size"))
    shortest = said["size"].get("shortest_edge") if isinstance(said.get("size"), Mapping) else None
    if not said.get("do_resize", True):
        return (crop if said.get("do_center_crop") else None) or image_size, None
    if said.get("crop_pct") and size is not None:
        side = size[0]
        convnext = "convnext" in str(said.get("image_processor_type", "")).lower()
        cut = crop if said.get("do_center_crop") and crop is not None else size
        return cut, None if convnext and side >= 384 else int(side / said["crop_pct"])
    if shortest is not None and "levit" in str(said.get("image_processor_type", "")).lower():
        shortest = int(256 / 224 * shortest)
    if said.get("do_center_crop") and crop is not None:
        return crop, shortest or (min(size) if size else None)
    return (size or image_size), shortest


def _sides(size: Any) -> Sequence[int] | None:
    if isinstance(size, Mapping):
        if "height" in size:
            return (int(size["height"]), int(size["width"]))
        return (int(size["shortest_edge"]),) * 2 if "shortest_edge" in size else None
    return (int(size),) * 2 if isinstance(size, int) else tuple(size) if isinstance(size, list) else None


def _per_channel(values: Any, channels: int) -> list[float]:
    values = list(values) if isinstance(values, list) else [values]
    return [float(value) for value in (values * channels if len(values) == 1 else values)]


def _means(folder: Path) -> Mapping[str, Any]:
    """Means and deviations from another JSON file of the folder."""
    for path in sorted(folder.glob("*.json")):
        found = _read(path)
        if "image_mean" in found and "image_std" in found:
            return found
    return {}


def beside(weights: Path | None) -> Mapping[str, Any]:
    """What the config.json beside a weights file says; empty where there is none or it is no JSON object."""
    return {} if weights is None else _read(weights.parent / "config.json")


def of_config(config: Mapping[str, Any], input_shape: Sequence[int]) -> Preparation | None:
    """The preparation in a plain config.json with `mean` and `std` (and `scale`, where it is a number); None where it has none."""
    mean, std, scale = config.get("mean"), config.get("std"), config.get("scale")
    if not isinstance(mean, list) or not isinstance(std, list) or len(mean) != len(std) or len(input_shape) != 3:
        return None
    return preparation(input_shape[1:], mean, std, scale=scale if isinstance(scale, int | float) else 1 / 255)


def of_timm(config: Mapping[str, Any]) -> Preparation:
    """A timm data configuration: the centre `crop_pct` of the resized picture."""
    size = config["input_size"][1:]
    shorter = math.floor(min(size) / config["crop_pct"]) if config.get("crop_mode", "center") == "center" else None
    return preparation(size, config["mean"], config["std"], shorter_side=shorter, resize=config["interpolation"])


def of_torchvision(transforms: Any) -> Preparation:
    """A torchvision classification preset."""
    crop, shorter = transforms.crop_size, transforms.resize_size[0]
    return preparation(crop, transforms.mean, transforms.std, shorter_side=shorter, resize=transforms.interpolation.value)


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is no such file or it holds something else. SourceError where it is no JSON."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read", found=why(error), todo="mend it, or take it away") from error
    return found if isinstance(found, dict) else {}
