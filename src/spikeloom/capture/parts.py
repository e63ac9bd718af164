"""
Parts of transformers models that are networks of their own: two towers, an encoder, and the model beneath a head.

    hf:<folder>#text  hf:<folder>#vision     the towers of CLIP, SigLIP and their kin
    hf:<folder>#encoder                      the half of a T5, BART or Whisper that reads

Source: https://huggingface.co/docs/transformers.
"""

import os
from typing import Any

from spikeloom.capture.opened import path_of
from spikeloom.errors import SourceError

TOWERS = ("text", "vision")
_HEADS = ("MaskedLM", "PreTraining", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")


def apart(target: str) -> tuple[str, str | None]:
    """A folder or hub id, and the part named behind it; None where the whole is wanted."""
    folder, mark, part = target.rpartition("#")
    return (folder, part) if mark and not os.path.exists(path_of(target)) else (target, None)


def parts_of(model: Any) -> tuple[str, ...]:
    """The names of the parts that a model consists of and that are no inner matter of it."""
    if all(hasattr(model, f"{tower}_model") for tower in TOWERS):
        return TOWERS
    return ("encoder",) if getattr(getattr(model, "config", None), "is_encoder_decoder", False) else ()


def part_of(model: Any, part: str) -> Any:
    """A part of a model by its name. SourceError: it has none of that name."""
    allowed = parts_of(model)
    if part not in allowed:
        raise SourceError(
            f"{type(model).__name__} has no part of that name",
            found=f"#{part}",
            allowed=", ".join(f"#{name}" for name in allowed) or "none: it is one whole",
            todo="leave out what stands behind #" if not allowed else "name one of its parts",
        )
    return model.get_encoder() if part == "encoder" else getattr(model, f"{part}_model")


def beneath(model: Any) -> Any:
    """The model beneath a head that fills masks, classifies or answers: it reads texts as an encoder; any other as it is."""
    _, has_head, head = type(model).__name__.rpartition("For")
    return model.base_model if has_head and head in _HEADS else model


def ways_to(address: str, model: Any) -> str:
    """How to ask for the parts of a model that are read one at a time."""
    scheme, _, target = address.partition(":")
    if scheme == "hf":
        return "name the part: " + " or ".join(f"hf:{apart(target)[0]}#{part}" for part in parts_of(model))
    found = ("model.get_encoder()" if part == "encoder" else f"model.{part}_model" for part in parts_of(model))
    return "give the part: " + " or ".join(found)
