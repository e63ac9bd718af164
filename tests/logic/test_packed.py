"""Packed execution gives the network's answers, number for number, and refuses what is no counting and comparing."""

import pytest
import torch
from tests.logic.networks import NETWORKS, dense

from spikeloom.errors import DataError, ProgramError
from spikeloom.ir import Dialect, Program, quantised, staircase
from spikeloom.logic import PackedNetwork, freeze, netlist
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
    assert kinds == {Compare: 1, Count: 8, Fire: 7, Either: 2, Sum: 2, Offset: 1}


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
