"""
Language models and other readers of tokens, captured so that attention stays recognisable whatever implementation a model chose.

    forward(input_ids [B, L], position_ids [B, L], attention_mask [B, 1, L, L], window_mask [B, 1, L, L])

Positions and masks (0 where a token may look, very low where not) come in from outside, and lengths vary; a model that knows its
tokens' distances alone (T5) leaves the positions unread. The same program reads a whole text at once or, with keys and values kept,
token by token. Attention runs through transformers' own interface as products, a mask added, and a softmax; neither caches nor mask
building stand in the graph. A model whose layers look through a window, all or some, says so itself: it asks the interface for its
masks, and the reader gives it the input that tells the one it asked for. DeBERTa, which asks nobody, is asked for its mask (`masked_by`).

Source: https://huggingface.co/docs/transformers/attention_interface.
"""

import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, final

import torch
from torch import Tensor, nn

from spikeloom.capture.experts import use_dense_experts
from spikeloom.errors import UnsupportedError, UserError
from spikeloom.ir import CAUSAL, MASK, POSITIONS, sight, within

ATTENTION = "spikeloom"
LENGTH = 11
"""Tokens of the example: a number that no model has as a size of its own."""
HIDDEN = -1e30
_MASKS = ("attention_mask", "window_mask")
Giver = Callable[[Callable[..., Tensor], int | None], Tensor | None]
_giver: ContextVar[Giver] = ContextVar("giver")


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention in plain operations: queries [B, H, L, D], keys and values [B, G, L, D] shared by H/G heads each; T5 and its
    kin add a bias by distance [1, H, L, L] to the scores."""
    if kwargs.get("s_aux") is not None:
        raise UnsupportedError("attention sinks are not converted yet", found=type(module).__name__)
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    return torch.matmul(weights, value).transpose(1, 2), None


def mask(*args: Any, mask_function: Callable[..., Tensor], local_size: int | None = None, **kwargs: Any) -> Tensor | None:
    """What transformers' interface calls for a mask: the one that the reader at work gives, else transformers' own."""
    from transformers.masking_utils import eager_mask

    give = _giver.get(None)
    if give is None:
        return eager_mask(*args, mask_function=mask_function, local_size=local_size, **kwargs)
    return give(mask_function, local_size)


@contextmanager
def _giving(give: Giver) -> Generator[None]:
    token = _giver.set(give)
    try:
        yield
    finally:
        _giver.reset(token)


def makes_its_mask(model: Any) -> bool:
    """Whether a model multiplies its mask out itself, beside transformers' interface, as DeBERTa does."""
    return callable(getattr(getattr(model, "encoder", None), "get_attention_mask", None))


def masked_by(own: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The mask, true where a token may look, that the reader at work gives; else the model's own."""

    def everywhere(_: int, __: int, query: Tensor, key: Tensor) -> Tensor:
        return (query >= 0) & (key >= 0)

    def asked(real: Tensor) -> Tensor:
        give = _giver.get(None)
        found = None if give is None else give(everywhere, None)
        return own(real) if found is None else found > HIDDEN / 2

    return asked


@contextmanager
def whole_span(model: Any) -> Generator[None]:
    """Inside, DeBERTa looks distances up in its whole table: the part that it cuts out by a text's length gives the same."""
    home, name = sys.modules[type(model).__module__], "compute_attention_span"
    own = getattr(home, name, None)
    if own is None:
        yield
        return
    setattr(home, name, lambda query, key, span: span)
    try:
        yield
    finally:
        setattr(home, name, own)


def seen(kind: str, distance: Tensor) -> Tensor:
    """Whether a mask lets a query look at a key so many tokens before it (below 0: behind it)."""
    mask, window = sight(kind)
    if mask == CAUSAL:
        return (distance >= 0) & (distance < (distance.max() + 1 if window is None else window))
    return distance.abs() <= (distance.abs().max() if window is None else window)


def mask_kind(sees: Callable[..., Tensor], window: int | None) -> str:
    """The mask (`ir.structure_of`) that transformers describes by a function of query and key; UnsupportedError for any other."""
    keys = torch.arange(2 * (window or 1) + 3)
    query = keys[len(keys) // 2]
    found = sees(0, 0, query, keys).expand(keys.shape)
    for kind in (within(CAUSAL, window), within(MASK, window)):
        if torch.equal(found, seen(kind, query - keys)):
            return kind
    raise UnsupportedError("attention that looks neither at all tokens, nor at earlier ones, nor through a window, is not read yet")


@final
class Reader(nn.Module):
    """
    A transformers model as a function of tokens, positions and masks alone; gives logits, or else its last hidden states.

    `masks` are the kinds of mask it takes, one or two: first that of layers without a window, where there are any. `first` is where its
    positions start. The model is in eval mode, its attention is this module's. UnsupportedError: a model that cannot be read so.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        from transformers import AttentionInterface, AttentionMaskInterface

        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, mask)
        if makes_its_mask(model):
            model.encoder.get_attention_mask = masked_by(model.encoder.get_attention_mask)
        else:
            model.set_attn_implementation(ATTENTION)
        use_dense_experts(model)
        takes = inspect.signature(model.forward).parameters
        self.model, self.first, self.is_placed = model, first_position(model), "position_ids" in takes
        asked = self._asked()
        if not 1 <= len(set(asked.values())) == len(asked) <= len(_MASKS):
            found = ", ".join(asked.values()) or "it asks for no mask"
            raise UnsupportedError(f"the masks of {type(model).__name__} cannot come from outside", found=found, allowed="one or two")
        self.masks = tuple(asked[window] for window in sorted(asked, key=lambda window: window or 0))

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, window_mask: Tensor | None = None) -> Tensor:
        """[B, L] to logits [B, L, V] (or hidden states [B, L, C])."""
        given = {sight(kind)[1]: each for kind, each in zip(self.masks, (attention_mask, window_mask), strict=False)}
        with _giving(lambda _, window: given[window]), whole_span(self.model):
            return self._read(input_ids, position_ids)

    def _read(self, tokens: Tensor, positions: Tensor) -> Tensor:
        placed = {"position_ids": positions + self.first} if self.is_placed else {}
        found = self.model(input_ids=tokens, attention_mask=torch.ones_like(positions), use_cache=False, **placed)
        return found.logits if "logits" in found else found.last_hidden_state

    def _asked(self) -> dict[int | None, str]:
        """The masks that the model asks for when it reads a text, by their windows."""
        found: dict[int | None, str] = {}

        def noted(sees: Callable[..., Tensor], window: int | None) -> Tensor:
            kind = mask_kind(sees, window)
            if found.setdefault(window, kind) != kind:
                raise UnsupportedError("a model with masks of two kinds is not read yet", found=f"{found[window]}, {kind}")
            return places.new_zeros(1, 1, 1, 1, dtype=self.model.dtype)

        places = torch.arange(2, device=self.model.device)[None]
        self.model.eval()
        try:
            with torch.no_grad(), _giving(noted):
                self._read(torch.zeros_like(places), places)
        except UserError:
            raise
        except Exception as error:  # forward() is anybody's code
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnsupportedError(f"{type(self.model).__name__} does not read tokens, positions and masks alone", found=said) from error
        return found

    @property
    def causal(self) -> bool:
        """Whether no token looks at later ones."""
        return all(sight(kind)[0] == CAUSAL for kind in self.masks)

    @property
    def structure(self) -> Mapping[str, str]:
        """What each input tells of the text's structure, by its name; these say nothing of its content."""
        return {"position_ids": POSITIONS, **dict(zip(_MASKS, self.masks, strict=False))}


def first_position(model: nn.Module) -> int:
    """Where a model's positions start: RoBERTa and its kin keep the places up to the padding token's number for padding."""
    tables = (getattr(module, "position_embeddings", None) for module in model.modules())
    padding = (table.padding_idx for table in tables if isinstance(table, nn.Embedding) and table.padding_idx is not None)
    return next(padding, -1) + 1


def mask_of(kind: str, length: int) -> Tensor:
    """The mask [L, L] of a whole text without padding: 0 where a query (row) may look at a key, `HIDDEN` where not."""
    places = torch.arange(length)
    return torch.zeros(length, length).masked_fill(~seen(kind, places[:, None] - places), HIDDEN)


def inputs_of(tokens: Tensor, structure: Mapping[str, str]) -> tuple[Tensor, ...]:
    """A reader's inputs for texts [B, L] without padding: the tokens, their positions, and the masks."""
    batch, length = tokens.shape
    positions = torch.arange(length).expand(batch, -1).contiguous()
    made = (positions if kind == POSITIONS else mask_of(kind, length).expand(batch, 1, -1, -1).contiguous() for kind in structure.values())
    return tokens, *made


def example(vocabulary: int, structure: Mapping[str, str], seed: int = 0) -> tuple[Tensor, ...]:
    """A reader's inputs for two texts of `LENGTH` random tokens."""
    return inputs_of(torch.randint(0, vocabulary, (2, LENGTH), generator=torch.Generator().manual_seed(seed)), structure)
