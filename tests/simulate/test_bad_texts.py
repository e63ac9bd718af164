"""Texts and prompts that do not fit a network that reads: one error each, before it runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.pipeline.readers import CONTEXT, VOCABULARY, llama
from torch import Tensor

from spikeloom.calibrate import Balance
from spikeloom.capture import load
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError, DataError, UserError
from spikeloom.ir import Context, run
from spikeloom.plan import Fuse
from spikeloom.simulate import SpikingModel, filled

X = torch.randint(2, VOCABULARY, (2, 8), generator=torch.Generator().manual_seed(0))
ONES = torch.ones_like(X)
PLACES, MASK = torch.arange(8).expand(2, -1), torch.zeros(2, 1, 8, 8)
GREEDY: dict[str, Any] = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}


@pytest.fixture(scope="module")
def snn(tmp_path_factory: pytest.TempPathFactory) -> SpikingModel:
    ann = load(f"hf:{llama(tmp_path_factory.mktemp('llama'))}")
    stream = Context(lambda: [filled(ann, (X,))])
    return SpikingModel(run([Fuse(), Unfold(), Spike(levels=7), Balance()], ann, stream), ann=ann)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X + VOCABULARY, r"does not know.*allowed: 0 to 22.*tokenizer"),
        (X - VOCABULARY, r"does not know.*found: -\d+ to -\d+"),
        (X.bool(), "whole numbers.*torch.bool"),
        (X[0], r"no texts in tokens.*\(8,\)"),
        (X[None], r"no texts in tokens.*\(1, 2, 8\)"),
        (X[:, :0], r"no texts in tokens.*\(2, 0\)"),
        (X[:0], r"no texts in tokens.*\(0, 8\)"),
        (torch.rand(2, 3, 8, 8), "whole numbers.*float32"),
        (torch.zeros(1, CONTEXT + 1, dtype=torch.int64), r"longer than the model allows.*33 tokens.*at most 32"),
    ],
    ids=["above", "below", "truth values", "one row", "three axes", "empty", "no rows", "picture", "long"],
)
def test_what_is_no_text_of_the_model_is_one_error_whatever_is_asked(snn: SpikingModel, x: Tensor, said: str) -> None:
    for ask in (snn, snn.step, snn.profile, snn.audit, snn.verify_fidelity):
        with pytest.raises(DataError, match=f"(?s){said}"):
            ask(x)
    with pytest.raises(DataError):
        snn.generate(x, max_new_tokens=2, **GREEDY)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (ONES[0], r"another shape.*\(8,\).*\(2, 8\)"),
        (ONES[:, :3], r"another shape.*\(2, 3\)"),
        (MASK, r"another shape.*\(2, 1, 8, 8\)"),
        (ONES * 2, "1 and 0 alone.*16 others, such as 2"),
        (ONES * 0.5, "1 and 0 alone.*such as 0.5"),
        ((1 - ONES) - 1e9, "1 and 0 alone.*such as -1e"),
        (ONES * float("nan"), "1 and 0 alone.*such as nan"),
    ],
    ids=["one row", "short", "four axes", "two", "half", "additive", "nan"],
)
def test_a_mask_that_is_not_1_or_0_for_each_token_is_one_error(snn: SpikingModel, mask: Tensor, said: str) -> None:
    for ask in (lambda: snn(X, attention_mask=mask), lambda: snn.generate(X, attention_mask=mask, max_new_tokens=2, **GREEDY)):
        with pytest.raises(DataError, match=f"(?s){said}"):
            ask()


@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.int32])
def test_a_mask_of_any_kind_of_number_is_taken(snn: SpikingModel, kind: torch.dtype) -> None:
    real = ONES.clone()
    real[0, :3] = 0
    assert torch.equal(snn(X, attention_mask=real.to(kind)), snn(X, attention_mask=real))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((X, PLACES + CONTEXT, MASK), r"positions that the model does not have.*32 to 39.*0 to 31"),
        ((X, PLACES[:, :5], MASK), r"'position_ids' has another shape.*\(2, 5\).*\(2, 8\)"),
        ((X, PLACES, MASK[..., :7]), r"'attention_mask' has another shape.*\(2, 1, 8, 7\).*\(2, 1, 8, 8\)"),
        ((X + VOCABULARY, PLACES, MASK), "does not know"),
        ((X, PLACES), r"wrong number of inputs.*found: 2.*tokens alone, or all of input_ids, position_ids, attention_mask"),
    ],
    ids=["positions", "their shape", "mask", "tokens", "two of three"],
)
def test_a_structure_given_by_hand_must_fit_its_tokens(snn: SpikingModel, inputs: tuple[Tensor, ...], said: str) -> None:
    with pytest.raises(DataError, match=f"(?s){said}"):
        snn(*inputs)


def test_two_masks_are_one_error(snn: SpikingModel) -> None:
    assert torch.equal(snn(X, PLACES, MASK + torch.full((8, 8), -1e30).triu(1)), snn(X))
    with pytest.raises(DataError, match="beside inputs that hold one"):
        snn(X, PLACES, MASK, attention_mask=ONES)


@pytest.mark.parametrize(
    ("ask", "kind", "said"),
    [
        (lambda snn: snn.generate(X[:, :0], max_new_tokens=2), DataError, "empty prompt"),
        (lambda snn: snn.generate(max_new_tokens=2), DataError, "no tokens to go on from.*nothing"),
        (lambda snn: snn.generate("once upon", max_new_tokens=2), DataError, "found: str.*tokenizer"),
        (lambda snn: snn.generate(X, attention_mask=ONES * 0, max_new_tokens=2), DataError, "row 0 is padding alone"),
        (lambda snn: snn.generate(X, attention_mask=ONES - ONES.triu(6), max_new_tokens=2), DataError, "padded in front.*row 0"),
        (lambda snn: snn.generate(X, max_new_tokens=CONTEXT), DataError, "longer than the model allows.*8 tokens and 32 new.*32 in all"),
        (lambda snn: snn.generate(X, max_length=CONTEXT + 1), DataError, "longer than the model allows.*8 tokens and 25 new"),
        (lambda snn: snn.generate(input_ids=X, max_new_tokens=2, bananas=1), ConfigError, "refuses these options.*bananas"),
        (lambda snn: snn.generate(X, max_new_tokens=0), ConfigError, "refuses these options.*max_new_tokens"),
        (lambda snn: snn.generate(X, max_new_tokens=2, timesteps=0), ConfigError, "time steps is out of range"),
    ],
    ids=["empty", "nothing", "a string", "padding alone", "padding behind", "too many new", "too long", "option", "none new", "steps"],
)
def test_prompts_and_options_that_cannot_be_are_one_error(
    snn: SpikingModel, ask: Callable[[SpikingModel], Any], kind: type[UserError], said: str
) -> None:
    with pytest.raises(kind, match=f"(?s){said}"):
        ask(snn)


def test_without_a_mask_every_token_is_real(snn: SpikingModel) -> None:
    x = X.clone()
    x[0, 0] = 1  # the token that ends texts, and stands for padding
    alone = snn.generate(x[:1], attention_mask=ONES[:1], max_new_tokens=4, do_sample=False)
    assert torch.equal(snn.generate(x, max_new_tokens=4, do_sample=False)[0], alone[0])
