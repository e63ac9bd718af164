"""
The structure of a text: where its tokens stand, and which may look at which. A program that reads tokens takes both as inputs.

    position of a token     how many real tokens stand before it in its row
    mask [B, 1, Q, K]       0 where query q may look at key k, `HIDDEN` where k is padding, comes after q in a causal text, or
                            lies outside of the window that a mask `within` W tokens leaves
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from spikeloom.errors import DataError
from spikeloom.ir import CAUSAL, POSITIONS, Program, sight, structure_of

HIDDEN = -1e30


def positions(real: Int64[Tensor, "b l"]) -> Int64[Tensor, "b l"]:
    """The position of every token; `real` is 1 for tokens and 0 for padding. Padding in front stands at 0."""
    return (real.cumsum(1) - 1).clamp_min(0)


def mask(real: Int64[Tensor, "b k"], queries: int, kind: str) -> Float[Tensor, "b 1 q k"]:
    """The mask of the last `queries` tokens, of a kind (`ir.structure_of`). A query that may look at nothing (padding) looks at itself."""
    sort, window = sight(kind)
    keys = real.shape[1]
    places = torch.arange(keys, device=real.device)
    distance = places[keys - queries :, None] - places
    near = torch.ones_like(distance, dtype=torch.bool)
    if sort == CAUSAL:
        near = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
    elif window is not None:
        near = distance.abs() <= window
    seen = (real > 0)[:, None, None, :] & near | (distance == 0)
    return torch.zeros(seen.shape, device=real.device).masked_fill(~seen, HIDDEN)


def structured(kinds: Sequence[str | None], tokens: Tensor, real: Tensor) -> tuple[Tensor, ...]:
    """The inputs of a reader of tokens in its order: the tokens themselves [B, L] where the kind is None, and their structure; `real`
    [B, K] covers what was read before, too."""
    count = tokens.shape[1]
    made = {None: lambda _: tokens, POSITIONS: lambda _: positions(real)[:, real.shape[1] - count :]}
    return tuple(made.get(kind, lambda kind: mask(real, count, kind))(kind) for kind in kinds)


def filled(program: Program, inputs: Sequence[Tensor], attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
    """A program's inputs with those that tell structure made from the tokens [B, L] (and a mask [B, L] of 1 and 0) where they are
    not given. Inputs of other programs are as they came. Raises DataError for a mask of another shape, and for too many tokens."""
    kinds = [structure_of(node) for node in program.graph.nodes if node.op == "placeholder"]
    if len(inputs) == len(kinds) or not any(kinds) or not inputs or inputs[0].dim() != 2:
        if attention_mask is not None:
            raise DataError("this model takes no attention mask", found=f"{len(inputs)} inputs", allowed="tokens alone")
        return tuple(inputs)
    tokens = inputs[0]
    check_tokens(program, tokens, attention_mask)
    real = torch.ones_like(tokens) if attention_mask is None else attention_mask.to(torch.int64)
    return structured(kinds, tokens, real)


def check_tokens(program: Program, tokens: Tensor, attention_mask: Tensor | None) -> None:
    """Raises DataError for a text that is too long, tokens the model does not know, or a mask that does not fit them."""
    context, vocabulary = program.settings.get("context"), program.settings.get("vocabulary")
    if context is not None and tokens.shape[1] > context:
        raise DataError("the text is longer than the model allows", found=f"{tokens.shape[1]} tokens", allowed=f"at most {context}")
    if tokens.is_floating_point():
        raise DataError("tokens are whole numbers", found=str(tokens.dtype), allowed="int64")
    if vocabulary is not None and tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        found = f"{int(tokens.min())} to {int(tokens.max())}"
        raise DataError("tokens the model does not know", found=found, allowed=f"0 to {vocabulary - 1}")
    if attention_mask is not None and attention_mask.shape != tokens.shape:
        raise DataError(
            "the attention mask has another shape than the tokens", found=tuple(attention_mask.shape), allowed=tuple(tokens.shape)
        )
