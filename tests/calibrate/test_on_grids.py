"""Compensation of weights that lie on a grid or are pruned: they stay there, and the network is better for it."""

import dataclasses

import pytest
import torch
from tests.compress.networks import SHAPES, prepared, samples, stream

from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import Quantise, quantised_layers, settled
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Pass, Program, calls, constant_name, run, weighted
from spikeloom.simulate import SpikingModel, primary

SPIKE: list[Pass] = [Unfold(), Spike(levels=15), Balance()]


def lost(program: Program, exact: Program, name: str) -> float:
    x = samples(name, 256, 77)
    with torch.no_grad():
        meant, found = exact.module()(x), primary(SpikingModel(program, timesteps=1)(x))
    return float((found - meant).square().sum() / meant.square().sum())


@pytest.mark.parametrize("weights", ["8", "4", "ternary"])
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_weights_stay_on_their_grid_and_the_network_gets_better(name: str, weights: str) -> None:
    exact, context = prepared(name), stream(name)
    spiking = run([Quantise(weights), *SPIKE], exact, context)
    after = run([Compensate()], spiking, dataclasses.replace(context, reference=exact, settle=settled))
    assert {key: one.grid for key, one in quantised_layers(after).items()} == {k: one.grid for k, one in quantised_layers(spiking).items()}
    assert lost(after, exact, name) < 1.15 * lost(spiking, exact, name)
    if weights == "ternary" and name in ("linear", "convolution"):
        assert lost(after, exact, name) < 0.99 * lost(spiking, exact, name)


def test_it_works_towards_the_exact_weights() -> None:
    """Without the reference, rounded weights are taken for what the layer should do."""
    exact, context = prepared("convolution"), stream("convolution")
    spiking = run([Quantise("ternary"), *SPIKE], exact, context)
    blind = run([Compensate()], spiking, dataclasses.replace(context, settle=settled))
    aimed = run([Compensate()], spiking, dataclasses.replace(context, reference=exact, settle=settled))
    assert lost(aimed, exact, "convolution") < 0.9 * lost(blind, exact, "convolution")


@pytest.mark.parametrize("weights", [None, "4"])
def test_zeros_of_a_pruned_layer_stay(weights: str | None) -> None:
    exact, context = prepared("linear"), stream("linear")
    tensors = dict(exact.tensors)
    pruned = exact.replaced(tensors=tensors)
    layer = [node for node in calls(pruned.graph) if weighted(node)][1]
    name = constant_name(layer.args[1])
    mask = torch.rand(tensors[name].shape, generator=torch.Generator().manual_seed(2)) > 0.5
    tensors[name] = tensors[name] * mask
    layer.meta["note"] = {**layer.meta.get("note", {}), "pruned": "unstructured"}
    first = [Quantise(weights)] if weights else []
    spiking = run([*first, *SPIKE], pruned, context)
    after = run([Compensate()], spiking, dataclasses.replace(context, reference=prepared("linear"), settle=settled))
    layer = [node for node in calls(after.graph) if weighted(node)][1]
    kept = after.tensors[constant_name(layer.args[1])] + 0
    assert bool((kept[~mask] == 0).all())
    assert float((kept != 0).float().mean()) > 0.3
    assert lost(after, exact, "linear") < lost(spiking, exact, "linear")


def test_without_what_rounds_them_they_are_refused() -> None:
    exact = prepared("linear")
    context = stream("linear")
    with pytest.raises(ConfigError, match="corrected with what rounds them"):
        run([Compensate()], run([Quantise("4"), *SPIKE], exact, context), Context(context.calibration))
