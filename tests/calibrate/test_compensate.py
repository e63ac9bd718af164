"""Compensation: the error of the whole network falls on samples it never saw, and nothing that was given is changed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, conv
from tests.simulate.networks import ann, correlated, samples, stream_of, unbalanced
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance, Compensate
from spikeloom.calibrate.compensate import conditional_means
from spikeloom.calibrate.observe import Observation, see_histogram, see_range
from spikeloom.capture import capture
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Context, Program, calls, run, text, weighted
from spikeloom.neuron import Axis, by_channel
from spikeloom.simulate import Recorder, SpikingModel, executable, primary
from spikeloom.simulate.frontier import widest_cut


def transposed(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    return c(F.relu(b(F.relu(a(x)))))


def shared(x: Tensor, a: nn.Module, b: nn.Module, head: nn.Module) -> Tensor:
    """One module called twice: each call is a layer of its own after compensation."""
    return head(F.relu(b(F.relu(b(F.relu(a(x)))))).flatten(1))


def subtracted(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    """A residual branch that is taken away, by an addition with a factor."""
    y = F.relu(a(x))
    return c(F.relu(torch.add(y, b(y), alpha=-2)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "depthwise": (
        lambda: nn.Sequential(
            conv(2, 6), nn.ReLU(), conv(6, 6, groups=6, bias=False), nn.ReLU6(), conv(6, 4, 1), nn.Flatten(), nn.Linear(144, 3)
        ),
        (2, 6, 6),
    ),
    "transposed": (lambda: Wired(transposed, conv(2, 4), nn.ConvTranspose2d(4, 4, 3, groups=2, bias=False), conv(4, 2)), (2, 6, 6)),
    "shared": (lambda: Wired(shared, conv(2, 4), conv(4, 4), nn.Linear(144, 3)), (2, 6, 6)),
    "subtracted": (lambda: Wired(subtracted, conv(2, 4), conv(4, 4), conv(4, 2)), (2, 6, 6)),
    "1d": (
        lambda: nn.Sequential(nn.Conv1d(2, 5, 3), nn.ReLU(), nn.Conv1d(5, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
        (2, 11),
    ),
    "same padding": (lambda: nn.Sequential(conv(2, 4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding="same"), nn.ReLU(), conv(3, 2)), (2, 6, 6)),
}
NAMES = [*NETWORKS, "linear", "residual", "gate", "attention", "normed", "prelu"]
MUCH = {"depthwise", "shared", "1d", "linear", "residual", "gate", "normed", "prelu"}
"""Where compensation has weights to change behind every population."""


@cache
def network(name: str) -> Program:
    if name not in NETWORKS:
        return ann(name)
    make, shape = NETWORKS[name]
    torch.manual_seed(11)
    return capture(make().eval(), (torch.randn(2, *shape),))


def converted(
    program: Program, timesteps: int = 1, x: Tensor | None = None, options: dict[str, Any] | None = None, **spike: Any
) -> tuple[Program, Program]:
    """The program with thresholds alone, and compensated too."""
    context = Context(stream_of(correlated(program, 512) if x is None else x))
    before = run([Balance(timesteps=timesteps)], unbalanced(program, **{"levels": 3, **spike}), context)
    return before, run([Compensate(timesteps=timesteps, **(options or {}))], before, context)


def output_error(program: Program, exact: Program, timesteps: int = 1) -> float:
    x = correlated(exact, 512, seed=99)
    a = primary(exact.module()(x))
    return float((SpikingModel(program, timesteps=timesteps)(x) - a).square().mean() / a.var())


@pytest.mark.parametrize("name", NAMES)
def test_the_output_comes_nearer_to_the_ann(name: str) -> None:
    before, after = converted(network(name))
    assert output_error(after, network(name)) < (0.9 if name in MUCH else 1.0) * output_error(before, network(name))


@pytest.mark.parametrize("name", ["linear", "residual", "gate", "transposed"])
def test_so_it_does_for_if_neurons_over_several_steps(name: str) -> None:
    before, after = converted(network(name), 4, method="if")
    assert output_error(after, network(name), 4) < (0.9 if name in MUCH else 1.0) * output_error(before, network(name), 4)


@pytest.mark.parametrize("branch", ["added to it", "alone"])
def test_a_layer_ends_as_good_as_any_affine_map_of_the_spikes_it_gets(branch: str) -> None:
    """Also where its result is added to a branch, whose error it can make good too."""
    added = branch == "added to it"
    torch.manual_seed(5)
    model = Wired(lambda x, a, b: b(y := F.relu(a(x))) + (y if added else 0.0), nn.Linear(6, 5), nn.Linear(5, 5))
    exact = capture(model, (torch.zeros(2, 6),))
    x = correlated(exact, 512)
    _, after = converted(exact, x=x, levels=1)
    recorder = Recorder(executable(after, 1), ["spike_relu"])
    given = recorder.run(x)
    spikes, wanted = recorder.kept["spike_relu"], exact.module()(x)
    affine, target = torch.cat([spikes, torch.ones(512, 1)], 1).double(), (wanted - (spikes if added else 0.0)).double()
    best = affine @ torch.linalg.lstsq(affine, target).solution - target
    assert float((given - wanted).square().mean()) <= 1.01 * float(best.square().mean())


@pytest.mark.parametrize("name", ["residual", "shared", "transposed", "gate"])
def test_what_was_given_stays_as_it_was(name: str) -> None:
    given, _ = converted(network(name), options={"weights": False})
    tensors, written = {key: tensor.clone() for key, tensor in given.tensors.items()}, text(given)
    after = run([Compensate()], given, Context(stream_of(samples(given, 40))))
    assert text(given) == written
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in given.tensors.items())
    assert any(key not in given.tensors or not torch.equal(tensor, given.tensors[key]) for key, tensor in after.tensors.items())


def test_each_call_of_a_shared_module_gets_weights_of_its_own() -> None:
    before, after = converted(network("shared"))
    first, second = [node for node in calls(after.graph) if weighted(node)][1:3]
    assert first.args[1] is not second.args[1]
    assert not torch.equal(after.tensor(first.args[1]), after.tensor(second.args[1]))
    assert len([key for key in before.tensors if key.endswith("weight")]) == 3
    assert len([key for key in after.tensors if key.endswith("weight")]) == 4  # the one that both shared is gone, and the head has its own


def test_a_layer_that_reads_the_input_itself_is_left_alone() -> None:
    before, after = converted(network("residual"))
    assert after.tensors["layers.0.weight"] is before.tensors["layers.0.weight"]
    assert [row["node"] for row in after.records[-1].numbers["layers"]] == ["conv2d_1", "conv2d_2", "linear"]


def test_layers_without_a_bias_are_given_one() -> None:
    for name in ("depthwise", "transposed"):
        before, after = converted(network(name))
        biased = [
            [node.name for node in calls(program.graph) if weighted(node) and node.args[2] is not None] for program in (before, after)
        ]
        assert len(biased[1]) == len(biased[0]) + 1


def test_without_weights_only_means_are_shifted() -> None:
    before, after = converted(network("depthwise"), options={"weights": False})
    for node in calls(after.graph):
        if weighted(node):
            twin = next(other for other in calls(before.graph) if other.name == node.name)
            assert torch.equal(after.tensor(node.args[1]), before.tensor(twin.args[1]))
    assert {row["ridge"] for row in after.records[-1].numbers["layers"]} == {None}
    assert output_error(after, network("depthwise")) < output_error(before, network("depthwise"))


def test_the_mean_of_every_corrected_layer_is_the_anns() -> None:
    x = samples(network("transposed"), 64)
    _, after = converted(network("transposed"), x=x, options={"weights": False})
    exact, given = network("transposed").module()(x), executable(after, 1)(x)
    torch.testing.assert_close(given.mean((0, 2, 3)), exact.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_the_same_seed_gives_the_same_network_and_another_another() -> None:
    program, results = network("residual"), []
    for seed in (1, 1, 2):
        context = Context(stream_of(samples(program, 64)), seed=seed)
        results.append(run([Balance(), Compensate(rows_per_weight=2)], unbalanced(program, levels=3), context).tensors)
    assert all(torch.equal(tensor, results[1][key]) for key, tensor in results[0].items())
    assert any(not torch.equal(tensor, results[2][key]) for key, tensor in results[0].items())


def test_samples_are_as_many_as_memory_allows_and_the_record_says_so() -> None:
    program, x = network("residual"), samples(network("residual"), 100)
    assert converted(program, x=x)[1].records[-1].numbers["samples"] == 100
    per_sample = 4 * widest_cut(unbalanced(program).graph) * 2
    assert converted(program, x=x, options={"limit_bytes": 40 * per_sample})[1].records[-1].numbers["samples"] == 40
    assert converted(program, x=x, options={"limit_bytes": 1})[1].records[-1].numbers["samples"] == 16


def test_no_more_of_the_stream_is_read_than_is_used() -> None:
    program, asked = network("linear"), list[int]()
    given, _ = converted(program)

    def stream():  # type: ignore[no-untyped-def]
        while True:
            asked.append(1)
            yield (samples(program, 8, len(asked)),)

    run([Compensate(limit_bytes=1)], given, Context(stream))
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("batches", "error", "says"),
    [
        (None, ConfigError, "no calibration stream"),
        ([], DataError, "no calibration data"),
        ([(torch.randn(1, 6),)], DataError, "at least two samples"),
        ([(torch.randn(4, 5),)], DataError, "another shape"),
        ([(torch.full((4, 6), torch.nan),)], DataError, "NaN or infinite"),
    ],
    ids=["none", "empty", "one sample", "shape", "NaN"],
)
def test_calibration_data_that_cannot_be_used_is_one_clear_error(batches: Any, error: type[Exception], says: str) -> None:
    given, _ = converted(network("linear"))
    with pytest.raises(error, match=says):
        run([Compensate()], given, Context(None if batches is None else lambda: batches))


def test_progress_goes_from_the_first_node_to_the_last() -> None:
    told: list[tuple[str, int, int]] = []
    given, _ = converted(network("linear"))
    run([Compensate()], given, Context(stream_of(samples(given, 8)), progress=lambda *what: told.append(what)))
    assert [done for _, done, _ in told] == list(range(1, told[0][2] + 1))


# --- the parts ----------------------------------------------------------------------------------------------------------


def seen_of(z: Tensor, a: Tensor, axis: Axis | None, bins: int = 64) -> Observation:
    """What a population received, z, and what it should have made of it, in two batches."""
    halves = list(zip(z.chunk(2), a.chunk(2), strict=True))
    seen = None
    for part, _ in halves:
        seen = see_range(seen, part, axis)
    assert seen is not None
    for part, target in halves:
        see_histogram(seen, part, bins, target)
    return seen


def test_the_heights_are_the_means_of_the_cells() -> None:
    thresholds, values = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5, 2.0])
    z = torch.cat([torch.full((9,), -1.0), torch.full((9,), 0.5), torch.full((3,), 4.0)])
    a = torch.cat([torch.full((9,), 7.0), torch.linspace(0.2, 1.0, 9), torch.full((3,), 9.0)])
    # the silent cell stays silent; nine values make a mean; three are too few
    assert conditional_means(seen_of(z, a, None), thresholds, values).tolist() == pytest.approx([0.0, 0.6, 2.0])


@pytest.mark.parametrize("axis", [None, 1, (1, 3)])
def test_means_from_the_histogram_are_those_of_the_samples(axis: Axis | None) -> None:
    """Where thresholds lie on the edges of bins; elsewhere a bin goes to the cell of its middle."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randint(-32, 32, (40, 3, 5, 2), generator=generator) / 16 + 1 / 32
    z[0], z[1] = -2.0, 2.0  # every group's bins are 1/16 wide
    a = z.square() + torch.randn(z.shape, generator=generator)
    rows, targets = by_channel(z, axis), by_channel(a, axis)
    thresholds = torch.tensor([-1.5, -0.25, 0.0, 0.5, 1.75]).expand(len(rows), 5)
    values = torch.rand(len(rows), 6, generator=generator)
    values[:, 2] = 0.0
    found = conditional_means(seen_of(z, a, axis), thresholds, values)
    for row, target, own, kept in zip(rows, targets, found, values, strict=True):
        cells = torch.bucketize(row, thresholds[0], right=True)
        direct = [target[cells == cell].mean() for cell in range(6)]
        direct[2] = kept[2]
        assert min(int((cells == cell).sum()) for cell in range(6)) >= 8
        torch.testing.assert_close(own, torch.stack(direct), atol=1e-5, rtol=1e-5)


def test_one_table_for_all_is_a_row_of_its_own_shape() -> None:
    z = torch.linspace(-1.0, 1.0, 64)
    found = conditional_means(seen_of(z, z, None), torch.tensor([0.0]), torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(found, torch.stack([z[z < 0].mean(), z[z >= 0].mean()]))


def test_the_widest_cut_counts_what_is_alive_at_once() -> None:
    program = capture(nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Linear(50, 3)), (torch.zeros(2, 6),))
    assert widest_cut(program.graph) == 100
    branched = capture(Wired(lambda x, a, b: F.relu(b(a(x))) + a(x), nn.Linear(6, 6), nn.Linear(6, 6)), (torch.zeros(2, 6),))
    assert widest_cut(branched.graph) == 18
