"""
How a model reads texts: with which tokenizer, how many tokens at once, and what a text begins with.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from spikeloom.errors import ConfigError

Unit = Literal["blocks", "sentences"]

LENGTH = 256
"""Tokens read at once where nobody says, and the model allows as many."""


@final
@dataclass(frozen=True)
class Reading:
    """
    How a model reads texts.

    tokenizer: the folder that holds tokenizer.json; None where the model has none, which is an error when a text is read.
    length: tokens of a block, or the most of a sentence; None takes LENGTH, or `context` where that is less.
    unit: 'blocks' cuts the text into blocks of `length` tokens, 'sentences' takes every line as it is.
    context: the most tokens the model takes; vocabulary: how many tokens it knows; bos: the token a document starts with. None: not known.

    ConfigError where `length` is not possible.
    """

    tokenizer: Path | None
    length: int | None = None
    unit: Unit = "blocks"
    context: int | None = None
    vocabulary: int | None = None
    bos: int | None = None

    def __post_init__(self) -> None:
        most = self.context if self.context is not None else "any number"
        if self.length is not None and (self.length < 2 or (self.context is not None and self.length > self.context)):
            raise ConfigError("text.length cannot be used with this model", found=self.length, allowed=f"2 to {most} tokens")

    @property
    def tokens(self) -> int:
        """The tokens of a block, or the most of a sentence."""
        return self.length if self.length is not None else min(LENGTH, self.context or LENGTH)
