"""Freezing: the program answers what the network answers, in whole numbers, with ternary weights, and no multiplication."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikeloom.errors import NumericError, ProgramError
from spikeloom.ir import Quantised, load, save
from spikeloom.logic import (
    Bits,
    Gate,
    Readout,
    Residual,
    TernaryConv2d,
    TernaryLinear,
    convolutional,
    floating_twin,
    freeze,
    fully_connected,
)
from spikeloom.simulate import Counter, SpikingModel, energy


class Functional(nn.Module):
    """A network whose forward adds and flattens by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.bits, self.first, self.second = Bits((0.5,)), TernaryConv2d(1, 4, 3, padding=1), TernaryConv2d(4, 4, 3, padding=1)
        self.gate, self.last, self.out, self.read = Gate(4), Gate(4), TernaryLinear(4 * 36, 3), Readout(3)

    def forward(self, x: Tensor) -> Tensor:
        counts = self.first(self.bits(x))
        counts = counts + self.second(self.gate(counts))
        return self.read(self.out(torch.flatten(self.last(counts), 1)))


NETWORKS = {
    "no hidden layer": (lambda: fully_connected(36, (), 3), (36,)),
    "fully connected": (lambda: fully_connected(36, (20, 10), 3), (36,)),
    "thermometer": (lambda: fully_connected(36, (20,), 3, (0.2, 0.5, 0.8)), (1, 6, 6)),
    "convolutional": (lambda: convolutional((1, 6, 6), (4, 6), 10, 3), (1, 6, 6)),
    "colours, thermometer": (lambda: convolutional((3, 6, 6), (4,), 10, 3, (0.3, 0.6)), (3, 6, 6)),
    "residual": (lambda: convolutional((2, 6, 6), (4,), 10, 3, residual=True), (2, 6, 6)),
    "functional": (Functional, (1, 6, 6)),
}


def trained(name: str, steps: int = 40) -> tuple[nn.Module, Tensor]:
    """A network whose statistics, shifts and weights are those of some training, and test inputs."""
    build, shape = NETWORKS[name]
    network = build().train()
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(steps):
        x = torch.rand(32, *shape)
        y = (x.flatten(1).mean(1) * 30).long() % 3
        loss = nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval(), torch.rand(64, *shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_is_the_network_exactly(name: str) -> None:
    network, x = trained(name)
    program = freeze(network, x[:2])
    snn = SpikingModel(program)
    with torch.no_grad():
        counts, logits = snn(x), network(x)
    assert torch.equal(counts, counts.round())
    assert torch.allclose(counts * program.settings["logit_scale"], logits, rtol=1e-5, atol=1e-6)
    assert torch.equal(counts.argmax(1), logits.argmax(1))
    assert len(counts.unique(dim=0)) > 1


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_multiplied(name: str) -> None:
    network, x = trained(name, 2)
    program = freeze(network, x[:2])
    counter = Counter(program, 1)
    counter.add((x,))
    counts = counter.counts()
    assert sum(row.macs for row in counts.rows) == 0
    assert all(row.weight_bits == 2 and row.payload_bits == 1 for row in counts.rows if row.operations)
    assert counts.operations() > 0
    assert all(row.gates == row.neurons > 0 for row in counts.rows if row.neurons)
    assert "0 neuron additions" in next(row for row in energy(counts) if row.network == "SNN (graded)").operations


def test_a_silent_weight_costs_no_operation() -> None:
    network, x = trained("no hidden layer")
    program = freeze(network, x[:2])
    counter = Counter(program, 1)
    counter.add((x,))
    codes = next(tensor for tensor in program.tensors.values() if isinstance(tensor, Quantised)).codes()
    events = (x >= 0.5).float() @ (codes != 0).float().sum(0)
    assert counter.counts().operations() == pytest.approx(float(events.mean()))
    assert int((codes == 0).sum()) > 0


def test_a_saved_program_answers_the_same_and_keeps_two_bits_a_weight(tmp_path: Path) -> None:
    network, x = trained("convolutional")
    program = freeze(network, x[:2], {"classes": 3})
    save(program, tmp_path / "p")
    again = load(tmp_path / "p")
    assert torch.equal(SpikingModel(again)(x), SpikingModel(program)(x))
    assert again.settings["classes"] == 3
    held = [tensor for tensor in again.tensors.values() if isinstance(tensor, Quantised)]
    assert len(held) == 6
    assert all(tensor.kept.numel() == -(-tensor.numel() // 4) for tensor in held)


def test_freezing_leaves_the_network_in_its_mode() -> None:
    network, x = trained("fully connected", 1)
    freeze(network.train(), x[:2])
    assert network.training


def test_a_layer_whose_weights_all_became_zero_is_named() -> None:
    network, x = trained("fully connected", 1)
    network[4].latent.data.zero_()
    with pytest.raises(NumericError) as caught:
        freeze(network, x[:2])
    assert str(caught.value).splitlines() == [
        "all weights of a ternary layer are 0",
        "  found: 4 (below a share of 0.7 of the mean)",
        "  allowed: a weight or more that is not 0",
        "  what to do: give a smaller share, such as 0.7; at that share train with a lower learning rate, or from another seed",
    ]


@pytest.mark.parametrize(
    ("layer", "found"), [(nn.ReLU(), "ReLU"), (nn.Linear(3, 3), "Linear"), (nn.BatchNorm1d(3), "BatchNorm1d")], ids=lambda value: str(value)
)
def test_a_layer_that_is_no_logic_is_named(layer: nn.Module, found: str) -> None:
    network = nn.Sequential(Bits((0.5,)), TernaryLinear(3, 3), layer)
    with pytest.raises(ProgramError, match=f"counting and comparing\n  found: 2: {found}"):
        freeze(network, torch.rand(2, 3))


def test_an_operation_that_is_no_logic_is_named() -> None:
    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    with pytest.raises(ProgramError, match="counting and comparing"):
        freeze(Product(), torch.rand(2, 3))


def test_the_twin_has_the_same_form_in_floating_point() -> None:
    network, x = trained("colours, thermometer", 1)
    twin = floating_twin(network)
    kinds = [type(layer).__name__ for layer in twin.modules()]
    assert not any(isinstance(layer, TernaryLinear | TernaryConv2d | Gate | Bits) for layer in twin.modules())
    assert (kinds.count("Conv2d"), kinds.count("Linear"), kinds.count("ReLU"), kinds.count("MaxPool2d")) == (2, 2, 3, 1)
    assert twin.train()(x).shape == (64, 3)
    first = next(layer for layer in twin.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 3  # of 6 bits
    residual = floating_twin(trained("residual", 1)[0])
    assert any(isinstance(layer, Residual) for layer in residual.modules())
