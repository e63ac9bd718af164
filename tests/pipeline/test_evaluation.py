"""Evaluation: shares and tests computed by hand on networks whose answers are known."""

from typing import Any

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from torch import Tensor

from spikeloom.calibrate import Balance
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import DataError
from spikeloom.ir import Context, Program, run
from spikeloom.pipeline.control import SCALES, control_of, output_errors
from spikeloom.pipeline.evaluation import Evaluation, evaluate, mcnemar, sign_test
from spikeloom.pipeline.metrics import audited_on, metrics_of
from spikeloom.pipeline.networks import Networks, checkpoints
from spikeloom.pipeline.pictures import Classes, label_offset
from spikeloom.plan import Fuse
from spikeloom.simulate import Counter, SpikingModel, executable, populations


def judged(snn: SpikingModel, x: Tensor, labels: Tensor | None, size: int = 16, **options: Any) -> Evaluation:
    parts = [
        ((part,), None if labels is None else labels[place : place + size])
        for part, place in zip(x.split(size), range(0, len(x), size), strict=True)
    ]
    tally = Classes(Networks(snn, snn.timesteps), options.pop("classes", None), options.pop("margin", None))
    return evaluate(tally, parts, lambda _: None)


@pytest.fixture(scope="module")
def snn() -> SpikingModel:
    program = balanced(ann("linear"), 6, method="if")
    return SpikingModel(program, timesteps=6, ann=ann("linear"), control=balanced(ann("linear"), levels=1))


def test_accuracies_and_agreement_are_shares_of_the_same_samples(snn: SpikingModel) -> None:
    x = samples(snn.program, 50)
    labels = torch.randint(3, (50,))
    found = judged(snn, x, labels)
    assert snn.ann is not None
    assert snn.control is not None
    answers = {"snn": snn(x), "ann": snn.ann.module()(x), "control": executable(snn.control, 1)(x)}
    for name, outputs in answers.items():
        assert found.measures["accuracy"][name] == pytest.approx(float((outputs.argmax(1) == labels).float().mean()))
    assert found.measures["agreement"] == pytest.approx(float((answers["snn"].argmax(1) == answers["ann"].argmax(1)).float().mean()))
    right = {name: outputs.argmax(1) == labels for name, outputs in answers.items()}
    told = found.measures["mcnemar"]
    assert told["snn_only_right"] == int((right["snn"] & ~right["control"]).sum())
    assert told["control_only_right"] == int((right["control"] & ~right["snn"]).sum())
    assert (found.samples, found.timesteps) == (50, 6)
    assert found.reasons == {}
    assert all(value is not None and value > 0 for value in found.seconds.values())


def test_the_curve_is_that_of_running_outputs(snn: SpikingModel) -> None:
    x, labels = samples(snn.program, 50), torch.randint(3, (50,))
    curve = judged(snn, x, labels).curve
    assert [row["timesteps"] for row in curve] == [1, 2, 4, 6]
    for row in curve:
        answers = snn(x, timesteps=row["timesteps"]).argmax(1)
        assert row["accuracy"] == pytest.approx(float((answers == labels).float().mean()))
        assert set(row) == {"timesteps", "accuracy", "agreement", "ann", "control"}


def test_early_exit_answers_as_the_model_does(snn: SpikingModel) -> None:
    x = samples(snn.program, 50)
    answers, taken = snn.run_with_exit(x, margin=0.2)
    found = judged(snn, x, None, margin=0.2)
    assert torch.equal(found.answers["snn"], answers.argmax(1))
    assert found.mean_timesteps == pytest.approx(float(taken.float().mean()))
    assert judged(snn, x, None).mean_timesteps is None


def test_without_labels_only_agreement_is_known_and_the_reason_is_said(snn: SpikingModel) -> None:
    found = judged(snn, samples(snn.program, 20), None)
    assert found.measures["accuracy"]["snn"] is None
    assert found.measures["mcnemar"] is None
    assert found.measures["agreement"] is not None
    assert dict(found.reasons) == dict.fromkeys(("ann", "snn", "control"), "the data set has no labels")


def test_without_ann_and_control_their_numbers_are_null_with_the_reason(snn: SpikingModel) -> None:
    alone = SpikingModel(snn.program, timesteps=6)
    found = judged(alone, samples(snn.program, 20), torch.zeros(20, dtype=torch.int64))
    assert dict(found.reasons) == dict.fromkeys(("ann", "control"), "the folder does not hold it")
    counter = Counter(snn.program, 6)
    counter.add((samples(snn.program, 20),))
    metrics = metrics_of(
        found, counter.counts(), alone, seconds=None, encoding="unary", margin=0.5, audited={"floating_operations": ["div: aten.div"]}
    )
    assert metrics["floating_operations"] == ["div: aten.div"]
    assert metrics["accuracy"]["ann"] is metrics["accuracy"]["control"] is metrics["agreement"] is metrics["seconds"]["ann"] is None
    assert metrics["accuracy"]["snn"] is not None
    assert metrics["spikes_per_inference"] == counter.counts().spikes("unary")
    assert metrics["early_exit"] == {"margin": 0.5, "mean_timesteps": None}


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (10, 2, 2 * (1 + 12 + 66) / 4096), (0, 10, 2 / 1024)]
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, p: float) -> None:
    right = torch.tensor([1] * first + [0] * second)
    answers = {"snn": right, "control": 1 - right, "labels": torch.ones(first + second)}
    assert mcnemar(answers) == {"snn_only_right": first, "control_only_right": second, "p": pytest.approx(p)}
    told = sign_test(1.0 - right, right.float(), "blocks")
    assert told == {"unit": "blocks", "snn_better": first, "control_better": second, "p": pytest.approx(p)}


@pytest.mark.parametrize(("outputs", "classes", "offset"), [(10, 10, 0), (1001, 1000, 1), (1001, 400, 1), (7, None, 0)])
def test_labels_lie_where_the_model_has_them(outputs: int, classes: int | None, offset: int) -> None:
    assert label_offset(outputs, classes) == offset


@pytest.mark.parametrize(("outputs", "classes"), [(10, 11), (10, 9), (1000, 10), (1001, 1002)])
def test_other_numbers_of_classes_do_not_match(outputs: int, classes: int) -> None:
    with pytest.raises(DataError, match=r"(?s)--weights.*--train.*--dataset"):
        label_offset(outputs, classes)


def test_an_empty_data_set_and_a_model_that_is_no_classifier_are_told(snn: SpikingModel) -> None:
    with pytest.raises(DataError, match="nothing to evaluate on"):
        evaluate(Classes(Networks(snn, 6), 3, None), [], lambda _: None)
    with pytest.raises(DataError, match=r"(?s)no classifier.*\(4, 4, 6, 6\)"):
        judged(SpikingModel(dense_outputs()), samples(ann("residual"), 4), None)


def dense_outputs() -> Program:
    """A spiking program that gives a map of values and no classes: the first population of the residual network."""
    program, copies = balanced(ann("residual")), dict[Any, Any]()
    cut = program.replaced(graph=torch.fx.Graph())
    cut.graph.graph_copy(program.graph, copies)
    cut.graph.output(next(copy for copy in copies.values() if copy.name == "spike_relu"))
    return cut


@pytest.mark.parametrize(("steps", "points"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])])
def test_the_curve_has_powers_of_two_and_the_end(steps: int, points: list[int]) -> None:
    assert checkpoints(steps) == points


# --- the control --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["residual", "gate"])
def test_the_control_is_the_best_of_the_plain_scales_and_nothing_more(name: str) -> None:
    x = samples(ann(name), 64)
    context = Context(lambda: ((part,) for part in x.split(16)))
    control = control_of(ann(name), context, levels=3, timesteps=2, per_channel=True, percentile=99.0, samples=64)
    assert [record.name for record in control.records] == ["Fuse", "Unfold", "Spike", "Balance"]
    assert {node.kwargs["levels"] for node in populations(control)} == {6}
    made = run([Fuse(), Unfold("attention"), Spike(levels=6, functions="quantised")], ann(name), context)
    errors = {
        method: output_errors([run([Balance(method=method, percentile=99.0)], made, context)], ann(name), context, 64)[0]
        for method in SCALES
    }
    assert control.records[-1].options["method"] == min(errors, key=lambda method: errors[method])
    assert output_errors([control], ann(name), context, 64)[0] == min(errors.values())
    for key in ann(name).tensors:
        if key in control.tensors:
            assert torch.equal(control.tensors[key], ann(name).tensors[key])  # the ANN's own weights


def test_the_output_error_is_the_sum_of_squares_over_the_samples_asked_for() -> None:
    x, program = samples(ann("linear"), 48), balanced(ann("linear"))
    context = Context(lambda: ((part,) for part in x.split(16)))
    for count, used in ((16, 16), (17, 32), (100, 48)):
        expected = float((executable(program, 1)(x[:used]) - ann("linear").module()(x[:used])).square().sum())
        assert output_errors([program], ann("linear"), context, count)[0] == pytest.approx(expected, rel=1e-5)


def test_running_means_are_named_where_there_is_more_than_one_step() -> None:
    program = balanced(ann("gate"))
    x = samples(program, 4)
    assert audited_on(program, (x,), 1)["running_means"] == []
    assert "spike_gelu" in audited_on(program, (x,), 2)["running_means"]
