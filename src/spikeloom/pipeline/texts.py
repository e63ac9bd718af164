"""
Texts as networks take them: tokens, their positions and the mask, for models that read.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from spikeloom import datasets
from spikeloom.datasets import Reading, Text
from spikeloom.datasets.reading import Unit
from spikeloom.datasets.splits import Wanted
from spikeloom.errors import ConfigError
from spikeloom.ir import Program
from spikeloom.pipeline.evaluation import Batch
from spikeloom.pipeline.samples import Samples
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.task import Facts
from spikeloom.simulate import filled

TOKENS_AT_ONCE = 4096
"""Tokens, over all steps, that run through a network at once, however many samples were asked for …"""
OUTPUTS_AT_ONCE = 2**26
"""… and how many numbers may come out of it."""


def structure(program: Program, tokens: Int64[Tensor, "b l"], real: Shaped[Tensor, "b l"] | None = None) -> tuple[Tensor, ...]:
    """A program's inputs for tokens, of which `real` (None: all) says with 1 and 0 which are padding: tokens, positions and mask in the
    program's own order. Raises DataError for more tokens than the model takes, or others than it knows."""
    return filled(program, (tokens,), real)


def reading_of(facts: Facts, settings: Settings, unit: Unit) -> Reading:
    """How a model reads. Raises ConfigError for a length it does not allow."""
    folder, length = facts.get("tokenizer"), settings.length if settings.length is not None else facts.get("length")
    return Reading(None if folder is None else Path(folder), length, unit, facts.get("context"), facts.get("vocabulary"), facts.get("bos"))


def samples_of(text: Text, program: Program, note: str = "") -> Samples:
    """The rows of a text as a program takes them."""

    def read(size: int, limit: int | None) -> Iterator[Batch]:
        for tokens in text.batches(size, limit):
            yield structure(program, tokens), None

    return Samples(len(text), read, None, note or text.note)


def facts_for(unit: Unit) -> Callable[[Facts, Settings], dict[str, Any]]:
    """What is kept with a program that reads in this unit: the length that was read."""
    return lambda facts, settings: {"length": reading_of(facts, settings, unit).tokens}


def checks_for(unit: Unit) -> Callable[[Facts, Settings], None]:
    """A check of what was asked of a model that reads in this unit; a UserError where it cannot be done, before any work."""

    def check(facts: Facts, settings: Settings) -> None:
        refused = {"training.enable": settings.train, "evaluation.early_exit": settings.early_exit, "preprocessing": settings.preprocessing}
        for key, given in refused.items():
            if given:
                raise ConfigError(f"{key} is for classifiers of pictures", found=given, allowed="nothing, for a model that reads texts")
        datasets.load_text(settings.dataset, "test", reading_of(facts, settings, unit), limit=1)

    return check


def samples_for(unit: Unit) -> Callable[[str, Wanted, Program, Settings, int | None], Samples]:
    """What opens an address as rows of a text in this unit."""

    def samples(address: str, split: Wanted, program: Program, settings: Settings, limit: int | None) -> Samples:
        reading = reading_of(program.settings, settings, unit)
        text = datasets.load_text(address, split, reading, limit=limit, seed=settings.seed)
        one = f"one inference reads {reading.tokens} tokens" if unit == "blocks" else f"a sentence has {reading.tokens} tokens at most"
        return samples_of(text, program, f"{text.note}; {one}")

    return samples


def at_once(program: Program, batch_size: int, timesteps: int) -> int:
    """As many rows as are asked for, unless they are so long, or the vocabulary is so large, that memory would suffer."""
    length = int(program.settings.get("length") or datasets.Reading(None, context=program.settings.get("context")).tokens)
    wide = length * timesteps * int(program.settings.get("vocabulary") or 1)
    return max(1, min(batch_size * 4 // timesteps, TOKENS_AT_ONCE // (length * timesteps), OUTPUTS_AT_ONCE // wide))


def real_tokens(tokens: Int64[Tensor, "b l"], real: Tensor | None) -> Tensor:
    """Which tokens are no padding, as true and false [b, l]."""
    return torch.ones_like(tokens, dtype=torch.bool) if real is None else real.bool()
