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
    not given. Inputs of other programs are as they came. Raises DataError for tokens, or a structure, that do not fit the model."""
    kinds = [structure_of(node) for node in program.graph.nodes if node.op == "placeholder"]
    if not any(kinds):
        if attention_mask is not None:
            raise DataError("this model takes no attention mask", found=f"{len(inputs)} inputs", allowed="its inputs alone")
        return tuple(inputs)
    if len(inputs) not in (1, len(kinds)):
        raise DataError("wrong number of inputs", found=len(inputs), allowed=f"tokens alone, or all of {_named(program)}")
    check_tokens(program, inputs[0], attention_mask)
    if len(inputs) == 1:
        real = torch.ones_like(inputs[0]) if attention_mask is None else attention_mask
        return structured(kinds, inputs[0], real.to(torch.int64))
    if attention_mask is not None:
        todo = f"give the tokens alone: the mask [batch, length] says which are padding, and {_named(program)} are made from it"
        raise DataError("an attention mask beside inputs that hold one", found=f"{len(inputs)} inputs", allowed="tokens alone", todo=todo)
    _check_structure(program, kinds, inputs)
    return tuple(inputs)


def check_tokens(program: Program, tokens: Tensor, attention_mask: Tensor | None) -> None:
    """Raises DataError for what is no text [B, L], or one that is too long, tokens the model does not know, or a mask that does not fit
    them."""
    context, vocabulary = program.settings.get("context"), program.settings.get("vocabulary")
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise DataError("tokens are whole numbers", found=str(tokens.dtype), allowed="int64", todo="give what the model's tokenizer gives")
    if tokens.dim() != 2 or not tokens.numel():
        found = f"shape {tuple(tokens.shape)}"
        raise DataError("these are no texts in tokens", found=found, allowed="[batch, length], each 1 or more")
    if context is not None and tokens.shape[1] > context:
        found = f"{tokens.shape[1]} tokens"
        raise DataError("the text is longer than the model allows", found=found, allowed=f"at most {context}", todo="cut it into parts")
    if vocabulary is not None and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        found, todo = f"{int(tokens.min())} to {int(tokens.max())}", "take the tokenizer that the model was trained with"
        raise DataError("tokens the model does not know", found=found, allowed=f"0 to {vocabulary - 1}", todo=todo)
    if attention_mask is not None:
        check_mask(attention_mask, tokens)


def check_mask(real: Tensor, tokens: Tensor) -> None:
    """Raises DataError for an attention mask that is not 1 or 0 for each of the tokens."""
    if real.shape != tokens.shape:
        raise DataError("the attention mask has another shape than the tokens", found=tuple(real.shape), allowed=tuple(tokens.shape))
    strange = real[(real != 0) & (real != 1)]
    if len(strange):
        found = f"{len(strange)} others, such as {strange[0].item():g}"
        raise DataError("an attention mask holds 1 and 0 alone", found=found, allowed="1 where a token is real, 0 where it is padding")


def _check_structure(program: Program, kinds: Sequence[str | None], inputs: Sequence[Tensor]) -> None:
    """Raises DataError for positions or masks, given by hand, that are not of the tokens' length or stand outside of the model's."""
    (batch, length), context = inputs[0].shape, program.settings.get("context")
    for spec, kind, value in zip(program.inputs, kinds, inputs, strict=True):
        allowed = (batch, length) if kind in (None, POSITIONS) else (batch, 1, length, length)
        if tuple(value.shape) != allowed:
            found = tuple(value.shape)
            raise DataError(f"input '{spec.name}' has another shape than its tokens have", found=found, allowed=allowed)
        if kind == POSITIONS and context is not None and not 0 <= int(value.min()) <= int(value.max()) < context:
            found = f"{int(value.min())} to {int(value.max())}"
            raise DataError("positions that the model does not have", found=found, allowed=f"0 to {context - 1}")


def _named(program: Program) -> str:
    return ", ".join(spec.name for spec in program.inputs)
