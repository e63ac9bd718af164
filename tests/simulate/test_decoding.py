"""Decoding token by token, writing texts, the structure of texts, and the audit, on a tiny random Llama in spikes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.readers import CONTEXT, VOCABULARY, llama

from spikeloom.calibrate import Balance
from spikeloom.capture import capture, load
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import DataError, ProgramError
from spikeloom.ir import CAUSAL, Context, Program, run, within
from spikeloom.plan import Fuse
from spikeloom.simulate import Decoder, SpikingModel, filled
from spikeloom.simulate.structure import HIDDEN, mask, positions


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return load(f"hf:{llama(tmp_path_factory.mktemp('llama'))}")


def tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def program(ann: Program) -> Program:
    stream = Context(lambda: [filled(ann, (tokens(16, 20, 1),))])
    return run([Fuse(), Unfold(), Spike(levels=15), Balance()], ann, stream)


@pytest.mark.parametrize("timesteps", [1, 2])
def test_a_text_read_in_parts_gives_what_it_gives_at_once(program: Program, timesteps: int) -> None:
    x, decoder = tokens(3, 12), Decoder(program, timesteps)
    kept, parts = decoder.start(3), list[torch.Tensor]()
    for part in x.split([5, 1, 6], 1):
        logits, kept = decoder.read(part, kept)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), SpikingModel(program, timesteps=timesteps)(x), atol=1e-6, rtol=0)


def test_written_texts_are_those_of_full_recomputation(program: Program) -> None:
    snn = SpikingModel(program)
    x = now = tokens(2, 4)
    written = snn.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    for _ in range(12):
        now = torch.cat([now, snn(now)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(written, now)


def test_padding_in_front_and_other_texts_beside_change_nothing(program: Program) -> None:
    snn, x = SpikingModel(program), tokens(1, 4)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    alone = snn.generate(x, attention_mask=torch.ones_like(x), **options)
    padded = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.int64), x], 1), tokens(1, 7, 5)])
    real = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1] * 7])
    assert torch.equal(snn.generate(padded, attention_mask=real, **options)[0, 3:], alone[0])


def test_sampling_is_driven_by_the_seed(program: Program) -> None:
    snn, x = SpikingModel(program), tokens(1, 4)
    options = {"attention_mask": torch.ones_like(x), "max_new_tokens": 10, "do_sample": True, "eos_token_id": None, "pad_token_id": 0}
    drawn: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(snn.generate(x, **options))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_spiking_text_follows_the_ann_at_many_levels(ann: Program) -> None:
    x, errors = tokens(8, 16, 3), list[float]()
    stream = Context(lambda: [filled(ann, (x,))])
    exact = ann.module()(*filled(ann, (x,)))
    for levels in (15, 255):
        made = run([Fuse(), Unfold(), Spike(levels=levels), Balance(method="maximum")], ann, stream)
        errors.append(float((SpikingModel(made)(x) - exact).norm() / exact.norm()))
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 4


def test_masks_hide_what_comes_later_padding_and_what_is_out_of_the_window() -> None:
    real = torch.tensor([[0, 1, 1, 1]])
    seen = mask(real, 2, CAUSAL)[0, 0] == 0
    assert seen.tolist() == [[False, True, True, False], [False, True, True, True]]
    near = mask(torch.ones(1, 4, dtype=torch.int64), 4, within(CAUSAL, 2))[0, 0]
    assert (near == 0).tolist() == [[k in (q, q - 1) for k in range(4)] for q in range(4)]
    assert near.min() == HIDDEN
    assert positions(real).tolist() == [[0, 0, 1, 2]]


def test_the_audit_finds_spikes_on_every_edge_and_floating_exceptions(ann: Program, program: Program) -> None:
    found = SpikingModel(program).audit(tokens(4, 20))
    assert found.all_spiking
    assert {row.allowed for row in found.rows if row.operation == "matmul"} == {31}
    assert found.populations["exp"] == 2
    assert found.running_means
    assert found.nonlinear_share == 1.0
    assert not any("spike_linear" in name for name in found.nonlinear)
    stream = Context(lambda: [filled(ann, (tokens(16, 20, 1),))])
    kept = run([Fuse(), Spike(levels=15), Balance()], ann, stream)  # nothing unfolded: softmax stays
    floating = SpikingModel(kept).audit(tokens(4, 20))
    assert not floating.all_spiking
    assert any("softmax" in line for line in floating.floating)
    assert 0 < floating.nonlinear_share < 1


def test_an_edge_with_too_many_values_is_named(program: Program) -> None:
    from spikeloom.simulate.audit import most_values
    from spikeloom.simulate.fidelity import populations

    node = next(node for node in populations(program) if node.kwargs["function"] == "identity")
    assert most_values(node, program, torch.randn(2, 2, 50, 8)[:, : node.meta["spec"][0][1]]) > 31


@pytest.mark.parametrize(
    ("x", "given", "said"),
    [
        (torch.zeros(1, CONTEXT + 1, dtype=torch.int64), None, "longer than the model allows"),
        (torch.full((1, 4), VOCABULARY), None, "does not know"),
        (torch.zeros(1, 4), None, "whole numbers"),
        (torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 5), "mask has another shape"),
    ],
    ids=["too long", "unknown", "floats", "mask"],
)
def test_texts_that_do_not_fit_are_one_error(program: Program, x: torch.Tensor, given: torch.Tensor | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        SpikingModel(program)(x, attention_mask=given)


def test_a_text_that_outgrows_the_model_while_it_is_written_is_one_error(program: Program) -> None:
    with pytest.raises(DataError, match="longer than the model allows"):
        SpikingModel(program).generate(tokens(1, 4), max_new_tokens=CONTEXT, do_sample=False, eos_token_id=None, pad_token_id=0)


def test_a_generation_configuration_is_asked_for_how_long_the_text_will_be(program: Program) -> None:
    from transformers import GenerationConfig

    asked = GenerationConfig(max_new_tokens=CONTEXT, do_sample=False, pad_token_id=0)
    with pytest.raises(DataError, match=f"(?s)longer than the model allows.*4 tokens and {CONTEXT} new ones"):
        SpikingModel(program).generate(tokens(1, 4), generation_config=asked)


def test_whether_transformers_keeps_a_cache_changes_nothing(program: Program) -> None:
    from transformers import GenerationConfig

    snn, options = SpikingModel(program), {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    wanted = snn.generate(tokens(1, 4), **options)
    assert torch.equal(snn.generate(tokens(1, 4), **options, use_cache=True), wanted)
    assert torch.equal(snn.generate(tokens(1, 4), generation_config=GenerationConfig(**options, use_cache=True)), wanted)


SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SIZES |= {"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "initializer_range": 0.3, "pad_token_id": 0}
SIZES |= {"bos_token_id": 0, "eos_token_id": 1}
GROUPED = {**SIZES, "num_key_value_heads": 1}
WRITERS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {**SIZES, "n_inner": 24},
    "OPTForCausalLM": {**SIZES, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "GPTNeoXForCausalLM": SIZES,
    "MistralForCausalLM": {**GROUPED, "sliding_window": 3},
    "Gemma2ForCausalLM": {**GROUPED, "head_dim": 8, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_family_writes_with_what_it_kept_what_it_writes_without(name: str) -> None:
    import transformers

    chosen = getattr(transformers, name)
    torch.manual_seed(0)
    made = load(chosen(chosen.config_class(**WRITERS[name])).eval())
    stream = Context(lambda: [filled(made, (tokens(8, 12, 1),))])
    snn = SpikingModel(run([Fuse(), Unfold(), Spike(levels=15), Balance()], made, stream))
    x = now = tokens(2, 4)
    for _ in range(6):
        now = torch.cat([now, snn(now)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(snn.generate(x, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0), now)


def test_only_causal_models_write(tmp_path: Path) -> None:
    from tests.simulate.networks import ann as other
    from tests.simulate.networks import unbalanced

    with pytest.raises(ProgramError, match="only a causal language model"):
        Decoder(unbalanced(other("linear")), 1)


def test_values_split_into_several_stay_spikes() -> None:
    """GPT-2 makes queries, keys and values in one layer, and splits its result."""

    class Split(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            query, key, value = self.layer(x).split(4, -1)
            return (query @ key.transpose(1, 2)).softmax(-1) @ value

    x = torch.randn(8, 5, 4, generator=torch.Generator().manual_seed(0))
    made = run([Fuse(), Unfold(), Spike(levels=7), Balance()], capture(Split().eval(), (x,)), Context(lambda: [(x,)]))
    assert SpikingModel(made).audit(x).all_spiking
