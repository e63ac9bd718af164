"""Sensitivity: what it says a small error costs at the output is what such an error costs."""

import pytest
import torch
from tests.compress.networks import prepared, samples
from torch import Tensor

from spikeloom.compress import sensitivities
from spikeloom.errors import DataError
from spikeloom.ir import calls, clone, weighted


@pytest.mark.parametrize("name", ["linear", "convolution"])
def test_it_predicts_what_noise_does(name: str) -> None:
    exact, x = prepared(name), samples(name, 256, 3)
    found = sensitivities(exact.module(), [(x,)], 256, torch.Generator().manual_seed(0), draws=8)
    layers = [node for node in calls(exact.graph) if weighted(node)]
    assert list(found) == [node.name for node in layers]
    meant = exact.module()(x)
    for node in layers[:-1]:
        graph = clone(exact.graph)
        twin = next(each for each in graph.nodes if each.name == node.name)
        noise = 1e-2 * torch.randn(256, *node.meta["spec"][0][1:], generator=torch.Generator().manual_seed(4))
        with graph.inserting_after(twin):
            noisy = graph.get_attr("noise")
        with graph.inserting_after(noisy):
            total = graph.call_function(torch.ops.aten.add.Tensor, (twin, noisy))
        twin.replace_all_uses_with(total, delete_user_cb=lambda user, total=total: user is not total)
        disturbed = exact.replaced(graph=graph, tensors={**exact.tensors, "noise": noise}).module()(x)
        measured = float((disturbed - meant).square().sum() / meant.square().sum())
        # per channel: power of the noise × G summed over channels, averaged over samples; G sums over positions and samples
        predicted = float(found[node.name].sum() * 1e-4)
        assert predicted == pytest.approx(measured, rel=0.2)


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="needs samples"):
        sensitivities(prepared("linear").module(), [], 8, torch.Generator())


def test_the_last_layer_is_felt_as_it_is() -> None:
    exact, x = prepared("linear"), samples("linear", 64, 3)
    found: dict[str, Tensor] = sensitivities(exact.module(), [(x,)], 64, torch.Generator().manual_seed(0))
    last = list(found)[-1]
    power = float(exact.module()(x).square().sum())
    assert torch.allclose(found[last], torch.full((4,), 64 / power))
