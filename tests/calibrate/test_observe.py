"""Observers: one stream, whatever its batches; memory fixed by groups and bins; bad data named."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from tests.simulate.networks import ann, samples, stream_of, unbalanced
from torch import Tensor, nn

from spikeloom.calibrate import Observation, observe
from spikeloom.calibrate.observe import bins_for, checked, scale_axis
from spikeloom.capture import capture
from spikeloom.errors import DataError, InternalError, NumericError
from spikeloom.ir import Program
from spikeloom.simulate import Recorder, populations, reference

NAMES = ["linear", "residual", "attention", "gate"]


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: a user meets our errors, not the type checker's."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def seen(program: Program, x: Tensor, size: int = 64) -> dict[str, Observation]:
    return dict(observe(program, stream_of(x, size), lambda: None))


def inputs_of(program: Program, x: Tensor) -> dict[str, Tensor]:
    """What each population reads in the ANN."""
    nodes = populations(program)
    recorder = Recorder(reference(program), [str(node.args[0]) for node in nodes])
    with torch.no_grad():
        recorder.run(x)
    return {node.name: recorder.kept[str(node.args[0])] for node in nodes}


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_an_observation_is_that_of_all_values_at_once(name: str, per_channel: bool) -> None:
    program, x = unbalanced(ann(name), per_channel=per_channel), samples(ann(name), 96)
    exact = inputs_of(program, x)
    for node in populations(program):
        axis = scale_axis(node, program)
        z = exact[node.name]
        rows = z.reshape(1, -1) if axis is None else z.movedim(axis, 0).flatten(1)
        found = seen(program, x)[node.name]
        alone = node.kwargs["function"] in ("gelu", "sigmoid") or node.meta["note"]["source"] == "softmax"  # scores, heads in the batch
        assert (axis is None) == (not per_channel or alone)
        assert torch.equal(found.low, rows.amin(1))
        assert torch.equal(found.high, rows.amax(1))
        torch.testing.assert_close(found.mean, rows.mean(1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.std, rows.std(1, correction=0), atol=1e-5, rtol=1e-4)
        assert found.count == rows.shape[1]
        assert found.histogram.sum(1).tolist() == [rows.shape[1]] * rows.shape[0]
        for group in range(rows.shape[0]):  # the histogram's own quantiles are the sample's
            at = int(torch.searchsorted(found.histogram[group].cumsum(0), -(-9 * rows.shape[1] // 10)))
            width = float(found.high[group] - found.low[group]) / found.histogram.shape[1]
            assert float(found.centres[group, at]) == pytest.approx(
                float(rows[group].kthvalue(-(-9 * rows.shape[1] // 10)).values), abs=1.1 * width
            )


@pytest.mark.parametrize("name", ["residual", "attention"])
def test_the_result_does_not_depend_on_the_size_of_batches(name: str) -> None:
    program, x = unbalanced(ann(name)), samples(ann(name), 64)
    whole = seen(program, x, 64)
    for size in (1, 7):
        for node, found in seen(program, x, size).items():
            assert found.count == whole[node].count
            torch.testing.assert_close(found.low, whole[node].low, atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(found.high, whole[node].high, atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(found.mean, whole[node].mean, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found.std, whole[node].std, atol=1e-5, rtol=1e-5)
            moved = (found.histogram.cumsum(1) - whole[node].histogram.cumsum(1)).abs().max()  # rounding may shift a value by a bin
            assert float(moved) <= 0.002 * found.count + 1


def test_memory_does_not_grow_with_the_samples() -> None:
    program = unbalanced(ann("residual"))

    def size(observation: Observation) -> int:
        return sum(value.numel() * value.element_size() for value in vars(observation).values() if isinstance(value, Tensor))

    few, many = (seen(program, samples(program, count)) for count in (8, 256))
    assert {name: size(each) for name, each in few.items()} == {name: size(each) for name, each in many.items()}
    assert many["spike_relu"].count == 32 * few["spike_relu"].count


def test_batches_are_taken_one_at_a_time_and_twice() -> None:
    program, alive, most, taken = unbalanced(ann("linear")), [0], [0], [0]

    class Counted:
        def __init__(self) -> None:
            alive[0] += 1
            taken[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self) -> None:
            alive[0] -= 1

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for part in samples(program, 50).split(5):
            guard = Counted()
            yield (part,)
            del guard

    observe(program, stream, lambda: None)
    assert (taken[0], most[0]) == (20, 1)


def test_histograms_are_finer_than_the_levels_and_bounded_for_many_groups() -> None:
    node, program = populations(unbalanced(ann("linear"), levels=255))[0], unbalanced(ann("linear"), levels=255)
    assert bins_for(node, program, 5) == 16 * 255
    assert bins_for(node, program, 2**20) == 4 * 255
    few = unbalanced(ann("linear"), levels=1)
    assert bins_for(populations(few)[0], few, 5) == 2048


def test_a_constant_input_has_ascending_edges() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    nn.init.zeros_(model[0].weight)
    program = unbalanced(capture(model, (torch.zeros(2, 2),)))
    found = seen(program, torch.randn(16, 2))["spike_relu"]
    assert torch.equal(found.low, found.high)
    assert bool((found.edges.diff(dim=1) > 0).all())
    assert found.histogram.sum().item() == 32


def test_a_histogram_nobody_counted_is_a_bug_of_ours() -> None:
    blank = Observation(None, *(torch.zeros(1) for _ in range(4)))
    with pytest.raises(InternalError, match="before anything was counted"):
        blank.histogram  # noqa: B018


# --- what cannot be used ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([], "no calibration data"),
        ([(torch.zeros(3, 5),)], r"another shape.*\n.*found: \(5,\)"),
        ([(torch.zeros(3, 6), torch.zeros(3, 6))], "another number of inputs"),
        ([(torch.zeros(3, 6),), (torch.full((3, 6), torch.nan),)], "NaN or infinite"),
        ([(torch.full((3, 6), torch.inf),)], "NaN or infinite"),
    ],
    ids=["empty", "shape", "two inputs", "NaN", "infinite"],
)
def test_calibration_data_that_cannot_be_used_is_one_clear_error(batches: list[tuple[Tensor, ...]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        observe(unbalanced(ann("linear")), lambda: batches, lambda: None)


def test_single_tensors_are_taken_as_batches_of_one_input() -> None:
    assert [len(batch) for batch in checked([torch.zeros(3, 6)], unbalanced(ann("linear")))] == [1]


@pytest.mark.parametrize(("weight", "says"), [(torch.nan, "%spike_relu "), (3e38, "%spike_relu ")])
def test_activations_that_are_not_finite_are_named(weight: float, says: str) -> None:
    program = unbalanced(ann("linear"))
    program = program.replaced(tensors={**program.tensors, "0.weight": torch.full_like(program.tensors["0.weight"], weight)})
    with pytest.raises(NumericError, match=f"before {says}is NaN or infinite"):
        observe(program, stream_of(10 + samples(program, 8)), lambda: None)
