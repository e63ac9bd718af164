"""Response: what it says a change of weights does to the output is, about, what such a change does."""

import pytest
import torch
from tests.compress.networks import SHAPES, prepared

from spikeloom.compress.response import responses
from spikeloom.ir import Program, calls, constant_name, weighted


def moved(program: Program, name: str, seed: int, size: float) -> Program:
    """The program with noise on one layer's weights."""
    weight = program.tensors[name]
    noise = size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    return program.replaced(tensors={**program.tensors, name: weight + noise})


@pytest.mark.parametrize("name", ["linear", "convolution"])
def test_it_predicts_what_noise_on_weights_does(name: str) -> None:
    exact, x = prepared(name), torch.randn(192, *SHAPES[name], generator=torch.Generator().manual_seed(1))
    found = responses(exact, [(x,)], 1, torch.Generator().manual_seed(0))
    layers = [node for node in calls(exact.graph) if weighted(node)]
    assert list(found) == [node.name for node in layers]
    inputs = dict(zip([node.name for node in layers], inputs_of(exact, x), strict=True))
    meant, size = exact.module()(x), 1e-3
    ratios: list[float] = []
    for node in layers:
        changes = [moved(exact, constant_name(node.args[1]), seed, size).module()(x) for seed in range(8)]
        measured = sum(float((change - meant).square().sum(1).mean()) for change in changes) / 8
        # noise of variance s² on weights: Var[δw x] = s² · Σ_j Var[x_j], the same for every channel
        ratios.append(size**2 * inputs[node.name] * float(found[node.name].sum()) / measured)
    assert all(0.3 < ratio < 3 for ratio in ratios), ratios


def inputs_of(program: Program, x: torch.Tensor) -> list[float]:
    """Σ_j Var[x_j] of what every layer receives, over samples (and, of pictures, places of a 3×3 window with padding left out)."""
    seen: list[float] = []

    class Watched(torch.fx.Interpreter):
        def run_node(self, n):  # type: ignore[no-untyped-def]
            if weighted(n):
                received = self.env[n.args[0]]
                taps = 9 if received.dim() == 4 else 1
                variance = received.var(0) if received.dim() == 2 else received.var((0, 2, 3))
                seen.append(float(variance.sum()) * taps)
            return super().run_node(n)

    with torch.no_grad():
        Watched(program.module()).run(x)
    return seen


def test_a_channel_that_nobody_reads_is_not_felt() -> None:
    exact = prepared("linear")
    layers = [node for node in calls(exact.graph) if weighted(node)]
    second = constant_name(layers[1].args[1])
    deaf = exact.tensors[second].clone()
    deaf[:, 3] = 0
    found = responses(
        exact.replaced(tensors={**exact.tensors, second: deaf}), [(torch.randn(32, 12),)], 1, torch.Generator().manual_seed(0)
    )
    felt = found[layers[0].name]
    assert float(felt[3]) == 0
    assert float(felt.sum()) > 0
