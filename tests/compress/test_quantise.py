"""Quantisation: weights on their grid, less lost than by rounding to the nearest, more bits where they serve more."""

import pytest
import torch
from tests.compress.networks import SHAPES, lost, prepared, samples, stream

from spikeloom.compress import Quantise, bits_kept, quantised_layers
from spikeloom.errors import ConfigError, DataError, VerifyError
from spikeloom.ir import Context, Dialect, Program, load, run, save


def quantised(name: str, **options: object) -> Program:
    return run([Quantise(**options)], prepared(name), stream(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", ["8", "4", "ternary"])
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_layer_lies_on_its_grid_and_loses_less_than_by_the_nearest(name: str, weights: str) -> None:
    exact, found, plain = prepared(name), quantised(name, weights=weights), quantised(name, weights=weights, method="nearest")
    assert found.dialect is Dialect.QNN
    layers = quantised_layers(found)
    assert len(layers) == 3
    assert {"8": 8, "4": 4, "ternary": 2}[weights] == bits_kept(found)
    for one in layers.values():
        assert one.error is not None
        assert 0 < one.error < {"8": 1e-3, "4": 0.05, "ternary": 0.6}[weights]
    most = 1.2 if (name, weights) == ("depthwise", "ternary") else 0.9  # nine weights of three values leave little to choose
    assert lost(found, exact, name) < most * lost(plain, exact, name)
    assert [row["node"] for row in found.records[-1].numbers["layers"]] == list(layers)


def test_groups_share_a_scale_where_they_divide_the_inputs() -> None:
    layers = quantised("linear", weights="4", group=8).tensors
    shapes = {tuple(one.scale.shape) for one in quantised_layers(quantised("linear", weights="4", group=8)).values()}
    assert layers
    assert shapes == {(24, 1), (16, 3), (4, 2)}  # 12 inputs are no multiple of 8


def test_one_layer_may_be_of_another_kind() -> None:
    exact = prepared("linear")
    first = next(node.name for node in exact.graph.nodes if node.name.startswith("linear"))
    found = quantised_layers(run([Quantise("ternary", layers=((first, "8"),))], exact, stream("linear")))
    assert [one.grid.width for one in found.values()] == [8, 2, 2]


@pytest.mark.parametrize("bits", [2.0, 3.0, 4.0, 6.0, 8.0])
def test_hybrid_weights_keep_to_their_budget(bits: float) -> None:
    found = quantised("convolution", weights="hybrid", bits=bits)
    assert bits_kept(found) <= bits
    if bits in (4.0, 6.0):
        assert lost(found, prepared("convolution"), "convolution") < lost(
            quantised("convolution", weights="ternary"), prepared("convolution"), "convolution"
        )


def test_hybrid_is_better_than_all_layers_alike() -> None:
    exact = prepared("convolution")
    assert lost(quantised("convolution", weights="hybrid", bits=4.0), exact, "convolution") < 1.05 * lost(
        quantised("convolution", weights="4"), exact, "convolution"
    )


def test_it_is_the_same_for_the_same_seed_and_after_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first, second = quantised("depthwise", weights="4"), quantised("depthwise", weights="4")
    save(first, tmp_path / "a")
    x = samples("depthwise", 3, 9)
    for other in (second, load(tmp_path / "a")):
        assert torch.equal(other.module()(x), first.module()(x))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"weights": "3"}, "weights is unknown"),
        ({"method": "best"}, "rounding is unknown"),
        ({"layers": (("nowhere", "8"),)}, "names no layer"),
        ({"weights": "hybrid", "bits": 1.0}, "too few"),
        ({"weights": "4", "group": 0}, "cannot take"),
    ],
)
def test_options_that_quantise_nothing_are_refused(options: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        quantised("linear", **options)


def test_without_data_only_the_nearest() -> None:
    exact = prepared("linear")
    with pytest.raises(ConfigError, match="needs calibration data"):
        run([Quantise("4")], exact, Context())
    with pytest.raises(DataError, match="needs samples"):
        run([Quantise("4")], exact, Context(lambda: iter(())))
    assert quantised_layers(run([Quantise("4", method="nearest")], exact, Context()))


def test_a_quantised_program_is_not_quantised_again() -> None:
    with pytest.raises(VerifyError, match="cannot follow"):
        run([Quantise("8"), Quantise("4")], prepared("linear"), stream("linear"))
