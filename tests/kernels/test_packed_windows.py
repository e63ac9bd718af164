"""Packed convolutions and pooling give what torch's give, on any shape."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.kernels.packed import pack_spikes
from spikeloom.kernels.packed_events import columns_of
from spikeloom.kernels.packed_layers import Layer, Rows
from spikeloom.kernels.packed_windows import Window, count_conv, fire_conv, pack_filters, pack_pixels, pool, unpack_pixels

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return {
        "batch": draw(st.integers(0, 3)),
        "groups": groups,
        "channels": groups * draw(st.sampled_from([1, 3, 21, 32, 43, 64, 65, 130])),
        "outputs": groups * draw(st.sampled_from([1, 5, 64, 70])),
        "picture": (draw(st.integers(3, 9)), draw(st.integers(3, 9))),
        "window": Window(
            draw(PAIRS), draw(PAIRS), draw(st.tuples(st.integers(0, 2), st.integers(0, 2))), draw(st.sampled_from([(1, 1), (1, 2), (2, 1)]))
        ),
        "columns": draw(st.booleans()),
        "added": draw(st.booleans()),
        "pixels": draw(st.sampled_from([1, 20, 1000])),
        "seed": draw(st.integers(0, 10**6)),
    }


def fits(case: dict[str, Any]) -> bool:
    window = case["window"]
    sides = zip(case["picture"], window.kernel, window.padding, window.dilation, strict=True)
    return all(side + 2 * edge >= gap * (kernel - 1) + 1 for side, kernel, edge, gap in sides)


def convolved(x: Tensor, weights: Tensor, window: Window, groups: int) -> Tensor:
    """The plain counts [b, oh, ow, o]; torch.nn.functional.conv2d in float64 is exact for such numbers."""
    y = torch.nn.functional.conv2d(x.double(), weights.double(), None, window.stride, window.padding, window.dilation, groups)
    return y.permute(0, 2, 3, 1).int()


@settings(deadline=None, max_examples=150)
@given(convolutions().filter(fits))
def test_convolutions_are_those_of_plain_integers(case: dict[str, Any]) -> None:
    g = torch.Generator().manual_seed(case["seed"])
    groups, window = case["groups"], case["window"]
    x = torch.randint(0, 2, (case["batch"], case["channels"], *case["picture"]), generator=g, dtype=torch.uint8)
    weights = torch.randint(-1, 2, (case["outputs"], case["channels"] // groups, *window.kernel), generator=g, dtype=torch.int8)
    thresholds = torch.randint(-3, 4, (case["outputs"],), generator=g, dtype=torch.int32)
    expected = convolved(x, weights, window, groups)
    added = torch.randint(-3, 4, expected.shape, generator=g, dtype=torch.int32) if case["added"] else None
    layers: list[Layer] = []
    for part, limits in zip(weights.chunk(groups), thresholds.chunk(groups), strict=True):
        planes, inputs = pack_filters(part), part[0].numel()
        layers.append(columns_of(*planes, inputs, limits) if case["columns"] else Rows(*planes, limits, inputs, len(part)))
    given_layers = layers[0] if groups == 1 else layers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeloom.kernels.packed_windows.PIXELS", case["pixels"])
        assert torch.equal(count_conv(given_layers, pack_pixels(x), case["channels"], window), expected)
        out = fire_conv(given_layers, pack_pixels(x), case["channels"], window, added)
    spikes = (expected + (0 if added is None else added) >= thresholds).to(torch.uint8)
    assert torch.equal(out.view(torch.int64), pack_spikes(spikes).view(torch.int64))


@settings(deadline=None, max_examples=80)
@given(convolutions().filter(fits))
def test_a_pool_spikes_where_any_of_its_window_does(case: dict[str, Any]) -> None:
    g, window = torch.Generator().manual_seed(case["seed"]), case["window"]
    x = (torch.rand(case["batch"], case["channels"], *case["picture"], generator=g) < 0.2).to(torch.uint8)
    padded = torch.nn.functional.pad(x, (window.padding[1],) * 2 + (window.padding[0],) * 2)
    expected = torch.nn.functional.max_pool2d(padded.double(), window.kernel, window.stride, 0, window.dilation).to(torch.uint8)
    assert torch.equal(unpack_pixels(pool(pack_pixels(x), window), case["channels"]), expected)


def test_what_does_not_fit_is_refused() -> None:
    x = pack_pixels(torch.ones(1, 3, 4, 4, dtype=torch.uint8))
    plus, minus = pack_filters(torch.ones(2, 3, 3, 3, dtype=torch.int8))
    layer = Rows(plus, minus, None, 27, 2)
    with pytest.raises(NumericError, match="larger"):
        count_conv(layer, x, 3, Window((5, 5)))
    with pytest.raises(NumericError, match="channels"):
        count_conv(layer, x, 4, Window((3, 3)))
    with pytest.raises(NumericError, match="channels"):
        count_conv([layer, layer], x, 3, Window((3, 3)))
    with pytest.raises(NumericError, match="hold"):
        count_conv(Rows(plus, minus, None, 900, 2), x, 100, Window((3, 3)))
    for layers in (layer, [layer._replace(inputs=9)] * 3):
        with pytest.raises(NumericError, match="thresholds"):
            fire_conv(layers, x, 3, Window((3, 3)))
