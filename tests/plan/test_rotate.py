"""Rotation: outputs stay as they are, outliers spread, and what cannot be rotated is left and named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, captured
from tests.plan.networks import Block
from torch import Tensor, nn

from conftest import shared_data
from spikeloom import capture as captures
from spikeloom.capture import capture
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, calls, run, text, verify
from spikeloom.plan import Fuse, Rotate
from spikeloom.simulate import primary
from spikeloom.simulate.fidelity import Recorder

SIZES: dict[str, Any] = {"vocab_size": 60, "hidden_size": 48, "intermediate_size": 84, "num_hidden_layers": 2, "num_attention_heads": 6}
LLAMA: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64, "use_cache": False}
NAMES: dict[str, tuple[str, dict[str, Any], int, int]] = {  # the class of transformers, its sizes, streams and heads that can be rotated
    "Llama": ("LlamaForCausalLM", LLAMA, 1, 2),
    "Llama by fused attention": ("LlamaForCausalLM", {**LLAMA, "attn_implementation": "sdpa"}, 1, 2),
    "Llama, tied": ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True}, 1, 2),
    "Qwen2": ("Qwen2ForCausalLM", LLAMA, 1, 2),
    "Qwen3": ("Qwen3ForCausalLM", {**LLAMA, "head_dim": 8}, 1, 2),
    "GPT-NeoX": ("GPTNeoXForCausalLM", LLAMA, 1, 2),
    "BERT": ("BertModel", SIZES, 0, 2),
    "Gemma 2": ("Gemma2ForCausalLM", {**LLAMA, "head_dim": 8}, 0, 2),
}


def rotated(program: Program, groups: tuple[str, ...] | None = None) -> tuple[Program, Program]:
    """The fused program, and the same rotated and verified."""
    fused = run([Fuse()], program, Context())
    before = text(fused)
    after = run([Rotate(groups)], fused, Context(seed=3))
    assert text(fused) == before
    verify(after)
    return fused, after


def check_same(one: Program, other: Program, *inputs: Tensor) -> None:
    """Outputs agree to 1e-4 of their size."""
    with torch.no_grad():
        exact, found = (primary(program.module()(*inputs)).double() for program in (one, other))
    assert float((exact - found).norm() / exact.norm()) < 1e-4


def kinds(program: Program) -> list[str]:
    return [group["kind"] for group in program.records[-1].numbers["rotated"]]


def left(program: Program) -> list[tuple[str, str]]:
    return [(group["kind"], group["reason"]) for group in program.records[-1].numbers["left"]]


def random_model(name: str, sizes: dict[str, Any]) -> nn.Module:
    """A small transformer whose norms have gains and biases that are not 1 and 0."""
    transformers = pytest.importorskip("transformers")
    model_class = getattr(transformers, name)
    model = model_class._from_config(model_class.config_class(**{"attn_implementation": "eager", **sizes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_transformer_stays_the_same_function(name: str) -> None:
    model_class, sizes, streams, heads = NAMES[name]
    tokens = torch.randint(0, 60, (2, 9))
    program = capture(random_model(model_class, sizes), (), {"input_ids": tokens})
    fused, after = rotated(program)
    assert (kinds(after).count("stream"), kinds(after).count("heads")) == (streams, heads)
    check_same(fused, after, torch.randint(0, 60, (3, 9)))
    changed = [key for key, tensor in after.tensors.items() if key not in fused.tensors or fused.tensors[key] is not tensor]
    assert len(changed) > 3


@pytest.mark.parametrize("name", ["BERT", "Gemma 2"])
def test_a_post_norms_gains_keep_its_stream_from_rotating(name: str) -> None:
    model_class, sizes, *_ = NAMES[name]
    _, after = rotated(capture(random_model(model_class, sizes), (), {"input_ids": torch.randint(0, 60, (2, 9))}))
    found = [kind for kind, reason in left(after) if "post-norm" in reason]
    assert found
    assert set(found) == {"stream"}


@pytest.mark.parametrize(
    ("folder", "streams", "heads"), [("stories260k", 1, 5), ("gpt2_char_shakespeare", 1, 4), ("vit_fashion_mnist", 1, 4)]
)
def test_a_real_model_stays_the_same_function(folder: str, streams: int, heads: int) -> None:
    pytest.importorskip("transformers")
    source = captures.resolve(f"hf:{shared_data(folder)}")
    fused, after = rotated(source.program())
    assert (kinds(after).count("stream"), kinds(after).count("heads")) == (streams, heads)
    assert left(after) == []
    inputs: list[Tensor] = []
    for spec, value in zip(fused.inputs, fused.example(seed=1), strict=True):
        told = {"input_ids": torch.randint(0, 60, value.shape), "position_ids": torch.arange(value.shape[-1]).expand(value.shape)}
        inputs.append(torch.zeros_like(value) if spec.name == "attention_mask" else told.get(spec.name, value))
    check_same(fused, after, *inputs)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_norms_become_plain_and_an_outlying_channel_spreads(norm: Callable[[int], nn.Module]) -> None:
    model = Block(norm)
    with torch.no_grad():
        model.embed.bias[5] = 200.0
    fused, after = rotated(captured(model.eval(), 2, 4, 5))
    check_same(fused, after, torch.randn(3, 4, 5))
    plain = [node for node in calls(after.graph) if "norm" in str(node.target)]
    assert len(plain) == 3
    assert all(given is None for node in plain for given in node.args[2:4] if not isinstance(given, float))
    added = next(node.name for node in calls(fused.graph) if "add" in str(node.target))
    before, now = (kept(program, added, torch.randn(2, 4, 5)) for program in (fused, after))
    peaks = [float(value.abs().amax() / value.square().mean().sqrt()) for value in (before, now)]
    assert peaks[1] < peaks[0] / 1.5


def kept(program: Program, name: str, x: Tensor) -> Tensor:
    """What a node gives."""
    recorder = Recorder(program.module(), [name])
    with torch.no_grad():
        recorder.run(x)
    return recorder.kept[name]


OBSTACLES: dict[str, tuple[Callable[[Block, Tensor], Any], str]] = {
    "an output": (lambda block, x: block.stream(x), "output of the model"),
    "an activation": (lambda block, x: block.head(block.norms[-1](block.stream(x).relu())), "relu"),
    "a norm with gains that is no layer's": (lambda block, x: block.norms[-1](block.stream(x)), "output of the model"),
    "channels taken apart": (lambda block, x: block.head(block.norms[-1](block.stream(x)).flip(-1)), "takes its channels apart"),
    "a gate": (lambda block, x: block.head(block.stream(x) * block.embed(x)), "mul"),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_what_cannot_be_rotated_is_left_and_named(case: str) -> None:
    function, reason = OBSTACLES[case]
    model = Wired(lambda x, block: function(block, x), Block(nn.LayerNorm)).eval()
    fused, after = rotated(captured(model, 2, 4, 5))
    assert kinds(after) == []
    assert len(left(after)) == 1
    assert reason in left(after)[0][1]
    assert text(after) == text(fused)
    assert all(after.tensors[key] is tensor for key, tensor in fused.tensors.items())


def test_a_constant_that_two_streams_share_is_rotated_for_each() -> None:
    first, second = Block(nn.RMSNorm), Block(nn.LayerNorm)
    second.place = first.place
    model = Wired(lambda x, a, b: a(x) + b(x), first, second).eval()
    fused, after = rotated(captured(model, 2, 4, 5))
    assert kinds(after) == ["stream", "stream"]
    check_same(fused, after, torch.randn(3, 4, 5))


def test_only_the_groups_asked_for_are_rotated_and_their_matrices_do_not_depend_on_the_rest() -> None:
    program = capture(random_model("LlamaForCausalLM", LLAMA), (), {"input_ids": torch.randint(0, 60, (2, 9))})
    _, everything = rotated(program)
    names = [group["name"] for group in everything.records[-1].numbers["rotated"]]
    _, last = rotated(program, (names[-1],))
    assert [group["name"] for group in last.records[-1].numbers["rotated"]] == [names[-1]]
    assert [group["reason"] for group in last.records[-1].numbers["left"]] == ["not chosen"] * (len(names) - 1)
    assert not any("norm" in key and "rotated" in key for key in last.tensors)
    output = next(group for group in everything.records[-1].numbers["rotated"] if group["name"] == names[-1])["readers"][-1]
    changed = [key for key in last.tensors if key.startswith(output)]
    assert changed
    with pytest.raises(ConfigError, match="nothing of that name"):
        rotated(program, ("stream of nobody",))


def test_values_that_others_read_are_left() -> None:
    def attend(x: Tensor, qkv: nn.Module, out: nn.Module, own: bool) -> Any:
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in qkv(x).chunk(3, -1))
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        y = out(mixed.transpose(1, 2).flatten(2))
        return y + v.mean((1, 2, 3))[:, None, None].exp() if own else y

    for own, wanted in ((False, ["heads"]), (True, [])):
        model = Wired(lambda x, a, b, own=own: attend(x, a, b, own), nn.Linear(8, 24), nn.Linear(8, 8)).eval()
        fused, after = rotated(captured(model, 2, 5, 8))
        assert kinds(after) == wanted
        check_same(fused, after, torch.randn(3, 5, 8))
