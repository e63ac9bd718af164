"""Readers of tokens: masks and positions from outside, whatever a model asks for, and the same answers as the model gives by itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.capture.huggingface import reading_task
from spikeloom.capture.language import HIDDEN, LENGTH, Reader, example, first_position, inputs_of, mask_kind, mask_of
from spikeloom.errors import UnsupportedError
from spikeloom.ir import CAUSAL, MASK, POSITIONS, sight, structure_of, within

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 29}
SMALL |= {"max_position_embeddings": 32, "initializer_range": 0.3}
GROUPED = {**SMALL, "num_key_value_heads": 1}
GEMMA = {**GROUPED, "head_dim": 8, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
MODERN = {**SMALL, "local_attention": 6, "global_attn_every_n_layers": 2, "pad_token_id": 0}
FAR = {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
T5 = {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 24, "vocab_size": 29}
MODELS = [
    ("T5EncoderModel", T5, (MASK,)),
    ("DebertaModel", FAR, (MASK,)),
    ("DebertaV2Model", {**FAR, "position_buckets": 4}, (MASK,)),
    ("BertModel", SMALL, (MASK,)),
    ("RobertaModel", SMALL, (MASK,)),
    ("CLIPTextModel", SMALL, (CAUSAL,)),
    ("ModernBertModel", MODERN, (MASK, "mask within 3")),
    ("LlamaForCausalLM", GROUPED, (CAUSAL,)),
    ("MistralForCausalLM", {**GROUPED, "sliding_window": 3}, ("causal mask within 3",)),
    ("Gemma2ForCausalLM", GEMMA, (CAUSAL, "causal mask within 3")),
]


def model(name: str, options: dict[str, Any]) -> Any:
    """A small random model of transformers, in eval mode."""
    import transformers

    torch.manual_seed(0)
    chosen = getattr(transformers, name)
    return chosen._from_config(chosen.config_class(**options), attn_implementation="eager", dtype=torch.float32).eval()


def texts(length: int) -> Tensor:
    return torch.randint(3, 29, (2, length), generator=torch.Generator().manual_seed(length))


@torch.no_grad()
def answer(asked: Any, tokens: Tensor) -> Tensor:
    found = asked(input_ids=tokens)
    return found.logits if "logits" in found else found.last_hidden_state


@pytest.mark.parametrize(("name", "options", "masks"), MODELS, ids=[name for name, _, _ in MODELS])
def test_a_captured_reader_gives_what_the_model_gives_at_any_length(name: str, options: dict[str, Any], masks: tuple[str, ...]) -> None:
    built = model(name, options)
    assert reading_task(built) is not None
    wanted = {length: answer(built, texts(length)) for length in (LENGTH, 7)}
    reader = Reader(built)
    assert reader.masks == masks
    assert reader.causal == all(mask.startswith(CAUSAL) for mask in masks)
    program = capture(reader, example(29, reader.structure), structure=reader.structure, lengths=LENGTH)
    kinds = [structure_of(node) for node in program.graph.nodes if node.op == "placeholder"]
    assert kinds == [None, POSITIONS, *masks]
    for length, expected in wanted.items():
        found = program.module()(*inputs_of(texts(length), reader.structure))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "options"), [row[:2] for row in MODELS[:3]], ids=[name for name, _, _ in MODELS[:3]])
def test_what_a_mask_hides_changes_nothing_by_distance_either(name: str, options: dict[str, Any]) -> None:
    built = model(name, options)
    real = torch.tensor([[1] * 5 + [0] * 4] * 2)
    with torch.no_grad():
        wanted = built(input_ids=texts(9), attention_mask=real).last_hidden_state[:, :5]
        reader = Reader(built)
        tokens, positions, mask = inputs_of(texts(9), reader.structure)
        found = reader(tokens, positions, mask.masked_fill(real[:, None, None] == 0, HIDDEN))[:, :5]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_window_hides_what_lies_farther_back() -> None:
    reader = Reader(model("MistralForCausalLM", {**GROUPED, "sliding_window": 3, "num_hidden_layers": 1}))
    tokens = texts(8)
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 29
    with torch.no_grad():
        moved = (reader(*inputs_of(tokens, reader.structure)) - reader(*inputs_of(changed, reader.structure))).abs().amax((0, 2)) > 1e-6
    assert moved.tolist() == [False] * 4 + [True] * 3 + [False]


def test_positions_start_behind_the_padding_where_a_model_counts_so() -> None:
    assert first_position(model("RobertaModel", {**SMALL, "pad_token_id": 1})) == 2
    assert first_position(model("BertModel", SMALL)) == 0


def test_masks_of_whole_texts() -> None:
    look = {kind: (mask_of(kind, 4) == 0).int().tolist() for kind in (CAUSAL, MASK, within(CAUSAL, 2), within(MASK, 1))}
    assert look[CAUSAL] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert look[MASK] == [[1] * 4] * 4
    assert look[within(CAUSAL, 2)] == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert look[within(MASK, 1)] == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert mask_of(CAUSAL, 2)[0, 1] == HIDDEN


@pytest.mark.parametrize("kind", [CAUSAL, MASK, "causal mask within 12", "mask within 4"])
def test_a_mask_and_its_window_come_apart_again(kind: str) -> None:
    assert within(*sight(kind)) == kind


@pytest.mark.parametrize("window", [None, 1, 5])
def test_transformers_masks_are_told_from_what_they_let_see(window: int | None) -> None:
    from transformers import masking_utils as known

    causal = known.causal_mask_function if window is None else known.sliding_window_causal_mask_function(window)
    both = known.bidirectional_mask_function if window is None else known.sliding_window_bidirectional_mask_function(window)
    assert mask_kind(causal, window) == within(CAUSAL, window)
    assert mask_kind(both, window) == within(MASK, window)


def test_attention_in_chunks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="neither at all tokens, nor at earlier ones"):
        mask_kind(lambda _, __, query, key: (query // 2 == key // 2) & (key <= query), None)


class Deaf(nn.Module):
    """A model that asks for no mask."""

    device, dtype = torch.device("cpu"), torch.float32

    def set_attn_implementation(self, _: str) -> None:
        """Nothing to set."""

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        """Hidden states."""
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=input_ids[..., None].float())


def test_a_model_that_asks_for_no_mask_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="masks of Deaf cannot come from outside"):
        Reader(Deaf())


def test_a_model_that_fails_on_tokens_alone_is_refused() -> None:
    class Broken(Deaf):
        def forward(self, input_ids: Tensor, **_: Any) -> Any:
            raise ValueError("needs pictures")

    with pytest.raises(UnsupportedError, match="Broken does not read tokens, positions and masks alone"):
        Reader(Broken())


def test_the_model_still_makes_its_own_masks_outside_of_the_reader() -> None:
    built = model("LlamaForCausalLM", GROUPED)
    wanted = answer(built, texts(6))
    Reader(built)
    torch.testing.assert_close(answer(built, texts(6)), wanted)
