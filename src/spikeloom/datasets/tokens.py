"""
Tokens that a user has in memory, as batches: a `Text`, a tensor [n, l] of whole numbers, what a tokenizer gives for several texts, or an
iterable of such batches.

An item of an iterable may be a tensor [b, l], the first of a pair, or a mapping with `input_ids` and, where texts are filled up with
padding, `attention_mask` (1 for tokens, 0 for padding), as tokenizers and data loaders give them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from spikeloom.datasets.text import Text
from spikeloom.errors import DataError

Tokens = tuple[Int64[Tensor, "b l"], Shaped[Tensor, "b l"]]
"""Tokens, and 1 where one is real and 0 where it is padding, as it was given."""

TOKENISE = 'tokens come from the model\'s tokenizer: tokenizer(texts, return_tensors="pt", padding=True)'
"""What to do with texts that are no tokens yet."""


def holds_tokens(data: Any) -> bool:
    """Whether data that can be read more than once are tokens: a text, or whole numbers in two dimensions."""
    if isinstance(data, Text):
        return True
    if isinstance(data, Tensor):
        return data.dim() == 2 and not data.is_floating_point()
    if isinstance(data, Mapping):
        return "input_ids" in data
    first = next(iter(data), None) if isinstance(data, Iterable) and not isinstance(data, str) else None
    if isinstance(first, Mapping):
        return "input_ids" in first
    found = _first(first)
    return isinstance(found, Tensor) and not found.is_floating_point() and found.dim() == 2


def token_batches(data: Text | Tensor | Mapping[str, Any] | Iterable[Any], limit: int | None = None, size: int = 64) -> Iterator[Tokens]:
    """Batches of tokens, at most `limit` rows in all. DataError, when the batch is asked for, where nothing comes or an item is none."""
    items, left, came = _items(data, size), limit, False
    while left is None or left > 0:  # the item after the last one needed is not asked for
        found = next(items, None)
        if found is None:
            break
        tokens, real = found
        if tokens.numel():
            came = True
            yield tokens[:left], real[:left]
        left = None if left is None else left - len(tokens)
    if not came:
        raise DataError("the tokens given are empty", found="no text with a token in it", todo="give at least one")


def _items(data: Text | Tensor | Mapping[str, Any] | Iterable[Any], size: int) -> Iterator[Tokens]:
    if isinstance(data, Text):
        given: Iterable[Any] = data.batches(size)
    elif isinstance(data, Tensor):
        given = data.split(size)
    else:
        given = [data] if isinstance(data, Mapping) else data
    for item in given:
        tokens = _tokens(item.get("input_ids") if isinstance(item, Mapping) else _first(item))
        real = item.get("attention_mask") if isinstance(item, Mapping) else None
        real = torch.ones_like(tokens) if real is None else torch.as_tensor(real)
        if real.shape != tokens.shape:
            raise DataError("the attention mask has another shape than the tokens", found=tuple(real.shape), allowed=tuple(tokens.shape))
        yield tokens, real


def _first(item: Any) -> Any:
    return item[0] if isinstance(item, Sequence) and not isinstance(item, str) and item else item


def _tokens(value: Any) -> Int64[Tensor, "b l"]:
    if not isinstance(value, Tensor) or value.dim() != 2 or value.is_floating_point():
        found = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        allowed = "tokens, whole numbers [batch, length]; mappings with input_ids; or the address of a text, text:<file>"
        raise DataError("this model reads texts", found=found, allowed=allowed, todo=TOKENISE)
    return value.detach().to(torch.int64)
