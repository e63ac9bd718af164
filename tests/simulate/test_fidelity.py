"""Fidelity: a network without error measures as one, and the population that was damaged is the one that is named."""

import math

import pytest
import torch
from tests.ir.networks import awake, conv
from tests.simulate.networks import ann, balanced, damaged, perfect, samples, with_tensors
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.ir import Context, Program, run
from spikeloom.plan import Fuse
from spikeloom.simulate import Fidelity, Recorder, SpikingModel, decoded, executable, fidelity, populations, repeated, worst


def fused(program: Program) -> Program:
    return run([Fuse()], program, Context())


def rows(program: Program, exact: Program, x: Tensor, timesteps: int = 1, size: int = 64) -> dict[str, Fidelity]:
    found = fidelity(program, fused(exact), [(part,) for part in x.split(size)], timesteps)
    return {row.node: row for row in found}


@pytest.mark.parametrize("name", ["linear", "residual"])
def test_a_network_without_error_measures_as_one(name: str) -> None:
    found = rows(perfect(ann(name)), ann(name), samples(ann(name), 64))
    assert len(found) == {"linear": 2, "residual": 3}[name]
    assert min(row.sqnr_db for row in found.values()) > 70
    assert min(row.cosine for row in found.values()) > 0.99999


def test_no_error_at_all_is_a_number_that_json_can_hold() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    program = capture(model, (torch.zeros(2, 2),))
    program = program.replaced(tensors={**program.tensors, "0.weight": torch.eye(2), "0.bias": torch.zeros(2)})
    made = with_tensors(balanced(program), spike_relu__step=torch.ones(2), spike_relu__v0=torch.full((2,), 0.5))
    x = torch.tensor([[1.0, 2.0], [-3.0, 0.0], [7.0, 1.0]])
    found = rows(made, program, x)["spike_relu"]
    assert 100 < found.sqnr_db < math.inf
    assert math.isfinite(found.drop_db)
    assert found.cosine == pytest.approx(1.0)


def test_a_row_holds_the_numbers_of_its_definition() -> None:
    program, x, steps = balanced(ann("residual"), 3, method="if"), samples(ann("residual"), 40), 3
    found = rows(program, ann("residual"), x, steps, size=16)["spike_relu_1"]
    spikes, exact = (
        Recorder(executable(program, steps), ["spike_relu_1"]),
        Recorder(fused(ann("residual")).module(), [found.source]),
    )
    with torch.no_grad():
        spikes.run(repeated(x, steps))
        exact.run(x)
    o, a = decoded(spikes.kept["spike_relu_1"], steps).double(), exact.kept[found.source].double()
    assert found.sqnr_db == pytest.approx(10 * math.log10(float(a.square().sum() / (a - o).square().sum())), abs=1e-3)
    assert found.cosine == pytest.approx(float((a * o).sum() / (a.norm() * o.norm())), abs=1e-5)
    raw = spikes.kept["spike_relu_1"]
    assert found.firing_rate == pytest.approx(float((raw != 0).float().mean()), abs=1e-6)
    assert found.saturation == found.firing_rate  # one level: every spike is the top level
    assert found.silent == pytest.approx(float((raw == 0).all(0).float().mean()), abs=1e-6)
    assert found.function == "relu"


@pytest.mark.parametrize("name", ["linear", "residual"])
@pytest.mark.parametrize("levels", [7, 31])
def test_the_damaged_population_is_the_one_that_is_named(name: str, levels: int) -> None:
    exact, x = ann(name), samples(ann(name), 64)
    sound = balanced(exact, levels=levels)
    for node in populations(sound):
        found = rows(damaged(sound, node.name), exact, x)
        hurt = worst(found.values())
        assert hurt is not None
        assert hurt.node == node.name


def test_nothing_hurts_where_there_is_no_population() -> None:
    assert worst([]) is None


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "as captured"])
def test_batch_norms_that_were_folded_are_measured_behind_themselves(fuse: bool) -> None:
    model = awake(nn.Sequential(conv(2, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 3), nn.BatchNorm2d(3), conv(3, 2)))
    exact = capture(model, (torch.randn(2, 2, 6, 6),))
    found = fidelity(balanced(exact, levels=65535), fused(exact) if fuse else exact, [(samples(exact, 64),)], 1)
    assert [row.function for row in found] == ["relu", "identity"]
    assert min(row.sqnr_db for row in found) > 70


def test_an_activation_that_was_moved_before_its_max_pool_has_a_counterpart_only_in_the_fused_ann() -> None:
    model = nn.Sequential(conv(2, 4), nn.MaxPool2d(3, 1, 1), nn.ReLU(), conv(4, 2))
    exact = capture(model, (torch.randn(2, 2, 6, 6),))
    program, x = balanced(exact, levels=65535), samples(exact, 16)
    assert SpikingModel(program, ann=exact).verify_fidelity(x) == ()
    (found,) = fidelity(program, fused(exact), [(x,)], 1)
    assert found.sqnr_db > 70
