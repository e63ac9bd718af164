"""Placement: tensors where the map says, values where they are read; "meta" stands in for the device this machine lacks."""

from pathlib import Path

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from torch import nn

from spikeloom.capture import capture
from spikeloom.errors import ConfigError
from spikeloom.ir import Handle
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.placement import auto_map, device_of


def test_the_longest_prefix_says_where_a_tensor_lies() -> None:
    devices = {"model.layers.0": 0, "model.layers": "cpu", "lm_head": "disk"}
    assert device_of("model.layers.0.weight", devices) == torch.device("cuda", 0)
    assert device_of("model.layers.01.weight", devices) == torch.device("cpu")
    assert device_of("lm_head.weight", devices) == torch.device("cpu")
    assert device_of("other", devices) is None
    assert device_of("other", {"": "meta"}) == torch.device("meta")


@pytest.mark.parametrize("name", ["residual", "attention"])
def test_one_device_for_all_changes_nothing(name: str) -> None:
    snn, x = SpikingModel(balanced(ann(name))), samples(ann(name), 3)
    wanted = snn(x)
    assert torch.equal(snn.dispatch({"": "cpu"})(x), wanted)
    assert torch.equal(snn(x, timesteps=2), SpikingModel(balanced(ann(name)))(x, timesteps=2))


def test_layers_run_where_their_weights_are_and_values_follow() -> None:
    snn = SpikingModel(balanced(ann("linear")))
    names = [name for name in snn.program.tensors if name.endswith("weight")]
    snn.dispatch({names[-1].rsplit(".", 1)[0]: "meta"})
    moves = [node for node in snn.network.graph.nodes if node.op == "call_method"]
    assert [str(node.args[1]) for node in moves] == ["meta", "cpu"]  # into the last layer, and its output back
    assert snn.network.get_buffer(names[-1]).device.type == "meta"
    assert snn.network.get_buffer(names[0]).device.type == "cpu"
    assert snn.program.tensors[names[-1]].device.type == "cpu"  # the program is as it was
    with pytest.raises(NotImplementedError, match="meta"):  # everything but the way back from nowhere runs
        snn(samples(ann("linear"), 3))


def test_half_precision_weights_move_as_they_are() -> None:
    program = capture(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).bfloat16(), (torch.randn(2, 4),))
    from spikeloom.simulate.placement import placed

    module = placed(program.module(), {"": "meta"}, torch.device("meta"))
    weight = module.get_buffer("0.weight")
    assert isinstance(weight, Handle)
    assert (weight.stored.dtype, weight.stored.device.type) == (torch.bfloat16, "meta")
    assert module(torch.randn(5, 4, device="meta")).shape == (5, 3)


def test_a_tensor_two_devices_read_is_copied_for_the_second() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.b(self.a(x)), self.a.weight)

    from spikeloom.simulate.placement import placed

    module = placed(capture(Tied(), (torch.randn(2, 4),)).module(), {"b": "meta"}, torch.device("cpu"))
    assert sum(node.op == "call_method" for node in module.graph.nodes) == 3  # value and weight to b's device, and back


def test_a_map_that_places_nothing_or_names_no_device_is_refused() -> None:
    snn = SpikingModel(balanced(ann("linear")))
    with pytest.raises(ConfigError, match=r"(?s)places nothing.*nowhere"):
        snn.dispatch({"nowhere": "cpu"})
    with pytest.raises(ConfigError, match="names no device"):
        snn.dispatch({"": "elsewhere"})


def test_accelerate_fills_one_device_after_the_other_and_parts_no_block(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    model = nn.ModuleDict({"layers": nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16)) for _ in range(4))})

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.model["layers"]:  # type: ignore[union-attr]
                x = layer(x)
            return x

    program = capture(Stack(), (torch.randn(2, 16),))
    block = 2 * (16 * 16 + 16) * 4
    found = auto_map(program, {"cpu": 3 * block, "disk": 100 * block})
    assert {device_of(name, found) for name in program.tensors} == {torch.device("cpu")}
    placed_at = {name.split(".")[2]: device for name, device in found.items() if name.count(".") >= 2}
    assert set(placed_at.values()) == {"cpu", "disk"}
    assert all(name.count(".") <= 2 for name in found)
