"""Preprocessing settings: pictures prepared by them equal those of the model's own processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.capture.pictures import at_shape, of_config, of_hugging_face, of_timm, preparation
from spikeloom.datasets.preprocessing import Preprocessing
from spikeloom.errors import SourceError

transformers = pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")

PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ViTImageProcessor", {}),
    ("BitImageProcessor", {}),
    ("CLIPImageProcessor", {}),
    ("ConvNextImageProcessor", {}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    ("EfficientNetImageProcessor", {}),
    ("EfficientNetImageProcessor", {"rescale_offset": True, "rescale_factor": 1 / 127.5, "do_normalize": False}),
    ("LevitImageProcessor", {}),
    ("MobileNetV2ImageProcessor", {}),
    ("PoolFormerImageProcessor", {}),
    ("PoolFormerImageProcessor", {"size": {"shortest_edge": 384}, "crop_size": {"height": 384, "width": 384}}),
    ("PoolFormerImageProcessor", {"size": {"shortest_edge": 100}, "crop_size": {"height": 96, "width": 96}}),
    ("SiglipImageProcessor", {}),
    ("ViTImageProcessor", {"do_rescale": False, "size": {"height": 20, "width": 30}}),
]


def preprocessing(settings: dict[str, Any]) -> Preprocessing:
    return Preprocessing(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})


def picture() -> Any:
    y, x = np.mgrid[0:300, 0:400]
    return Image.fromarray(np.stack([(x * 0.6) % 256, (y * 0.8) % 256, ((x + y) * 0.3) % 256], -1).astype(np.uint8))


@pytest.mark.parametrize(("name", "options"), PROCESSORS)
def test_the_settings_prepare_pictures_as_the_processor_does(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    processor = getattr(transformers, name)(**options)
    processor.save_pretrained(tmp_path)
    settings = of_hugging_face(tmp_path, None, 3)
    assert settings is not None
    assert json.loads(json.dumps(settings)) == settings
    wanted = processor(picture(), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(preprocessing(settings).apply(picture()), wanted, atol=1e-5, rtol=1e-5)


def test_a_way_that_has_no_form_is_none(tmp_path: Path) -> None:
    said = {"image_mean": [0.5], "image_std": [0.5], "size": {"height": 8, "width": 8}}
    for change in ({"do_flip_channel_order": True}, {"resample": 4}, {"image_mean": None, "size": None, "do_resize": False}):
        changed = {key: value for key, value in (said | change).items() if value is not None}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(changed))
        assert of_hugging_face(tmp_path, None, 1) is None


def test_means_beside_the_weights_are_taken_where_there_is_no_processor(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"image_mean": [0.3], "image_std": [0.2], "rescale": 0.25}))
    assert of_hugging_face(tmp_path, (6, 7), 1) == preparation((6, 7), [0.3], [0.2], scale=0.25)
    assert of_hugging_face(tmp_path, None, 1) is None


def test_a_processor_that_is_no_json_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(SourceError, match=r"preprocessor_config\.json cannot be read"):
        of_hugging_face(tmp_path, None, 3)


def test_another_input_shape_squeezes_to_it_and_other_channels_are_unknown() -> None:
    settings = preparation((224, 224), [0.5] * 3, [0.5] * 3, shorter_side=256)
    assert at_shape(settings, (3, 224, 224)) == settings
    assert at_shape(settings, (3, 32, 48)) == {**settings, "size": [32, 48], "shorter_side": None}
    assert at_shape(settings, (1, 224, 224)) is None
    assert at_shape(settings, (16,)) is None


def test_a_shorter_side_below_the_size_is_no_crop() -> None:
    assert preparation((224, 224), [0.5], [0.5], shorter_side=200)["shorter_side"] is None


def test_a_plain_configuration_with_words_for_a_scale_keeps_the_common_one() -> None:
    assert of_config({"mean": [0.1], "std": [0.2], "scale": "x/255"}, (1, 8, 9)) == preparation((8, 9), [0.1], [0.2])
    assert of_config({"scale": "x/255, no mean/std"}, (1, 8, 8)) is None
    assert of_config({"mean": [0.1, 0.2], "std": [0.2]}, (1, 8, 8)) is None


def test_a_timm_configuration_cuts_the_centre() -> None:
    config = {
        "input_size": (3, 224, 224),
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": (0.5,) * 3,
        "std": (0.2,) * 3,
    }
    assert of_timm(config) == preparation((224, 224), [0.5] * 3, [0.2] * 3, shorter_side=248, resize="bicubic")
    assert of_timm({**config, "crop_mode": "squash"})["shorter_side"] is None
