"""A learner in a stream of digits: what it gains, what it keeps, that it goes on exactly where it was, and what it says is wrong."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.simulate.networks import ann, balanced, correlated, stream_of
from torch import Tensor
from torch.utils.data import TensorDataset

from spikeloom import datasets
from spikeloom.calibrate import Balance, Device
from spikeloom.capture import capture
from spikeloom.compress import Quantise
from spikeloom.convert import Spike
from spikeloom.errors import ConfigError, DataError, ProgramError, UnsupportedError
from spikeloom.ir import Context, run
from spikeloom.plan import Fuse
from spikeloom.simulate import SpikingModel
from spikeloom.train import (
    Contexts,
    ContinualLearner,
    DeltaRule,
    Homeostasis,
    LocalRules,
    adapt_classifier,
    begin_learner,
    resume_learner,
    save_learner,
    train_classifier,
)
from spikeloom.train.continual_state import FILE
from spikeloom.train.trial import pays
from spikeloom.zoo.digits_cnn import digits_cnn

QUICK = LocalRules(Homeostasis(settle=64))


@cache
def digits(split: str) -> tuple[Tensor, Tensor]:
    data = datasets.load("digits", "train" if split == "train" else "test")
    return data.gather(list(range(len(data))))


@cache
def network(classes: int = 10) -> SpikingModel:
    """The digits CNN, taught and converted to T = 1; of fewer classes, taught those alone."""
    (x, y), (_, truth) = digits("train"), digits("test")
    torch.manual_seed(0)
    kept = y < classes
    train_set = TensorDataset(x[kept], y[kept])
    model = train_classifier(digits_cnn(classes), train_set, train_set, epochs=4, batch_size=32, lr=0.1).model  # pyright: ignore[reportArgumentType]
    assert len(truth) == 355
    program = capture(model.eval(), (x[:2],))
    spiking = run([Fuse(), Spike(levels=15), Balance()], program, Context(stream_of(x[kept][:256])))
    return SpikingModel(spiking, ann=program)


def faded(x: Tensor) -> Tensor:
    """A fifth of the contrast, on grey: what a network that was never shown it takes for nothing."""
    return 0.2 * x + 0.4


def right(predictions: Tensor, truth: Tensor) -> float:
    return float((predictions == truth).float().mean())


def calm() -> list[Tensor]:
    return list(digits("train")[0][:256].split(64))


def learner(rules: LocalRules = QUICK, snn: SpikingModel | None = None) -> ContinualLearner:
    return begin_learner(snn or network(), calm(), rules)


def told(y: Tensor, share: float) -> Tensor:
    return torch.where(torch.rand(len(y), generator=torch.Generator().manual_seed(1)) < share, y, -1)


def through(one: ContinualLearner, x: Tensor, labels: Tensor | None, size: int = 16) -> Tensor:
    parts = [None] * len(x.split(size)) if labels is None else labels.split(size)
    return torch.cat([one.step(images, part) for images, part in zip(x.split(size), parts, strict=True)])


@cache
def stream() -> tuple[Tensor, Tensor]:
    x, y = digits("train")
    return faded(x[300:1100]), y[300:1100]


def test_a_faded_stream_is_recovered_without_labels_and_nothing_is_forgotten(tmp_path: Path) -> None:
    one, (x, y), (test, truth) = learner(), stream(), digits("test")
    frozen, before = right(network()(faded(test)).argmax(1), truth), right(network()(test).argmax(1), truth)
    predictions = through(one, x, None)
    assert before > 0.93
    assert frozen < 0.7
    assert right(predictions[400:], y[400:]) > 0.85
    assert right(one.predict(faded(test)), truth) > 0.85
    assert right(one.predict(test), truth) > before - 0.01
    assert len(one.worlds) == 2
    made = one.model()
    assert right(made(faded(test)).argmax(1), truth) > 0.85
    assert torch.equal(one.model(0)(test).argmax(1), network()(test).argmax(1))
    made.save(tmp_path / "adapted")
    again = SpikingModel.open(tmp_path / "adapted")
    assert torch.equal(again(faded(test)), made(faded(test)))
    assert again.program.records[-1].numbers["samples"] == 800


def test_an_undisturbed_stream_changes_nothing_without_labels() -> None:
    one, (x, _) = learner(), digits("train")
    predictions = through(one, x[300:800], None)
    assert len(one.worlds) == 1
    assert torch.equal(predictions, network()(x[300:800]).argmax(1))


def test_few_labels_help_where_statistics_do_not() -> None:
    (x, y), (test, truth) = digits("train"), digits("test")
    rules = replace(QUICK, homeostasis=None)
    one = learner(rules)
    through(one, 1 - x[300:1300], told(y[300:1300], 0.1))
    frozen = right(network()(1 - test).argmax(1), truth)
    assert one.memory.labels < 130
    assert right(one.predict(1 - test), truth) > frozen + 0.15
    assert right(one.predict(test), truth) > right(network()(test).argmax(1), truth) - 0.06


def test_labels_do_away_with_knobs_that_spoil_a_context() -> None:
    (x, y), (test, truth) = digits("train"), digits("test")
    ones, mine = x[y == 1].repeat(5, 1, 1, 1), truth == 1
    labels = told(torch.ones(len(ones), dtype=torch.int64), 0.2)
    blind, one = learner(), learner()
    through(blind, ones, None)
    through(one, ones, labels)
    assert right(blind.predict(test[mine]), truth[mine]) < 0.6, "a stream of one class looks like a drift to neurons"
    assert len(one.worlds) > 1
    assert not any(pays(world.evidence) for world in one.worlds[1:])
    assert right(one.predict(test[mine]), truth[mine]) > 0.95
    assert right(one.model(1)(test[mine]).argmax(1), truth[mine]) > 0.95


def test_labels_leave_knobs_that_pay() -> None:
    one, (x, y) = learner(), stream()
    through(one, x, told(y, 0.1))
    evidence = one.worlds[1].evidence
    assert evidence.labels > 20
    assert evidence.total > 20
    assert pays(evidence)


def test_new_classes_are_learnt_and_old_ones_kept() -> None:
    (x, y), (test, truth) = digits("train"), digits("test")
    snn, rules = network(8), replace(QUICK, readout=DeltaRule(classes=10))
    one = begin_learner(snn, [x[y < 8][:256]], rules)
    through(one, x[300:1300], told(y[300:1300], 0.1))
    new, old = truth >= 8, truth < 8
    made = one.model()
    assert made(test).shape == (355, 10)
    assert right(one.predict(test[new]), truth[new]) > 0.6
    assert right(one.predict(test[old]), truth[old]) > right(snn(test[old]).argmax(1), truth[old]) - 0.06
    assert made.ann is None, "an ANN of eight classes is none to compare ten with"


def test_neurons_on_a_chip_come_back_by_their_spikes_alone() -> None:
    test, truth = digits("test")
    chip = SpikingModel(run([Device(draw=3, threshold_mismatch=0.5, dead=0.05)], network().program, Context()))
    rules = LocalRules(Homeostasis("spikes", "neuron", horizon=2048, settle=0), None, Contexts(1))
    one = begin_learner(chip, calm(), rules, reference=network())
    lost = right(network()(test).argmax(1), truth) - right(chip(test).argmax(1), truth)
    for _ in range(2):
        through(one, digits("train")[0][:512], None)
    back = right(one.model()(test).argmax(1), truth) - right(chip(test).argmax(1), truth)
    assert lost > 0.04
    assert back > 0.5 * lost


def same(one: ContinualLearner, other: ContinualLearner) -> None:
    x = digits("test")[0]
    assert one.tally == other.tally
    assert torch.equal(one.readout.weight, other.readout.weight)
    for a, b in zip(one.worlds, other.worlds, strict=True):
        assert a.samples == b.samples
        assert a.place.members == b.place.members
        assert a.evidence == b.evidence
        for name, gain in a.gains.items():
            assert torch.equal(gain, b.gains[name])
            assert torch.equal(a.shifts[name], b.shifts[name])
    assert torch.equal(one.model()(x), other.model()(x))


def test_a_stopped_learner_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    (x, y), whole = stream(), learner()
    labels = told(y, 0.2)
    through(whole, x[:400], labels[:400])
    save_learner(whole, tmp_path)
    part = resume_learner(tmp_path)
    same(part, whole)
    again = [through(each, x[400:], labels[400:]) for each in (whole, part)]
    assert torch.equal(*again)
    assert whole.memory.labels > 30
    same(part, whole)
    save_learner(part, tmp_path)
    same(resume_learner(tmp_path), whole)


def test_an_adapted_network_can_adapt_again() -> None:
    (x, _), (test, truth) = stream(), digits("test")
    rules = LocalRules(Homeostasis("current", "neuron", settle=0), None, Contexts(1))
    one = learner(rules)
    through(one, x, None)
    adapted = one.model()
    other = begin_learner(adapted, list(x[:256].split(64)), rules)
    assert torch.equal(other.predict(faded(test)), adapted(faded(test)).argmax(1))
    through(other, x[256:512], None)
    assert right(other.predict(faded(test)), truth) > 0.85


def test_the_public_function_does_the_same() -> None:
    x, y = stream()
    batches = [((a,), b) for a, b in zip(x[:320].split(16), told(y[:320], 0.2).split(16), strict=True)]
    one, predictions = adapt_classifier(network(), batches, calm(), QUICK)
    other = learner()
    assert torch.equal(predictions, through(other, x[:320], told(y[:320], 0.2)))
    same(one, other)
    with pytest.raises(DataError, match="stream is empty"):
        adapt_classifier(network(), [], calm())


def test_what_is_wrong_with_a_stream_is_said() -> None:
    one, x = learner(), digits("test")[0][:4]
    with pytest.raises(DataError, match="NaN"):
        one.step(torch.where(x > 0.5, torch.nan, x))
    with pytest.raises(DataError, match="another shape"):
        one.step(x[:, :, :4])
    with pytest.raises(DataError, match=r"outside the range(.|\n)*found: 10(.|\n)*readout.classes"):
        one.step(x, torch.tensor([0, -1, 10, 2]))
    with pytest.raises(DataError, match="outside the range"):
        one.step(x, torch.tensor([0, -2, 1, 2]))
    assert one.tally.samples == 0


def test_networks_that_cannot_learn_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing would learn"):
        learner(LocalRules(None, None))
    with pytest.raises(DataError, match="empty"):
        begin_learner(network(), [])
    other = SpikingModel(balanced(ann("attention")))
    with pytest.raises(UnsupportedError, match="readout of this network"):
        begin_learner(other, [correlated(ann("attention"), 16)])
    with pytest.raises(ProgramError, match="another network"):
        begin_learner(network(), calm(), reference=SpikingModel(balanced(ann("residual"))))
    stream = Context(stream_of(correlated(ann("linear"), 64)))
    coarse = run([Fuse(), Quantise("8"), Spike(levels=7), Balance()], ann("linear"), stream)
    with pytest.raises(UnsupportedError, match="on a grid"):
        begin_learner(SpikingModel(coarse), [correlated(ann("linear"), 16)])


def test_files_that_are_no_learner_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no learner"):
        resume_learner(tmp_path)
    save_learner(learner(), tmp_path / "a")
    file = tmp_path / "a" / FILE
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["learner"])
    tensors = load_file(file)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ProgramError, match="cannot be read"):
        resume_learner(tmp_path / "a")
    changed = header | {"start": "0"}
    save_file(tensors, tmp_path / "b" / FILE, metadata={"learner": json.dumps(changed)})
    with pytest.raises(ProgramError, match="another network"):
        resume_learner(tmp_path / "b")
    fewer = {name: value for name, value in tensors.items() if not name.startswith("world.0.spike")}
    save_file(fewer, tmp_path / "b" / FILE, metadata={"learner": json.dumps(header)})
    with pytest.raises(ProgramError, match="not whole"):
        resume_learner(tmp_path / "b")
