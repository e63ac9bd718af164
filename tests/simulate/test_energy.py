"""Energy: every number of a two-layer network by hand, and the sentence that says who wins."""

from collections.abc import Callable

import pytest
import torch
from tests.simulate.networks import with_tensors
from torch import nn

from spikeloom.calibrate import Balance
from spikeloom.capture import capture
from spikeloom.compress.rounding import nearest
from spikeloom.convert import Spike
from spikeloom.ir import Context, Program, grid_named, run
from spikeloom.simulate import Counter, Counts, LayerCount, energy, verdict
from spikeloom.simulate.energy import memory_pj
from spikeloom.simulate.events import VALUE_BITS


def two_layers(timesteps: int, change: Callable[[Program], Program] = lambda program: program) -> Counts:
    """Linear 4→4 (identity), ReLU with step 1 and 3 levels, linear 4→2; one sample whose levels are 1, 2, 3, 0 at every step."""
    program = capture(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)), (torch.zeros(2, 4),))
    x = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    program = run([Spike(levels=3, per_channel=False), Balance()], program, Context(lambda: [(x,)]))
    numbers = {
        "0__weight": torch.eye(4),
        "0__bias": torch.zeros(4),
        "spike_relu__step": torch.tensor(1.0),
        "spike_relu__v0": torch.tensor(0.5),
    }
    counter = Counter(change(with_tensors(program, **numbers)), timesteps)
    counter.add((x,))
    return counter.counts()


def test_the_table_of_a_two_layer_network_is_the_one_computed_by_hand() -> None:
    rows = {row.network: row for row in energy(two_layers(1))}
    assert list(rows) == ["ANN fp32", "ANN int8", "SNN (graded)", "SNN (unary)", "SNN (binary)"]
    sram = 10.0 / 64  # pJ a bit in the smallest memory
    # 4·4 + 4·2 MACs; 20 and 8 weights; 4 and 2 outputs, written once and read once
    assert rows["ANN fp32"].compute_pj == pytest.approx(24 * 4.6)
    assert rows["ANN fp32"].memory_pj == pytest.approx((28 * 32 + 2 * 6 * 32) * sram)
    assert rows["ANN int8"].compute_pj == pytest.approx(24 * 0.3)
    assert rows["ANN int8"].memory_pj == pytest.approx((28 * 8 + 2 * 6 * 8) * sram)
    # 16 MACs on analog inputs; 3 graded, 6 unary, 4 binary events, two synapses each; 4 neurons, two comparisons and one addition
    neurons = 4 * 3 * 0.9
    weights = 28 * 32 * sram
    assert rows["SNN (graded)"].compute_pj == pytest.approx(16 * 4.6 + 6 * 4.6 + neurons)
    assert rows["SNN (unary)"].compute_pj == pytest.approx(16 * 4.6 + 12 * 0.9 + neurons)
    assert rows["SNN (binary)"].compute_pj == pytest.approx(16 * 4.6 + 8 * 0.9 + neurons)
    # an event carries its payload (3 bits graded: 3 levels and a sign; else 1) and an address among 4 neurons (2 bits), written and read
    assert rows["SNN (graded)"].memory_pj == pytest.approx(weights + 3 * 2 * (3 + 2) * sram)
    assert rows["SNN (unary)"].memory_pj == pytest.approx(weights + 6 * 2 * (1 + 2) * sram)
    assert rows["SNN (binary)"].memory_pj == pytest.approx(weights + 4 * 2 * (1 + 2) * sram)
    assert rows["SNN (graded)"].total_pj == rows["SNN (graded)"].compute_pj + rows["SNN (graded)"].memory_pj
    assert rows["SNN (graded)"].operations == "6 synaptic operations, 16 MACs, 12 neuron additions"


@pytest.mark.parametrize(("kind", "bits"), [("8", 8), ("4", 4), ("ternary", 2)])
def test_weights_on_a_grid_are_priced_at_their_width(kind: str, bits: int) -> None:
    def quantised_layers(program: Program) -> Program:
        rounded = {name: nearest(program.tensors[name], grid_named(kind)) for name in ("0.weight", "2.weight")}
        return program.replaced(tensors={**program.tensors, **rounded})

    rows = {row.network: row for row in energy(two_layers(1, quantised_layers))}
    # 3 graded events of 2 bits (3 levels) to two synapses each: a multiplication of bits × 2, but for ternary weights, and an addition
    synapse = 0.1 + (0.0 if kind == "ternary" else 0.2 * bits * 2 / 64)
    neurons = 4 * 3 * 0.9
    assert rows["SNN (graded)"].compute_pj == pytest.approx(16 * 4.6 + 6 * synapse + neurons)
    assert rows["SNN (unary)"].compute_pj == pytest.approx(16 * 4.6 + 12 * 0.1 + neurons)
    sram = 10.0 / 64
    # 24 weights of so many bits and 4 biases beside them, as counted; 3 events of 5 bits written and read
    assert rows["SNN (graded)"].memory_pj == pytest.approx((28 * bits + 3 * 2 * (3 + 2)) * sram)
    assert rows["ANN int8"] == {row.network: row for row in energy(two_layers(1))}["ANN int8"]


def test_channels_with_steps_of_their_own_send_values() -> None:
    program = capture(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), (torch.zeros(2, 4),))
    x = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    for per_channel, payload in ((False, 2), (True, VALUE_BITS)):
        spiking = run([Spike(levels=3, per_channel=per_channel), Balance()], program, Context(lambda: [(x,)]))
        counter = Counter(spiking, 1)
        counter.add((x,))
        assert [row.payload_bits for row in counter.counts().rows if row.weights] == [32, payload]


def test_every_step_is_paid_and_potentials_are_kept_between_steps() -> None:
    once, twice = ({row.network: row for row in energy(two_layers(steps))} for steps in (1, 2))
    sram = 10.0 / 64
    assert twice["ANN fp32"] == once["ANN fp32"]
    assert twice["ANN int8"] == once["ANN int8"]
    assert twice["SNN (unary)"].compute_pj == pytest.approx(2 * once["SNN (unary)"].compute_pj)
    assert twice["SNN (unary)"].memory_pj == pytest.approx(2 * once["SNN (unary)"].memory_pj + 4 * 64 * 2 * sram)


@pytest.mark.parametrize(("held", "price"), [(8 * 2**10, 10), (8 * 2**10 + 1, 20), (32 * 2**10, 20), (2**20, 100), (2**20 + 1, 1950)])
def test_memory_is_priced_by_what_holds_it(held: float, price: float) -> None:
    assert memory_pj(640, held) == 10 * price


def test_large_weights_come_from_dram_at_every_step() -> None:
    row = LayerCount("conv", "affine", macs=0.0, dense_macs=10.0, weights=10**6, outputs=10)
    (fp32, int8, graded, *_) = energy(Counts(4, 1, (row,)))
    assert fp32.memory_pj == pytest.approx(10**6 * 32 / 64 * 1950 + 640 * 10 / 64)
    assert int8.memory_pj == pytest.approx(10**6 * 8 / 64 * 100 + 160 * 10 / 64)  # a million bytes fit into a megabyte of SRAM
    assert graded.memory_pj == pytest.approx(4 * 10**6 * 32 / 64 * 1950)


def test_the_verdict_says_who_wins_and_by_how_much() -> None:
    rows = energy(two_layers(1))
    of = {row.network: row.total_pj for row in rows}
    assert of["ANN int8"] < of["SNN (unary)"] < of["ANN fp32"]
    less, more = of["ANN fp32"] / of["SNN (unary)"], of["SNN (unary)"] / of["ANN int8"]
    said = (
        f"By these prices the SNN (unary events) takes {less:.1f} times less than the ANN fp32 and {more:.1f} times more than the ANN int8."
    )
    assert verdict(rows, "unary") == said


def test_a_network_without_operations_costs_nothing_and_the_verdict_still_reads() -> None:
    rows = energy(Counts(1, 1, ()))
    assert {row.total_pj for row in rows} == {0.0}
    assert "inf times more" in verdict(rows, "graded")
