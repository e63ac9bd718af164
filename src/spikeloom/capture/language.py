"""
Language models and other readers of tokens, captured so that attention stays recognisable whatever implementation a model chose.

    forward(input_ids [B, L], position_ids [B, L], attention_mask [B, 1, L, L])

Positions and the mask (0 where a token may look, very low where not) come in from outside, and lengths vary: the same program reads
a whole text at once or, with keys and values kept, token by token. Attention runs through transformers' own interface as products,
a mask added, and a softmax; neither caches nor mask building stand in the graph.

Source: https://huggingface.co/docs/transformers/attention_interface.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from spikeloom.errors import UnsupportedError
from spikeloom.ir import CAUSAL, MASK, POSITIONS

ATTENTION = "spikeloom"
LENGTH = 11
"""Tokens of the example: a number that no model has as a size of its own."""


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention in plain operations: queries [B, H, L, D], keys and values [B, G, L, D] shared by H/G heads each."""
    if kwargs.get("s_aux") is not None:
        raise UnsupportedError("attention sinks are not converted yet", found=type(module).__name__)
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    return torch.matmul(weights, value).transpose(1, 2), None


@final
class Reader(nn.Module):
    """A transformers model as a function of tokens, positions and a mask alone; gives logits, or else its last hidden states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import eager_mask

        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, eager_mask)
        model.set_attn_implementation(ATTENTION)
        self.model = model
        self.causal = bool(getattr(model.config, "is_decoder", False)) or type(model).__name__.endswith(("CausalLM", "LMHeadModel"))

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, L] to logits [B, L, V] (or hidden states [B, L, C])."""
        found = self.model(input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, use_cache=False)
        return found.logits if "logits" in found else found.last_hidden_state

    @property
    def structure(self) -> Mapping[str, str]:
        """What each input tells of the text's structure, by its name; these say nothing of its content."""
        return {"position_ids": POSITIONS, "attention_mask": CAUSAL if self.causal else MASK}


def example(vocabulary: int, causal: bool, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two texts of `LENGTH` random tokens, their positions, and the mask."""
    tokens = torch.randint(0, vocabulary, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(2, 1, LENGTH, LENGTH)
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    return tokens, torch.arange(LENGTH).expand(2, -1).contiguous(), mask.masked_fill(hidden, -1e30) if causal else mask
