"""Packed layers give what plain integer layers give, on any shape; what they cannot count they refuse."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.ir.quantised import grid_named, packed
from spikeloom.kernels.packed import (
    activity,
    check_range,
    codes_of_planes,
    pack_spikes,
    pack_ternary,
    planes_of_codes,
    unpack_spikes,
    unpack_ternary,
    words,
)
from spikeloom.kernels.packed_events import Columns, columns_of, count_events, fire_events, prefers_events
from spikeloom.kernels.packed_layers import Rows, count_layer, fire_layer, layer_of
from spikeloom.kernels.packed_rows import count, fire, gate

SIZES = st.one_of(st.integers(1, 200), st.sampled_from([64, 127, 512, 513, 1024, 1100]))


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "batch": draw(st.sampled_from([0, 1, 2, 3, 4, 5, 9, 40])),
        "inputs": draw(SIZES),
        "outputs": draw(SIZES),
        "density": draw(st.sampled_from([0.0, 0.1, 0.67, 1.0])),
        "activity": draw(st.sampled_from([0.0, 0.03, 0.5, 1.0])),
        "threads": draw(st.sampled_from([1, 3])),
        "added": draw(st.booleans()),
        "seed": draw(st.integers(0, 10**6)),
    }


def drawn(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Weights [o, n], spikes [b, n], thresholds [o] near the counts there are and far from them, and what is added."""
    g = torch.Generator().manual_seed(case["seed"])
    o, n, b = case["outputs"], case["inputs"], case["batch"]
    signs = torch.randint(0, 2, (o, n), generator=g, dtype=torch.int8) * 2 - 1
    weights = torch.where(torch.rand(o, n, generator=g) < case["density"], signs, 0).to(torch.int8)
    spikes = (torch.rand(b, n, generator=g) < case["activity"]).to(torch.uint8)
    thresholds = torch.randint(-4, 5, (o,), generator=g, dtype=torch.int32)
    far = torch.tensor([-(2**31), 2**31 - 1, -n, n, n + 1], dtype=torch.int32)
    thresholds = torch.where(torch.rand(o, generator=g) < 0.2, far[torch.randint(0, 5, (o,), generator=g)], thresholds)
    added = torch.randint(-5, 6, (b, o), generator=g, dtype=torch.int32) if case["added"] else None
    return weights, spikes, thresholds, added


def counted(weights: Tensor, spikes: Tensor) -> Tensor:
    """The plain count."""
    return (spikes.int() @ weights.int().T).int()


def fired(counts: Tensor, thresholds: Tensor, added: Tensor | None) -> Tensor:
    """The plain spikes."""
    return (counts.long() + (0 if added is None else added.long()) >= thresholds.long()).to(torch.uint8)


@settings(deadline=None, max_examples=150)
@given(layers())
def test_dense_layers_are_those_of_plain_integers(case: dict[str, Any]) -> None:
    weights, spikes, thresholds, added = drawn(case)
    planes, x, before = pack_ternary(weights), pack_spikes(spikes), torch.get_num_threads()
    expected = counted(weights, spikes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeloom.kernels.packed_rows.SHARE", 1 << 6)
        patch.setattr(torch, "get_num_threads", lambda: case["threads"])
        assert torch.equal(count(*planes, x), expected)
        out = fire(*planes, thresholds, x, added)
    assert torch.get_num_threads() == before
    assert torch.equal(unpack_spikes(out, case["outputs"]), fired(expected, thresholds, added))
    assert torch.equal(gate(expected, thresholds, added).view(torch.int64), out.view(torch.int64))
    assert not bool(unpack_spikes(out, out.shape[1] * 64)[:, case["outputs"] :].any())


@settings(deadline=None, max_examples=150)
@given(layers(), st.sampled_from([1, 3, 8, 1000]))
def test_event_driven_layers_are_those_of_plain_integers(case: dict[str, Any], together: int) -> None:
    weights, spikes, thresholds, added = drawn(case)
    x, expected = pack_spikes(spikes), counted(weights, spikes)
    columns = columns_of(*pack_ternary(weights), case["inputs"], thresholds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeloom.kernels.packed_events.SHARE", 1 << 6)
        patch.setattr("spikeloom.kernels.packed_events.TOGETHER", together)
        patch.setattr(torch, "get_num_threads", lambda: case["threads"])
        assert torch.equal(count_events(columns, x), expected)
        out, alone = fire_events(columns, x, added), fire_events(columns, x)
    assert torch.equal(unpack_spikes(out, case["outputs"]), fired(expected, thresholds, added))
    assert torch.equal(alone.view(torch.int64), fire(*pack_ternary(weights), thresholds, x).view(torch.int64))


@settings(deadline=None, max_examples=100)
@given(layers())
def test_packing_keeps_every_bit_and_fills_up_with_zeros(case: dict[str, Any]) -> None:
    weights, spikes, _, _ = drawn(case)
    n, planes = case["inputs"], pack_ternary(weights)
    assert torch.equal(unpack_spikes(pack_spikes(spikes), n), spikes)
    assert torch.equal(pack_spikes(spikes.bool()).view(torch.int64), pack_spikes(spikes).view(torch.int64))
    assert torch.equal(unpack_ternary(*planes, n), weights)
    assert activity(pack_spikes(spikes), n) == pytest.approx(spikes.float().mean().nan_to_num().item())
    for plane in planes:
        assert not bool(unpack_spikes(plane, words(n) * 64)[:, n:].any())
    kept = packed(weights.flatten(), grid_named("ternary"))
    assert torch.equal(codes_of_planes(*planes, n), kept)
    for plane, found in zip(planes, planes_of_codes(kept, *weights.shape), strict=True):
        assert torch.equal(plane.view(torch.int64), found.view(torch.int64))


@pytest.mark.parametrize("n", [3, 64, 70, 200])
def test_what_is_no_bit_and_no_weight_is_refused(n: int) -> None:
    for place in (0, n - 1):
        for value in (2, 255):
            bits = torch.zeros(2, n, dtype=torch.uint8)
            bits[1, place] = value
            with pytest.raises(NumericError, match="0 or 1"):
                pack_spikes(bits)
        for value in (2, -2, 127, -128):
            weights = torch.zeros(2, n, dtype=torch.int8)
            weights[1, place] = value
            with pytest.raises(NumericError, match="-1, 0 or 1"):
                pack_ternary(weights)
    kept = torch.zeros(-(-2 * n // 4), dtype=torch.uint8)
    kept[0] = 3
    with pytest.raises(NumericError, match="codes"):
        planes_of_codes(kept, 2, n)
    with pytest.raises(NumericError, match="fit"):
        planes_of_codes(kept[1:], 2, n)
    with pytest.raises(NumericError, match="fit"):
        unpack_spikes(torch.zeros(2, words(n) + 1, dtype=torch.uint64), n)


def test_counts_that_32_bits_cannot_hold_are_refused() -> None:
    check_range(2**31 - 2)
    check_range(2**31 - 12, 10)
    for fan_in, added in ((2**31 - 1, 0), (2**31 - 12, 11)):
        with pytest.raises(NumericError, match="accumulator"):
            check_range(fan_in, added)


def test_tensors_that_do_not_fit_are_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is where users run it
    plus, minus = pack_ternary(torch.ones(3, 70, dtype=torch.int8))
    x, limits, added = (
        pack_spikes(torch.ones(2, 70, dtype=torch.uint8)),
        torch.zeros(3, dtype=torch.int32),
        torch.zeros(2, 3, dtype=torch.int32),
    )
    columns = columns_of(plus, minus, 70, limits)
    short = x[:, :1]
    wrong: list[Callable[[], object]] = [
        lambda: count(plus, minus, short),
        lambda: count(plus, minus[:2], x),
        lambda: fire(plus, minus, limits[:2], x),
        lambda: fire(plus, minus, limits.long(), x),
        lambda: fire(plus, minus, limits, x, added[:1]),
        lambda: fire(plus, minus, limits, x.view(torch.int64)),
        lambda: gate(added, limits, added.T),
        lambda: gate(added, limits[:2]),
        lambda: count_events(columns, short),
        lambda: fire_events(columns, x, added[:1]),
        lambda: columns_of(plus, minus, 70, limits[:2]),
        lambda: columns_of(plus, minus, 60, limits),
        lambda: pack_spikes(torch.ones(2, 3)),
        lambda: pack_ternary(torch.ones(2, 3)),
        lambda: activity(x, 60),
    ]
    for call in wrong:
        with pytest.raises(NumericError):
            call()
    with pytest.raises(NumericError, match="thresholds"):
        fire_events(columns_of(plus, minus, 70), x)


def test_a_layer_takes_the_way_that_suits_it() -> None:
    planes, limits = pack_ternary(torch.ones(600, 128, dtype=torch.int8)), torch.zeros(600, dtype=torch.int32)
    assert isinstance(layer_of(*planes, 128, limits, active=0.02), Columns)
    assert isinstance(layer_of(planes[0][:10], planes[1][:10], 128, limits[:10], active=0.5), Rows)
    assert not prefers_events(10, 4096, 0.5)
    assert prefers_events(4096, 4096, 0.05)
    x = pack_spikes(torch.randint(0, 2, (5, 128), dtype=torch.uint8))
    by_rows, by_columns = layer_of(*planes, 128, limits, active=1.0), layer_of(*planes, 128, limits, active=0.02)
    added = torch.randint(-9, 9, (5, 600), dtype=torch.int32)
    for one, other in (
        (count_layer(by_rows, x), count_layer(by_columns, x)),
        (fire_layer(by_rows, x, added), fire_layer(by_columns, x, added)),
    ):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))
    with pytest.raises(NumericError, match="thresholds"):
        fire_layer(layer_of(*planes, 128), x)


def test_a_layer_by_columns_takes_no_more_memory_than_its_planes() -> None:
    for outputs, inputs in ((4096, 512), (128, 576), (600, 300)):
        columns = columns_of(*pack_ternary(torch.ones(outputs, inputs, dtype=torch.int8)), inputs)
        assert columns.records.numel() * 8 <= 2 * (inputs + 1) * words(outputs) * 8 + 64


def test_nothing_is_compiled_before_a_layer_runs() -> None:
    told = "import sys, spikeloom.kernels.packed_layers, spikeloom.kernels.packed_windows; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
