"""Packed execution gives the network's answers, number for number, and refuses what is no counting and comparing."""

import gc
from pathlib import Path

import pytest
import torch
from tests.logic.networks import NETWORKS, dense, warmed
from torch import nn

from spikeloom.errors import DataError, NumericError, ProgramError
from spikeloom.ir import Dialect, Program, load, quantised, save, staircase
from spikeloom.logic import Bits, Gate, OrPool2d, PackedNetwork, Readout, TernaryLinear, freeze, fully_connected, netlist, rate_bits
from spikeloom.logic.netlist import Compare, Count, Either, Fire, Offset, Sum
from spikeloom.simulate import SpikingModel


@pytest.mark.parametrize("name", NETWORKS)
def test_packed_counts_are_the_programs(name: str) -> None:
    network, x = NETWORKS[name]()
    program = freeze(network, x[:2])
    counts = PackedNetwork(program)(x)
    assert counts.dtype == torch.int32
    assert torch.equal(counts.float(), SpikingModel(program)(x))
    assert counts.float().std() > 1


def test_more_samples_than_run_at_once() -> None:
    network, _ = dense()
    x = torch.rand(600, 1, 7, 7)
    program = freeze(network, x[:2])
    assert torch.equal(PackedNetwork(program)(x).float(), SpikingModel(program)(x))


def test_the_netlist_holds_every_layer() -> None:
    network, x = NETWORKS["residual"]()
    steps = netlist(freeze(network, x[:2])).steps
    kinds = {kind: sum(isinstance(step, kind) for step in steps) for kind in (Compare, Count, Fire, Either, Sum, Offset)}
    assert kinds == {Compare: 1, Count: 6, Fire: 5, Either: 2, Sum: 2, Offset: 1}


def test_weights_take_two_bits() -> None:
    network, x = dense()
    packed = PackedNetwork(freeze(network, x[:2]))
    words = 70 * 2 + 33 * 2 + 5 * 1  # 98, 70 and 33 inputs in words of 64
    assert packed.weight_bytes == 16 * words


def test_inputs_of_another_shape() -> None:
    network, x = dense()
    with pytest.raises(DataError, match="another shape"):
        PackedNetwork(freeze(network, x[:2]))(torch.rand(2, 1, 7, 8))


@pytest.mark.parametrize("change", ["scale", "values", "floating"])
def test_what_does_more_is_refused_by_name(change: str) -> None:
    network, x = dense()
    program = freeze(network, x[:2])
    tensors = dict(program.tensors)
    weight, heights = (next(name for name in tensors if name.endswith(end)) for end in (".weight", ".values"))
    if change == "scale":
        tensors[weight] = quantised(tensors[weight].codes(), torch.full((1, 1), 0.5), tensors[weight].grid)
    elif change == "values":
        tensors[heights] = tensors[heights] * 2
    else:
        tensors[weight] = tensors[weight].numbers()
    with pytest.raises(ProgramError, match="more than count and compare"):
        netlist(program.replaced(tensors=tensors))


def test_a_program_of_floating_neurons_is_refused(floating: Program) -> None:
    with pytest.raises(ProgramError, match="more than count and compare"):
        PackedNetwork(floating)


@pytest.fixture
def floating() -> Program:
    """A population of three levels."""
    network, x = dense()
    program = freeze(network, x[:2])
    node = next(node for node in program.graph.nodes if node.target is staircase)
    tensors = dict(program.tensors)
    for argument, value in ((node.args[1], torch.tensor([0.2, 0.4])), (node.args[2], torch.tensor([0.0, 1.0, 2.0]))):
        tensors[str(argument.target)] = value
    assert program.dialect is Dialect.SNN
    return program.replaced(tensors=tensors)


def test_bits_of_a_rate_code_come_as_often_as_values_are_large() -> None:
    torch.manual_seed(3)
    code = rate_bits(4, 2000, torch.Generator().manual_seed(1))
    values = torch.tensor([[0.1, 0.3, 0.6, 0.9]])
    rates = code(values).view(4, 2000).mean(1)
    assert torch.allclose(rates, values[0], atol=0.05)
    assert not torch.equal(code.thresholds[0], code.thresholds[1])


def test_a_network_that_reads_a_rate_code_is_the_same_on_packed_words() -> None:
    code = rate_bits(9, 3, torch.Generator().manual_seed(1))
    network = warmed(nn.Sequential(nn.Flatten(), code, TernaryLinear(27, 20), Gate(20), TernaryLinear(20, 3), Readout(3)), 1, 3, 3)
    x = torch.rand(50, 1, 3, 3)
    program = freeze(network, x[:2])
    counts = PackedNetwork(program)(x).float()
    assert torch.allclose(counts * program.settings["logit_scale"], network(x), atol=1e-4)
    assert torch.equal(counts, SpikingModel(program)(x))


def test_the_saved_file_holds_two_bits_a_weight(tmp_path: Path) -> None:
    network = warmed(fully_connected(1024, (1024,), 10), 1, 32, 32)
    save(freeze(network, torch.rand(2, 1, 32, 32)), tmp_path / "network")
    size = (tmp_path / "network" / "model.safetensors").stat().st_size
    weights = 1024 * 1024 + 10 * 1024
    assert weights / 4 < size < weights / 4 + 40_000  # thresholds and names beside them
    x = (torch.rand(4, 1, 32, 32) < 0.5).float()
    network.eval()
    assert torch.equal(PackedNetwork(load(tmp_path / "network"))(x).argmax(1), network(x).argmax(1))


def test_a_threshold_between_two_counts_is_reached_by_the_upper_one() -> None:
    network, x = dense()
    program = freeze(network, x[:2])
    name = [name for name in program.tensors if name.endswith(".thresholds")][1]
    between = program.replaced(tensors={**program.tensors, name: program.tensors[name] - 0.5})
    assert torch.equal(PackedNetwork(between)(x).float(), SpikingModel(between)(x))
    lower = program.replaced(tensors={**program.tensors, name: program.tensors[name] - 1})
    assert not torch.equal(PackedNetwork(between)(x), PackedNetwork(lower)(x))


def test_nothing_is_kept_of_the_weights_but_two_bits_each() -> None:
    network = warmed(fully_connected(1024, (512,), 10), 1, 32, 32)
    before = sum(tensor.numel() for tensor in tensors_alive() if tensor.dtype is torch.int8)
    packed = PackedNetwork(freeze(network, torch.rand(2, 1, 32, 32)))
    gc.collect()
    assert sum(tensor.numel() for tensor in tensors_alive() if tensor.dtype is torch.int8) == before
    assert packed.weight_bytes == (1024 * 512 + 512 * 10) // 4


def tensors_alive() -> list[torch.Tensor]:
    """Every tensor that Python holds."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is torch.Tensor]


def test_inputs_that_are_no_numbers() -> None:
    network, x = dense()
    with pytest.raises(DataError, match="no numbers\n  found: NaN, 1 times"):
        PackedNetwork(freeze(network, x[:2]))(torch.where(torch.arange(x.numel()).view_as(x) == 3, torch.nan, x))


@pytest.mark.parametrize("moved", [False, True])
def test_a_layer_that_counts_values_which_are_no_bits_is_refused(moved: bool) -> None:
    first = nn.Flatten() if moved else nn.Identity()
    network = warmed(nn.Sequential(first, TernaryLinear(9, 4), Gate(4), TernaryLinear(4, 3), Readout(3)), 9)
    with pytest.raises(ProgramError, match="counts values that are no bits\n"):
        PackedNetwork(freeze(network, torch.rand(2, 9)))


def test_a_layer_of_more_inputs_than_a_count_can_hold_is_refused() -> None:
    with pytest.raises(NumericError, match="more inputs than its accumulator of 32 bits can count"):
        TernaryLinear(2**31, 1)


def test_counts_that_are_added_beyond_the_accumulator_are_refused() -> None:
    layers = [Bits(), TernaryLinear(9, 3), *[Doubled() for _ in range(29)], Readout(3)]
    program = freeze(warmed(nn.Sequential(*layers), 9), torch.rand(2, 9))
    with pytest.raises(NumericError, match="more inputs than its accumulator of 32 bits can count"):
        PackedNetwork(program)


class Doubled(nn.Module):
    """Counts added to themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


def test_a_window_over_values_which_are_no_bits_is_refused() -> None:
    layers = [OrPool2d(2), Bits(), nn.Flatten(), TernaryLinear(4, 4), Gate(4), TernaryLinear(4, 3), Readout(3)]
    program = freeze(warmed(nn.Sequential(*layers), 1, 4, 4), torch.rand(2, 1, 4, 4))
    with pytest.raises(ProgramError, match="counts values that are no bits\n"):
        PackedNetwork(program)


@pytest.mark.parametrize("offset", [2.0**31 - 8, 8 - 2.0**31, -(2.0**31), 2.0**40])
def test_an_offset_beyond_the_accumulator_is_refused(offset: float) -> None:
    network, x = dense()
    program = freeze(network, x[:2])
    name = next(name for name in program.tensors if name.endswith(".offsets"))
    far = torch.tensor([0.0, 0.0, offset, 0.0, 0.0], dtype=torch.float64)
    with pytest.raises(NumericError, match="more inputs than its accumulator of 32 bits can count"):
        PackedNetwork(program.replaced(tensors={**program.tensors, name: far}))
