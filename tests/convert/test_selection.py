"""The k largest in spikes: ranks by comparing neurons, ties by index, and a mixture of experts whose router chooses the same experts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired
from torch import Tensor, nn

from spikeloom.calibrate import Balance, Compensate
from spikeloom.capture import capture
from spikeloom.capture.experts import experts, use_dense_experts
from spikeloom.capture.language import LENGTH, Reader, inputs_of
from spikeloom.convert import Spike, Unfold
from spikeloom.convert.selection import ties
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Context, Pass, Program, calls, function_of, run
from spikeloom.plan import Fuse, Plan, plan
from spikeloom.simulate import executable, populations
from spikeloom.simulate.audit import audit

EXPERTS, CHOSEN, ROWS = 6, 3, 32
SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 29}
SMALL |= {"intermediate_size": 24, "max_position_embeddings": 32, "initializer_range": 0.3, "num_experts_per_tok": 2}
MIXTURES = [
    ("MixtralForCausalLM", {**SMALL, "num_local_experts": 4}),
    ("Qwen3MoeForCausalLM", {**SMALL, "num_experts": 4, "moe_intermediate_size": 8, "head_dim": 8}),
]


def values(x: Tensor) -> Tensor:
    return x.topk(CHOSEN, dim=-1).values


def lowest(x: Tensor) -> Tensor:
    return x.topk(CHOSEN, dim=-1, largest=False).values


def places(x: Tensor) -> Tensor:
    return nn.functional.one_hot(x.topk(CHOSEN, dim=-1).indices, EXPERTS).to(x.dtype)


def picked(x: Tensor) -> Tensor:
    top = x.topk(CHOSEN, dim=-1)
    return top.values - (2 * x + 1).gather(-1, top.indices)


def scores() -> Tensor:
    return torch.randn(ROWS, EXPERTS, generator=torch.Generator().manual_seed(0))


def captured(function: Callable[[Tensor], Tensor], x: Tensor) -> Program:
    return capture(Wired(function), (x,))


def converted(program: Program, inputs: tuple[Tensor, ...], levels: int, *more: Pass) -> Program:
    chain: list[Pass] = [Plan(), Fuse(), Unfold(), Spike(levels=levels), Balance(), *more]
    return run(chain, program, Context(calibration=lambda: [inputs]))


@pytest.mark.parametrize("function", [values, lowest, places, picked])
def test_a_choice_unfolds_into_comparisons_exactly(function: Callable[[Tensor], Tensor]) -> None:
    x = scores()
    unfolded = run([Plan(), Unfold()], captured(function, x), Context())
    assert not {"topk", "one_hot", "gather", "getitem"} & {function_of(node) for node in calls(unfolded.graph)}
    torch.testing.assert_close(unfolded.module()(x), function(x))


def test_equals_are_ranked_by_their_place() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0, 3.0, 0.0, 3.0], [2.0] * EXPERTS])
    unfolded = run([Plan(), Unfold()], captured(places, x), Context())
    assert unfolded.module()(x).argmax(-1).tolist() == [[1, 2, 3], [0, 1, 2]]
    assert torch.equal(ties(3).sign(), torch.tensor([[0.0, -1, -1], [1, 0, -1], [1, 1, 0]]))


def test_spikes_choose_what_the_ann_chooses() -> None:
    x = scores()
    program = converted(captured(places, x), (x,), 15)
    torch.testing.assert_close(executable(program, 1)(x), places(x), atol=1e-5, rtol=0)
    compared = [node for node in populations(program) if node.kwargs["function"] == "sign"]
    assert [program.tensor(node.args[2]).tolist() for node in compared] == [[-1.0, 0.0, 1.0]]
    close = torch.tensor([[0.0, 1e-7, 2e-7, -1e-7, -2e-7, 3e-7]])
    torch.testing.assert_close(executable(program, 1)(close), places(close), atol=1e-5, rtol=0)


def test_indices_that_go_elsewhere_are_refused() -> None:
    rows = plan(captured(lambda x: x.topk(2, dim=-1).indices * 2.0, scores()))
    assert [row.reason for row in rows if row.status == "unsupported"] == ["it gives indices, which spikes do not carry"]
    rows = plan(captured(lambda x: x.topk(2, dim=0).values, scores()))
    assert [row.operation for row in rows if row.status == "unsupported"] == ["aten.topk.default"]


def mixture(name: str, options: dict[str, Any]) -> Any:
    import transformers

    torch.manual_seed(0)
    chosen = getattr(transformers, name)
    return chosen._from_config(chosen.config_class(**options), attn_implementation="eager", dtype=torch.float32).eval()


@pytest.mark.parametrize(("name", "options"), MIXTURES, ids=[name for name, _ in MIXTURES])
@torch.no_grad()
def test_a_mixture_of_experts_runs_wholly_in_spikes(name: str, options: dict[str, Any]) -> None:
    model = mixture(name, options)
    tokens = torch.randint(3, 29, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    wanted = model(input_ids=tokens).logits
    reader = Reader(model)
    inputs = inputs_of(tokens, reader.structure)
    program = capture(reader, inputs, structure=reader.structure, lengths=LENGTH)
    torch.testing.assert_close(program.module()(*inputs), wanted, atol=1e-5, rtol=1e-4)
    spiking = converted(program, inputs, 255, Compensate())
    assert float((executable(spiking, 1)(*inputs) - wanted).norm() / wanted.norm()) < 0.02
    assert audit(spiking, *inputs).all_spiking


class Few(nn.Module):
    """Two experts without gates, weights transposed, with biases."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.num_experts, self.has_gate, self.has_bias, self.is_transposed, self.has_post_expert_norm = 2, False, True, True, False
        self.up_proj, self.up_proj_bias = torch.randn(2, 4, 6), torch.randn(2, 6)
        self.down_proj, self.down_proj_bias = torch.randn(2, 6, 4), torch.randn(2, 4)
        self.act_fn = nn.GELU()
        vars(self).update(settings)


def test_dense_experts_are_the_chosen_ones_weighted() -> None:
    module, x, index, share = Few(), torch.randn(5, 4), torch.tensor([[0], [1], [1], [0], [1]]), torch.rand(5, 1)
    wanted = [
        share[row] * (module.act_fn(x[row] @ module.up_proj[e] + module.up_proj_bias[e]) @ module.down_proj[e] + module.down_proj_bias[e])
        for row, (e,) in enumerate(index.tolist())
    ]
    torch.testing.assert_close(experts(module, x, index, share), torch.stack(wanted))
    with pytest.raises(UnsupportedError, match="norm of their own"):
        experts(Few(has_post_expert_norm=True), x, index, share)


def test_a_model_without_experts_stays_as_it_is() -> None:
    use_dense_experts(nn.Linear(2, 2))
