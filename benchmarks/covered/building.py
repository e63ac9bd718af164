"""
Building one architecture: a small random network and the inputs it is measured on.

transformers' attention is its "eager" form, so that its products and its softmax stand in the graph one by one.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from covered.architectures import Architecture
from covered.networks import pictures, randomise, settle
from spikeloom.ir import MASK, POSITIONS
from spikeloom.simulate import primary

CLASSES = 10
SAMPLES = 4
STATISTICS = 16
SEED = 0
STRUCTURES = {"transformers:siglip2": {"pixel_attention_mask": MASK, "spatial_shapes": POSITIONS}}
"""Inputs that say where patches stand, not what is on them."""


@dataclass(frozen=True)
class Built:
    """A model in eval mode, its inputs by keyword, `SAMPLES` of them, and what the library's own model gives for them.

    `structure` says what inputs tell of positions and masks (`capture`); a reader of tokens has `lengths` too, and `other` inputs of
    another length with what comes of them."""

    model: nn.Module
    inputs: Mapping[str, Tensor]
    wanted: Tensor
    structure: Mapping[str, str] | None = None
    lengths: int | None = None
    other: tuple[Mapping[str, Tensor], Tensor] | None = None


def answer(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The output that a model is judged by."""
    with torch.no_grad():
        found = model(**inputs)
    return primary({key: value for key, value in found.items() if value is not None} if isinstance(found, Mapping) else found)


def build(architecture: Architecture) -> Built:
    """The network of one row, seeded; raises whatever its library raises where it cannot be built."""
    torch.manual_seed(SEED)
    model, keyword = _of_transformers(architecture) if architecture.library == "transformers" else (_of_vision(architecture), None)
    randomise(model, SEED)
    settle(model, inputs_of(model, architecture, keyword, STATISTICS))
    inputs = inputs_of(model, architecture, keyword, SAMPLES)
    return Built(model, inputs, answer(model, inputs), STRUCTURES.get(architecture.address))


def _of_vision(architecture: Architecture) -> nn.Module:
    if architecture.library == "timm":
        import timm

        return timm.create_model(architecture.name, num_classes=CLASSES, **architecture.options)
    from torchvision import models

    inception = {"aux_logits": False, "init_weights": False} if architecture.name in ("googlenet", "inception_v3") else {}
    return models.get_model(architecture.name, weights=None, num_classes=CLASSES, **inception, **architecture.options)


def _of_transformers(architecture: Architecture) -> tuple[nn.Module, str]:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as MAPPING

    key, _, apart = architecture.name.partition(".")
    classes = MAPPING[key] if isinstance(MAPPING[key], tuple) else (MAPPING[key],)
    chosen = next(name for name in classes if name.endswith(f"ForImageClassification{apart}"))
    config = transformers.CONFIG_MAPPING[key](**architecture.options)
    config.num_labels = CLASSES
    config.use_cache = False
    model = getattr(transformers, chosen)._from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model, "inputs" if key == "perceiver" else model.main_input_name


def inputs_of(model: nn.Module, architecture: Architecture, keyword: str | None, count: int) -> dict[str, Tensor]:
    """`count` samples as a model takes them: pictures, rows of patches, or colour indices."""
    x = pictures(count, 3, architecture.size, SEED + count)
    if keyword is None:
        return {next(iter(inspect.signature(model.forward).parameters)): x}
    config: Any = model.config
    if architecture.name == "siglip2":
        side = int(config.vision_config.num_patches**0.5)
        patch = config.vision_config.patch_size
        rows = nn.functional.unfold(pictures(count, 3, side * patch, SEED + count), patch, stride=patch).transpose(1, 2)
        grid = torch.full((count, 2), side)
        return {"pixel_values": rows, "pixel_attention_mask": torch.ones(rows.shape[:2], dtype=torch.long), "spatial_shapes": grid}
    if architecture.name == "shieldgemma2":
        tokens = torch.tensor(
            [3, config.boi_token_index, *[config.image_token_index] * config.mm_tokens_per_image, config.eoi_token_index, 5]
        )
        return {"input_ids": tokens.expand(count, -1).contiguous(), "pixel_values": x}
    if architecture.name == "imagegpt":
        return {"input_ids": torch.randint(0, config.vocab_size - 1, (count, config.n_positions))}
    return {keyword: x}
