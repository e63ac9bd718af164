"""Spiking attention beside torch.nn.MultiheadAttention: results, masks, spikes, time, training, state, errors."""

import copy
import math
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from spikeloom import SpikingAttention, UserError
from spikeloom.convert.populations import FunctionNeurons, IdentityNeurons, mse_step, rounded, spread
from spikeloom.errors import ConfigError, DataError, NumericError, UnsupportedError
from spikeloom.neuron import by_channel, staircase_error

E, H, L = 16, 2, 6
CAUSAL = torch.ones(L, L, dtype=torch.bool).triu(1)
IDENTITIES = ["query_input", "key_input", "value_input", "query", "key", "value", "output", "maximum"]


def attention(**options: Any) -> nn.MultiheadAttention:
    made = nn.MultiheadAttention(E, H, **{"batch_first": True, **options}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
    return made


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def padding(batch: int) -> torch.Tensor:
    lengths = torch.arange(batch) % (L - 1) + 2
    return torch.arange(L) >= lengths[:, None]


def masks(kind: str, batch: int) -> dict[str, Any]:
    bias = torch.linspace(-2, 1, L * L).view(L, L)
    per_head = (torch.arange(batch * H * L * L).view(batch * H, L, L) % 3 == 0) & ~torch.eye(L, dtype=torch.bool)
    return {
        "none": {},
        "causal": {"attn_mask": CAUSAL, "is_causal": True},
        "boolean": {"attn_mask": CAUSAL.roll(1, 1)},
        "float": {"attn_mask": bias},
        "float causal": {"attn_mask": bias.masked_fill(CAUSAL, -math.inf)},
        "large": {"attn_mask": bias.masked_fill(CAUSAL, -1e9)},
        "per head": {"attn_mask": per_head},
        "padding": {"key_padding_mask": padding(batch)},
        "float padding": {"key_padding_mask": torch.zeros(batch, L).masked_fill(padding(batch), -math.inf)},
        "padding causal": {"key_padding_mask": padding(batch), "attn_mask": CAUSAL},
        "padding per head": {"key_padding_mask": padding(batch), "attn_mask": per_head & ~padding(batch).repeat_interleave(H, 0)[:, None]},
    }[kind]


KINDS = ["none", "causal", "boolean", "float", "float causal", "large", "per head", "padding", "float padding", "padding causal"]


def calibrated(kind: str = "none", module: nn.MultiheadAttention | None = None, **options: Any) -> SpikingAttention:
    batch = dict.fromkeys(("query", "key", "value"), torch.randn(1024, L, E)) | masks(kind, 1024)
    return SpikingAttention.from_attention(module or attention(), [batch], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_close_to_attention_whatever_the_mask(kind: str) -> None:
    mha, x = attention(), torch.randn(8, L, E)
    spiking = calibrated(kind, mha, levels=255)
    with torch.no_grad():
        for average in (True, False):
            expected, weights = mha(x, x, x, **masks(kind, 8), average_attn_weights=average)
            found, attended = spiking(x, x, x, **masks(kind, 8), average_attn_weights=average)
            assert found.shape == expected.shape
            assert attended.shape == weights.shape
            assert relative(found, expected) < 0.05
            assert relative(attended, weights) < 0.03
            assert bool((attended[weights == 0] == 0).all())
        silent, nothing = spiking(x, x, x, **masks(kind, 8), need_weights=False)
    assert nothing is None
    assert torch.equal(silent, found)


def test_is_causal_alone_is_a_causal_mask() -> None:
    spiking, x = calibrated("causal"), torch.randn(2, L, E)
    with torch.no_grad():
        assert torch.equal(spiking(x, x, x, is_causal=True)[0], spiking(x, x, x, attn_mask=CAUSAL)[0])


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 10, "vdim": 7}, {"kdim": 10, "vdim": 7, "bias": False}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_crosses_with_other_features_and_layouts(options: dict[str, Any], batch_first: bool) -> None:
    mha, sizes = attention(batch_first=batch_first, **options), (E, options.get("kdim", E), options.get("vdim", E))

    def inputs(batch: int) -> list[torch.Tensor]:
        made = [torch.randn(batch, length, size) for length, size in zip((4, L, L), sizes, strict=True)]
        return made if batch_first else [x.transpose(0, 1) for x in made]

    spiking, few = SpikingAttention.from_attention(mha, [(*inputs(1024), padding(1024))], levels=255), inputs(4)
    one = [x[0] if batch_first else x[:, 0] for x in few]
    with torch.no_grad():
        for query, key, value, mask in ((*few, padding(4)), (*one, padding(4)[0])):
            expected, weights = mha(query, key, value, key_padding_mask=mask, average_attn_weights=False)
            found, attended = spiking(query, key, value, key_padding_mask=mask, average_attn_weights=False)
            assert found.shape == expected.shape
            assert attended.shape == weights.shape
            assert relative(found, expected) < 0.06
            assert relative(attended, weights) < 0.06


@pytest.mark.parametrize("per_feature", [True, False])
def test_the_error_falls_with_levels_and_with_steps(per_feature: bool) -> None:
    mha, x = attention(), torch.randn(64, L, E)
    data = torch.randn(512, L, E)
    with torch.no_grad():
        expected = mha(x, x, x)[0]
        errors = []
        for levels, steps in ((3, 1), (7, 1), (15, 1), (31, 1), (127, 1), (7, 3)):
            spiking = SpikingAttention.from_attention(mha, data, levels, timesteps=steps, per_feature=per_feature)
            found = spiking(*[x.repeat(steps, 1, 1)] * 3)[0].unflatten(0, (steps, -1)).mean(0)
            errors.append(relative(found, expected))
    assert sorted(errors[:5], reverse=True) == errors[:5]
    assert errors[3] < 0.12
    assert errors[4] < errors[0] / 8
    assert errors[5] < errors[1]  # three steps at 7 levels beat one


class Products(TorchFunctionMode):
    """Operands of the products of two values and of layers, as rows a scale group."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func in (torch.matmul, torch.Tensor.matmul):
            transposed = args[1].shape[-1] != E // H
            axes = (1, 3) if args[0].shape[-1] == E // H else 1, (1, 2) if transposed else (1, 3)
            self.rows += [by_channel(operand, axis) for operand, axis in zip(args[:2], axes, strict=True)]
        if func is nn.functional.linear:
            self.rows.append(by_channel(args[0], -1))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("levels", [1, 3, 10])
def test_every_operand_of_a_product_is_a_spike(levels: int) -> None:
    spiking, x = calibrated("causal", levels=levels), torch.randn(64, L, E)
    with torch.no_grad(), Products() as products:
        spiking(x, x, x, attn_mask=CAUSAL)
    assert len(products.rows) == 8  # three projections, two products, the projection of the output
    counts = [len(row.unique()) for rows in products.rows for row in rows]
    assert max(counts) == 2 * levels + 1


def test_the_other_spikes_are_spikes_too() -> None:
    spiking, x, seen = calibrated(levels=3), torch.randn(64, L, E), dict[str, torch.Tensor]()
    for name in ("exp", "log", "maximum"):
        spiking.neurons[name].register_forward_hook(lambda _, __, output, name=name: seen.update({name: by_channel(output, 1)}))
    with torch.no_grad():
        spiking(x, x, x)
    assert all(len(row.unique()) <= 7 for rows in seen.values() for row in rows)


def test_what_is_masked_is_not_seen_and_who_sees_nothing_gets_zeros() -> None:
    spiking, x = calibrated("padding"), torch.randn(4, L, E)
    blind = CAUSAL.clone()
    blind[2] = True
    other = x.clone()
    other[:, -1] = 100.0
    with torch.no_grad():
        assert torch.equal(spiking(x, x, x, attn_mask=CAUSAL)[0][:, :-1], spiking(x, other, other, attn_mask=CAUSAL)[0][:, :-1])
        y, p = spiking(x, x, x, attn_mask=blind)
        assert bool((p[:, 2] == 0).all())
        torch.testing.assert_close(y[:, 2], spiking.out_proj.bias.expand(4, E))
    x.requires_grad_()
    spiking(x, x, x, attn_mask=blind)[0].square().sum().backward()
    assert bool(x.grad.isfinite().all())


def test_rows_that_see_nothing_do_not_spoil_a_calibration() -> None:
    mha, x, blind = attention(), torch.randn(256, L, E), CAUSAL.clone()
    blind[2] = True
    spiking = SpikingAttention.from_attention(mha, [{"query": x, "key": x, "value": x, "attn_mask": blind}], levels=127)
    with torch.no_grad():
        expected, found = (each(x[:8], x[:8], x[:8], attn_mask=CAUSAL)[0] for each in (mha, spiking))
    assert relative(found[:, 3:], expected[:, 3:]) < 0.06


@pytest.mark.parametrize("kind", ["none", "padding causal", "padding per head"])
def test_over_time_the_mean_is_the_function_of_the_mean(kind: str) -> None:
    T, B = 3, 5
    spiking = calibrated(levels=7, timesteps=T).double()
    trains = dict[str, torch.Tensor]()
    for name in ("query", "key", "value"):
        spiking.neurons[name].register_forward_hook(lambda _, __, output, name=name: trains.update({name: output}))
    spiking.neurons["output"].register_forward_pre_hook(lambda _, inputs: trains.update({"attended": inputs[0]}))
    x = torch.randn(T * B, L, E, dtype=torch.float64)
    with torch.no_grad():
        y, p = spiking(x, x, x, **masks(kind, B), average_attn_weights=False)
        for steps in (1, 2, 3):  # at every step the mean so far is the function of the mean so far
            q, k, v, o, mean = (
                each.unflatten(0, (T, B))[:steps].mean(0) for each in (*(trains[name] for name in ("query", "key", "value", "attended")), p)
            )
            spiking.timesteps = 1
            torch.testing.assert_close(mean, spiking.weigh(q, k, spiking._mask(x[:B], L, *ordered(kind, B))))
            torch.testing.assert_close(o, mean @ v)
    assert y.shape == x.shape
    assert len(trains["query"].unique()) > 7


def ordered(kind: str, batch: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    found = masks(kind, batch)
    return found.get("key_padding_mask"), found.get("attn_mask")


def test_a_layout_with_the_batch_second_is_the_same_over_time() -> None:
    spiking, x = calibrated(timesteps=2), torch.randn(6, L, E)
    with torch.no_grad():
        expected, weights = spiking(x, x, x, key_padding_mask=padding(3))
        spiking.batch_first = False
        found, attended = spiking(*[x.transpose(0, 1)] * 3, key_padding_mask=padding(3))
    torch.testing.assert_close(found.transpose(0, 1), expected)
    torch.testing.assert_close(attended, weights)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("kind", ["none", "float causal", "padding causal"])
def test_gradients_reach_everything_and_are_finite(kind: str, steps: int) -> None:
    spiking = calibrated(kind, levels=7, timesteps=steps)
    inputs = [torch.randn(8 * steps, L, E, requires_grad=True) for _ in range(3)]
    spiking(*inputs, **masks(kind, 8))[0].square().sum().backward()
    for name, tensor in [*spiking.named_parameters(), *zip("qkv", inputs, strict=True)]:
        assert tensor.grad is not None, name
        assert bool(tensor.grad.isfinite().all()), name
        assert float(tensor.grad.abs().max()) > 0, name


def test_gradients_point_where_those_of_attention_do() -> None:
    mha, x = attention(), torch.randn(16, L, E)
    target, gradients = torch.randn(16, L, E), []
    for module in (mha, calibrated(module=mha, levels=63)):
        y = x.clone().requires_grad_()
        (module(y, y, y)[0] - target).square().mean().backward()
        gradients.append([y.grad, module.in_proj_weight.grad, module.out_proj.weight.grad, module.in_proj_bias.grad])
        module.zero_grad()
    for expected, found in zip(*gradients, strict=True):
        assert float(torch.cosine_similarity(found.flatten(), expected.flatten(), 0)) > 0.97


@pytest.mark.parametrize("options", [{}, {"levels": 3}, {"timesteps": 2}])
def test_training_from_scratch_lowers_the_loss(options: dict[str, Any]) -> None:
    """Each query is to find the key that it equals, and to say its value."""
    spiking = SpikingAttention(E, H, batch_first=True, **options)
    optimiser, losses, T = torch.optim.Adam(spiking.parameters(), 1e-2), [], spiking.timesteps
    before = {name: parameter.detach().clone() for name, parameter in spiking.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for _ in range(80):
        key, value = torch.randn(32, L, E, generator=generator), torch.randn(32, L, E, generator=generator)
        y = spiking(*[each.repeat(T, 1, 1) for each in (key, key, value)])[0].unflatten(0, (T, -1)).mean(0)
        loss = (y - value).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) / 10 < 0.8 * sum(losses[:5]) / 5
    assert all(not torch.equal(parameter, before[name]) for name, parameter in spiking.named_parameters())


def test_fine_tuning_wins_back_what_few_levels_lost() -> None:
    mha, x = attention(), torch.randn(64, L, E)
    spiking = SpikingAttention.from_attention(mha, x, levels=2)
    neurons = spiking.neurons.parameters()
    optimiser = torch.optim.Adam(neurons, 1e-2)
    expected, losses = mha(x, x, x)[0].detach(), []
    for _ in range(40):
        loss = (spiking(x, x, x)[0] - expected).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_new_module_suits_inputs_of_unit_variance() -> None:
    mha = nn.MultiheadAttention(E, H, batch_first=True)
    spiking, x = SpikingAttention(E, H, batch_first=True), torch.randn(16, 20, E)
    assert spiking.load_state_dict(mha.state_dict(), strict=False).unexpected_keys == []
    with torch.no_grad():
        assert relative(spiking(x, x, x)[0], mha(x, x, x)[0]) < 0.3


@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 3}, {"bias": False}])
def test_the_state_is_that_of_attention_and_the_neurons(options: dict[str, Any]) -> None:
    mha, spiking = nn.MultiheadAttention(E, H, **options), SpikingAttention(E, H, **options)
    own = {f"neurons.{name}.log_step" for name in IDENTITIES}
    own |= {f"neurons.{name}.{part}" for name in ("exp", "log", "softmax") for part in ("values", "thresholds")}
    assert set(spiking.state_dict()) == set(mha.state_dict()) | own
    result = spiking.load_state_dict(mha.state_dict(), strict=False)
    assert set(result.missing_keys) == own
    assert all(torch.equal(spiking.state_dict()[key], value) for key, value in mha.state_dict().items())


def test_state_copies_and_pickles_give_the_same() -> None:
    spiking, x = calibrated(levels=9), torch.randn(4, L, E)
    other = SpikingAttention(E, H, batch_first=True, levels=9)
    other.load_state_dict(spiking.state_dict())
    with torch.no_grad():
        expected = spiking(x, x, x)[0]
        for each in (other, copy.deepcopy(spiking), pickle.loads(pickle.dumps(spiking))):
            assert torch.equal(each(x, x, x)[0], expected)


def test_weights_are_copies_and_dropout_stays_behind() -> None:
    mha = attention(dropout=0.5).train()
    spiking = SpikingAttention.from_attention(mha, torch.randn(8, L, E))
    assert spiking.dropout == 0.0
    assert spiking.training
    with torch.no_grad():
        spiking.in_proj_weight.zero_()
    assert bool(mha.in_proj_weight.any())


def test_encoder_layers_do_not_go_round_it() -> None:
    """PyTorch's layers have a fast path that computes floating attention from the weights, whatever module holds them."""
    layer = nn.TransformerEncoderLayer(E, H, 32, batch_first=True).eval()
    x, calls = torch.randn(4, L, E), list[int]()
    layer.self_attn = SpikingAttention.from_attention(layer.self_attn, x, levels=3)
    forward = layer.self_attn.forward
    layer.self_attn.forward = lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)  # a hook would end the fast path too
    with torch.no_grad():
        hidden = layer.norm1(x + forward(x, x, x, key_padding_mask=padding(4))[0])
        expected = layer.norm2(hidden + layer.linear2(layer.linear1(hidden).relu()))
        torch.testing.assert_close(layer(x, src_key_padding_mask=padding(4)), expected)
    assert calls == [1]


def test_batches_are_tensors_tuples_or_mappings() -> None:
    mha, x = attention(), torch.randn(8, L, E)
    batches = [x, (x, x, x), {"query": x, "key": x, "value": x}]
    states = [SpikingAttention.from_attention(mha, [batch]).state_dict() for batch in batches]
    states += [SpikingAttention.from_attention(mha, x).state_dict(), SpikingAttention.from_attention(mha, iter([x])).state_dict()]
    for state in states[1:]:
        assert all(torch.equal(state[key], value) for key, value in states[0].items())


def test_several_batches_count_alike() -> None:
    mha, x = attention(), torch.randn(64, L, E)
    whole, parts = (SpikingAttention.from_attention(mha, each).state_dict() for each in (x, x.split(7)))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-4)


def test_a_failed_calibration_leaves_the_thresholds() -> None:
    spiking, x = calibrated(), torch.randn(4, L, E)
    with torch.no_grad():
        before = spiking(x, x, x)[0]
        with pytest.raises(NumericError, match="NaN or infinite"):
            spiking.calibrate([x, x.clone().fill_(math.nan)])
        assert torch.equal(spiking(x, x, x)[0], before)


def test_the_same_numbers_in_double_precision() -> None:
    spiking, x = calibrated(), torch.randn(4, L, E)
    with torch.no_grad():
        single = spiking(x, x, x)[0]
        double = spiking.double()(*[x.double()] * 3)[0]
    assert relative(single.double(), double) < 0.02  # a rounding may take a neuron to its next level


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 0.1}, UnsupportedError, "no dropout"),
        ({"add_bias_kv": True}, UnsupportedError, "no add_bias_kv"),
        ({"add_zero_attn": True}, UnsupportedError, "no add_zero_attn"),
        ({"num_heads": 3}, ConfigError, "do not divide"),
        ({"num_heads": 0}, ConfigError, "num_heads is out of range"),
        ({"embed_dim": -1}, ConfigError, "embed_dim is out of range"),
        ({"levels": 0}, ConfigError, "levels is out of range"),
        ({"timesteps": 0}, ConfigError, "timesteps is out of range"),
    ],
)
def test_options_it_has_not_are_errors(options: dict[str, Any], error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message):
        SpikingAttention(**{"embed_dim": E, "num_heads": H, **options})


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_modules_it_cannot_take_over_are_errors(option: str) -> None:
    with pytest.raises(UnsupportedError, match=f"no {option}"):
        SpikingAttention.from_attention(attention(**{option: True}), torch.randn(2, L, E))


x, z = torch.zeros(2, L, E), torch.zeros(3, L, E)
WRONG = {
    "rank": ((x[None], x[None], x[None]), {}, "do not fit"),
    "mixed ranks": ((x, x[0], x[0]), {}, "do not fit"),
    "features": ((x[..., 1:], x, x), {}, "do not fit"),
    "batch": ((x, z, z), {}, "do not fit"),
    "lengths": ((x, x, x[:, 1:]), {}, "do not fit"),
    "mask shape": ((x, x, x), {"attn_mask": CAUSAL[1:]}, "attn_mask has another shape"),
    "heads of a mask": ((x, x, x), {"attn_mask": CAUSAL.expand(3, L, L)}, "attn_mask has another shape"),
    "padding shape": ((x, x, x), {"key_padding_mask": CAUSAL}, "key_padding_mask has another shape"),
    "padding without batch": ((x, x, x), {"key_padding_mask": CAUSAL[0]}, "key_padding_mask has another shape"),
    "whole numbers": ((x, x, x), {"attn_mask": CAUSAL.long()}, "neither boolean nor floating"),
}


@pytest.mark.parametrize("case", WRONG)
def test_inputs_and_masks_that_do_not_fit_are_errors(case: str) -> None:
    inputs, options, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        SpikingAttention(E, H, batch_first=True)(*inputs, **options)


def test_a_batch_that_is_no_multiple_of_the_steps_is_an_error() -> None:
    spiking = SpikingAttention(E, H, batch_first=True, timesteps=2)
    for inputs in (z, z[0]):
        with pytest.raises(DataError, match="no multiple of T"):
            spiking(inputs, inputs, inputs)


def test_calibrations_without_data_or_without_sight_are_errors() -> None:
    spiking = SpikingAttention(E, H, batch_first=True)
    with pytest.raises(DataError, match="no samples"):
        spiking.calibrate([])
    with pytest.raises(NumericError, match="nothing but masked"):
        spiking.calibrate([{"query": x, "key": x, "value": x, "attn_mask": torch.ones(L, L, dtype=torch.bool)}])


def test_nested_tensors_are_an_error() -> None:
    spiking = SpikingAttention(E, H, batch_first=True)
    nested = torch.nested.nested_tensor([x[0], x[0, 1:]], layout=torch.jagged)
    with pytest.raises(UnsupportedError, match="nested"):
        spiking(nested, nested, nested)


@pytest.mark.parametrize("levels", [1, 3, 15])
def test_steps_are_the_best_of_a_fine_grid(levels: int) -> None:
    seen = torch.stack([torch.randn(500), torch.rand(500), torch.randn(500) ** 3])
    step = mse_step(seen, levels)
    error = (rounded(seen, step[:, None], levels) - seen).square().mean(1)
    grid = seen.abs().amax(1) / levels * torch.linspace(0.02, 1.1, 400)[:, None]
    best = torch.stack([(rounded(seen, s[:, None], levels) - seen).square().mean(1) for s in grid]).amin(0)
    assert bool((error <= best * 1.05).all())


def test_channels_that_are_always_zero_stay_finite_and_silent() -> None:
    neurons = IdentityNeurons((2,), 1, 3)
    neurons.observe(1)
    neurons(torch.tensor([[0.0, 1.0], [0.0, -2.0]]))
    neurons.settle(1)
    assert neurons.step.isfinite().all()
    assert neurons(torch.tensor([[0.0, 1.0]]))[0, 0] == 0


def test_samples_are_spread_and_never_more_than_there_are() -> None:
    assert spread(10, 4).tolist() == [0, 1, 2, 3]
    places = spread(100, 6400)
    assert int(places.max()) < 6400
    assert all(len((places % size).unique()) == size for size in (2, 4, 8))


@pytest.mark.parametrize("function", ["exp", "log", "share"])
def test_tables_are_as_good_as_the_builders(function: str) -> None:
    neurons, h = FunctionNeurons(function, 2, 7, (-8.0, 0.5)), -torch.rand(40, 2, 50) * 5
    h = h if function != "log" else h.exp() + 1
    known = {"exp": torch.exp, "log": torch.log, "share": lambda h: h.exp()}[function]
    neurons.observe(1)
    torch.testing.assert_close(neurons(h), known(h))
    neurons.settle(1)
    assert bool((neurons.thresholds.diff() > 0).all())
    silent = neurons(torch.full((1, 2, 1), -1e30))
    assert bool((silent == 0).all()) == (function != "log")
    for head, rows in enumerate(by_channel(h.double(), 1)):
        found = (neurons(h).detach()[:, head].flatten().double() - known(rows)).square().mean()
        edges = torch.linspace(float(rows.min()), float(rows.max()), 15, dtype=torch.float64)[1:-1]
        equal = staircase_error(known, rows, (edges, known(torch.cat([edges[:1] - 0.18, edges + 0.18]))))
        assert float(found) < equal


def test_step_gradients_are_those_of_learned_step_size_quantisation() -> None:
    neurons = IdentityNeurons((), -1, 3, reach=1.5)  # a step of 1/2
    seen = torch.tensor([[0.3, -0.6, 1.1, 9.0, -9.0]], requires_grad=True)
    neurons(seen).sum().backward()
    inside = seen.detach()[0, :3] / 0.5
    expected = (inside.round() - inside).sum() + 3 - 3
    torch.testing.assert_close(neurons.log_step.grad, expected * 0.5)
    assert seen.grad.tolist() == [[1, 1, 1, 0, 0]]


def test_a_maximum_reaches_beyond_what_it_saw() -> None:
    neurons = IdentityNeurons((2,), 1, 10, covers=True)
    neurons.observe(2)
    for top in (1.0, 4.0):
        neurons(torch.tensor([[top, -2 * top]])[..., None])
    neurons.settle(1)
    assert neurons(torch.tensor([[4.9, 9.9]])[..., None]).flatten().tolist() == pytest.approx([5.0, 10.0])
    assert neurons(torch.tensor([[9.0, -99.0]])[..., None]).flatten().tolist() == pytest.approx([5.0, -10.0])


def test_weights_of_coarse_neurons_stay_shares_of_a_whole() -> None:
    mha, x = attention(), 3 * torch.randn(64, L, E)
    spiking = SpikingAttention.from_attention(mha, x, levels=3)
    with torch.no_grad():
        weights = spiking(x, x, x, average_attn_weights=False)[1]
    assert float(weights.max()) <= 1.0
    assert float(weights.min()) >= 0.0
