"""
A model's tokenizer: the file tokenizer.json beside it, read by the library `tokenizers`. No code from that folder ever runs.

Source: https://huggingface.co/docs/tokenizers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from spikeloom.datasets.optional import require
from spikeloom.errors import DataError

FILE = "tokenizer.json"
MOST_UNKNOWN = 0.5
"""The share of a text's tokens, from which on that are unknown, it is not the model's language."""


@final
class Tokenizer:
    """The tokenizer in a folder. DataError where there is none that can be read; ResourceError where the library is missing."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not (folder / FILE).is_file():
            found = "the model has none beside it" if folder is None else f"no {FILE} in {folder}"
            raise DataError("a text cannot be read without a tokenizer", found=found, todo=f"save the model's {FILE} in the model's folder")
        library = require("tokenizers", "hf")
        try:
            self.inner: Any = library.Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library raises plain exceptions
            raise DataError(f"{folder / FILE} is no tokenizer", found=str(error), todo="fetch or save the model again") from error
        self.inner.no_padding()

    def read(self, texts: Sequence[str], longest: int | None = None) -> list[list[int]]:
        """The tokens of each text: all of them and nothing else, or with `longest` as the model was trained on single texts, with the
        tokens that stand around one and cut to that many. DataError where a text holds what the tokenizer has no token for."""
        if longest is None:
            self.inner.no_truncation()
        else:
            self.inner.enable_truncation(longest)
        return encoded(self.inner, texts, around=longest is not None)


def encoded(inner: Any, texts: Sequence[str], *, around: bool) -> list[list[int]]:
    """The tokens of each text by a tokenizer of the library `tokenizers`; `around`: with those that stand around a single text.

    DataError where a text holds what it has no token for, or where most of them are that for unknown words.
    """
    try:
        made = inner.encode_batch(list(texts), add_special_tokens=around)
    except Exception as error:  # the library raises plain exceptions
        raise DataError(
            "the text holds what the tokenizer has no token for", found=str(error), todo="give a text in the model's own alphabet"
        ) from error
    unknown = unknown_token(inner)
    strange = 0 if unknown is None else sum(_unknown(found, text, unknown) for found, text in zip(made, texts, strict=True))
    tokens = sum(len(found.ids) for found in made)
    if strange > MOST_UNKNOWN * tokens:
        raise DataError(
            "the tokenizer does not know most of the text",
            found=f"{strange:,} of {tokens:,} tokens stand for unknown words",
            allowed="half of them at most",
            todo="give a text in the model's own language and alphabet",
        )
    return [found.ids for found in made]


def unknown_token(inner: Any) -> int | None:
    """The token that a tokenizer of the library `tokenizers` gives for what it does not know; None where it has none."""
    if not hasattr(inner.model, "unk_token"):  # a unigram model tells it in its file alone
        return json.loads(inner.to_str())["model"].get("unk_id")
    return None if inner.model.unk_token is None else inner.token_to_id(inner.model.unk_token)


def _unknown(found: Any, text: str, unknown: int) -> int:
    """How many of a text's tokens are the one for unknown words, and not that very word."""
    if found.ids.count(unknown) <= MOST_UNKNOWN * len(found.ids):
        return found.ids.count(unknown)
    meant = (
        token == unknown and end > start and text[start:end] != word
        for token, word, (start, end) in zip(found.ids, found.tokens, found.offsets, strict=True)
    )
    return sum(meant)
