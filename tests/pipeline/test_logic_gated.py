"""`convert --method logic_gated`: the whole network or its tail counts and compares, is taught by the ANN, and resumes."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, load, run, silent, weighted, weights_of
from spikeloom.logic import PackedNetwork
from spikeloom.pipeline import Conversion, Settings, convert
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.grafting import cut_before, grafted
from spikeloom.pipeline.logic_gated import logic_gated, thresholds
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import SpikingModel


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversion, Settings]:
    """The digits CNN, wholly in gates."""
    asked = Settings(
        train=True,
        epochs=6,
        samples=300,
        timesteps=1,
        method="logic_gated",
        input_bits=3,
        gates=2,
        gate_epochs=6,
        output_dir=tmp_path_factory.mktemp("gated") / "out",
    )
    return convert(asked), asked


def test_digits_in_gates(gated: tuple[Conversion, Settings]) -> None:
    metrics = gated[0].metrics
    assert metrics["accuracy"]["snn"] > 0.9
    assert metrics["accuracy"]["control"] < metrics["accuracy"]["snn"] - 0.2
    assert metrics["floating_operations"] == []
    assert metrics["energy_pj"]["snn"] < metrics["energy_pj"]["ann_int8"]


def test_nothing_multiplies_and_packed_words_give_the_same(gated: tuple[Conversion, Settings]) -> None:
    folder = gated[0].folder
    snn = SpikingModel.open(folder)
    x = torch.rand(20, *snn.program.inputs[0].shape[1:])
    assert torch.equal(PackedNetwork(snn.program)(x).float(), snn(x))
    assert sum(row.macs for row in snn.profile(x).counts.rows) == 0


def test_the_ann_is_priced_as_it_is_not_as_its_gates_are(gated: tuple[Conversion, Settings]) -> None:
    snn = SpikingModel.open(gated[0].folder)
    profile = snn.profile(torch.rand(4, *snn.program.inputs[0].shape[1:]))
    assert profile.counts.ann is not None
    macs = sum(row.dense_macs for row in profile.counts.ann.rows)
    fused = run([Plan(), Fuse()], load(gated[1].output_dir / "ann"), Context())
    layers = [node for node in fused.graph.nodes if weighted(node)]
    padded = sum(math.prod(node.meta["spec"][0][1:]) * weights_of(node, fused.tensors)[0][0].numel() for node in layers)
    assert 0.7 * padded < macs <= padded  # what meets the edge is not counted
    held = sum(tensor.numel() for tensor in fused.tensors.values())
    assert 0.99 * held < sum(row.weights for row in profile.counts.ann.rows) <= held  # the biases that norms fold into come on top
    assert sum(row.dense_macs for row in profile.counts.rows) > 1.5 * macs
    priced = next(row.total_pj for row in profile.energy if row.network == "ANN int8")
    assert gated[0].metrics["energy_pj"]["ann_int8"] == pytest.approx(priced)


def test_resumed_teaching_ends_at_the_same_network(gated: tuple[Conversion, Settings], tmp_path: Path) -> None:
    _, asked = gated
    ann = load(asked.output_dir / "phases" / "1_ann" / "program")
    stopped = 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal stopped
        stopped += 1
        if done >= total // 2 > 0:
            raise KeyboardInterrupt

    def taught(progress: object, place: Path) -> Program:
        context = Context(calibration_stream(ann, asked.dataset, asked, 64), progress=progress)  # pyright: ignore[reportArgumentType]
        return logic_gated(dataclasses.replace(asked, gate_epochs=2), ann, context, place)

    whole = taught(silent, tmp_path / "whole")
    import spikeloom.train.classifier as classifier

    before = classifier.CHECKPOINT_S
    classifier.CHECKPOINT_S = 0.0  # one after every step
    try:
        with pytest.raises(KeyboardInterrupt):
            taught(stop, tmp_path / "broken")
    finally:
        classifier.CHECKPOINT_S = before
    assert stopped > 5
    again = taught(silent, tmp_path / "broken")
    x = torch.rand(16, *ann.inputs[0].shape[1:])
    assert torch.equal(PackedNetwork(whole)(x), PackedNetwork(again)(x))


def test_from_a_layer_on(gated: tuple[Conversion, Settings], tmp_path: Path) -> None:
    _, asked = gated
    ann = load(asked.output_dir / "phases" / "1_ann" / "program")
    context = Context(calibration_stream(ann, asked.dataset, asked, 64))
    tail = dataclasses.replace(asked, from_layer="linear", gate_epochs=2, levels=7)
    program = logic_gated(tail, ann, context, tmp_path / "tail")
    names = set(program.tensors)
    assert any(name.startswith("gated.") for name in names)
    assert any(not name.startswith("gated.") for name in names)
    assert SpikingModel(program)(torch.rand(3, *ann.inputs[0].shape[1:])).shape == (3, 10)


def test_two_parts_of_a_network_are_the_network(gated: tuple[Conversion, Settings]) -> None:
    ann = load(gated[1].output_dir / "phases" / "1_ann" / "program")
    cut = cut_before(ann, "linear")
    x = torch.rand(5, *ann.inputs[0].shape[1:])
    assert torch.equal(cut.after.module()(cut.before.module()(x)), ann.module()(x))
    assert torch.equal(grafted(cut.before, cut.after).module()(x), ann.module()(x))


def test_a_layer_that_is_not_there(gated: tuple[Conversion, Settings]) -> None:
    ann = load(gated[1].output_dir / "phases" / "1_ann" / "program")
    with pytest.raises(ConfigError, match="cannot be divided"):
        cut_before(ann, "nothing")


@pytest.mark.parametrize("change", [{"timesteps": 4}, {"compress": "8"}, {"sparsity": 0.5}, {"bio_calibration": True}])
def test_what_does_not_go_with_gates(change: dict[str, object], tmp_path: Path) -> None:
    asked = Settings(**{"method": "logic_gated", "timesteps": 1, "output_dir": tmp_path, **change})
    with pytest.raises(ConfigError, match="does not go with the method logic_gated"):
        convert(asked)


def test_thresholds_lie_evenly_where_values_are() -> None:
    values = torch.linspace(-1, 3, 1000)
    assert torch.tensor(thresholds(values, 3)) == pytest.approx(torch.tensor([0.0, 1.0, 2.0]), abs=0.05)
