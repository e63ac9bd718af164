"""Fine-tuning: it learns as it is told, keeps the best, goes on from its checkpoint to the same end, and says clearly what is wrong."""

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.simulate.networks import ann, balanced, correlated, samples, stream_of
from torch import Tensor

from spikeloom.errors import ConfigError, DataError, NumericError, ProgramError, ResourceError, UserError
from spikeloom.ir import Context, Examples, Labelled, Program, Quantised, calls, load, read, run, save, weighted, weights_of
from spikeloom.simulate import executable, populations, primary
from spikeloom.train import FineTune, examples_of, unlabelled
from spikeloom.train import checkpoint as checkpoint_module
from spikeloom.train.finetune import prepared
from spikeloom.train.student import TRAINABLE, Student, latents_of
from spikeloom.train.through_time import Unrolled
from spikeloom.train.tuning import Tuning

FAST = {"weight_rate": 0.03, "neuron_rate": 0.015}


class StoppedError(Exception):
    """What a test stops training with."""


@cache
def network(name: str = "residual", levels: int = 7, timesteps: int = 1) -> Program:
    return balanced(ann(name), timesteps=timesteps, levels=levels)


def worse(name: str = "residual", timesteps: int = 1) -> Program:
    """A network whose weights are half off."""
    program, generator = network(name, timesteps=timesteps), torch.Generator().manual_seed(5)
    off = {key: 1 + 0.5 * torch.randn(tensor.shape, generator=generator) for key, tensor in program.tensors.items()}
    changed = {key: tensor * off[key] for key, tensor in program.tensors.items() if key.endswith(".weight") and tensor.ndim > 1}
    return program.replaced(tensors={**program.tensors, **changed})


def batches(name: str, count: int, seed: int) -> list[Labelled]:
    """Batches of 16 with the ANN's own answers as labels."""
    x = correlated(ann(name), count, seed)
    with torch.no_grad():
        y = primary(ann(name).module()(x)).argmax(-1)
    return [((part,), labels) for part, labels in zip(x.split(16), y.split(16), strict=True)]


def examples(name: str = "residual", count: int = 64) -> Examples:
    """Each epoch takes the batches in another order."""
    taught = batches(name, count, 1)

    def epoch(number: int) -> Iterator[Labelled]:
        order = torch.randperm(len(taught), generator=torch.Generator().manual_seed(number)).tolist()
        return iter([taught[place] for place in order])

    return Examples(epoch, lambda: iter(batches(name, 32, 2)), len(taught))


def context(name: str = "residual", **changes: Any) -> Context:
    return Context(**{"reference": ann(name), "examples": examples(name), **changes})


def tuned(program: Program | None = None, where: Context | None = None, **options: Any) -> Program:
    told = {"epochs": 3, "weight_rate": 0.005, "neuron_rate": 0.005, **options}
    return run([FineTune(**told)], network() if program is None else program, context() if where is None else where)


def numbers(program: Program) -> dict[str, Any]:
    return dict(program.records[-1].numbers)


def same(one: Program, other: Program) -> bool:
    return all(torch.equal(read(tensor), read(other.tensors[name])) for name, tensor in one.tensors.items())


def error(program: Program, name: str = "residual", timesteps: int = 1) -> float:
    """How far the network is from the ANN on inputs that it was not trained on."""
    x = correlated(ann(name), 64, 9)
    with torch.no_grad():
        given = primary(Unrolled(program, timesteps)(program.tensors, (x,))[0])
        return float((given - primary(ann(name).module()(x))).square().mean())


def stop_at(step: int) -> Callable[[str, int, int], None]:
    def report(what: str, done: int, total: int) -> None:
        if done == step:
            raise StoppedError

    return report


# --- what comes of it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"labels": 0.0}, {"labels": 0.0, "features": 1.0}, {"distil": 0.0, "labels": 1.0}, {}])
def test_what_is_held_out_is_learnt(options: dict[str, float]) -> None:
    told = numbers(tuned(worse(), epochs=6, **FAST, **options))
    assert told["history"][told["best_epoch"] - 1]["held_out_loss"] < 0.8 * told["start"]["held_out_loss"]
    assert len(told["history"]) == 6
    assert told["steps"] == 24


@pytest.mark.parametrize(("name", "timesteps"), [("residual", 1), ("residual", 4), ("gate", 1), ("attention", 2), ("normed", 3)])
def test_the_network_comes_closer_to_the_ann(name: str, timesteps: int) -> None:
    program = worse(name, timesteps)
    made = tuned(program, context(name), labels=0.0, distil=1.0, outputs="values", timesteps=timesteps, epochs=8, **FAST)
    assert error(made, name, timesteps) < 0.6 * error(program, name, timesteps)


def test_calibration_data_will_do_without_labels() -> None:
    where = replace(context(), examples=None, calibration=stream_of(correlated(ann("residual"), 64, 1), 16))
    made = tuned(worse(), where, labels=0.0, outputs="values", epochs=8, **FAST)
    assert error(made) < 0.6 * error(worse())
    assert numbers(made)["history"][-1]["held_out_accuracy"] is None


def test_accuracy_is_that_of_what_is_held_out() -> None:
    told = numbers(tuned(epochs=1))
    data = batches("residual", 32, 2)
    with torch.no_grad():
        module = executable(network(), 1)
        right = [primary(module(*inputs)).argmax(1) == labels for inputs, labels in data]
    assert told["start"]["held_out_accuracy"] == float(torch.cat(right).float().mean())


def test_the_program_given_is_left_as_it_was() -> None:
    program = network()
    before = {name: tensor.clone() for name, tensor in program.tensors.items()}
    made = tuned(program)
    assert all(torch.equal(program.tensors[name], tensor) for name, tensor in before.items())
    assert not same(made, program)


@pytest.mark.parametrize("chosen", [("weights",), ("biases",), ("steps",), ("v0",), ("decay",), ("leak",), TRAINABLE])
def test_only_what_is_chosen_is_trained(chosen: tuple[str, ...]) -> None:
    program = network(timesteps=4)
    made = tuned(program, train=chosen, timesteps=4, epochs=2, weight_rate=0.02, neuron_rate=0.02)
    changed = {name for name, tensor in program.tensors.items() if not torch.equal(tensor, made.tensors[name])}
    ends = {"weights": ".weight", "biases": ".bias", "steps": ".step", "v0": ".v0", "decay": ".decay", "leak": ".leak"}
    allowed = tuple(ends[key] for key in chosen if key in ends)
    assert changed
    assert {name for name in changed if not name.endswith(allowed)} <= (
        {name for name in changed if name.endswith((".v0", ".leak"))} if "steps" in chosen else set()
    )
    assert all(made.tensors[name] is program.tensors[name] for name in program.tensors if not name.endswith(allowed))


def test_heights_of_tables_are_trained() -> None:
    program = network("gate")
    made = tuned(program, context("gate"), train=("heights",), epochs=4, neuron_rate=0.05)
    changed = {name for name in program.tensors if not torch.equal(program.tensors[name], made.tensors[name])}
    assert changed
    assert all(name.endswith("values") for name in changed)
    assert all(torch.equal(program.tensors[name] == 0, made.tensors[name] == 0) for name in changed)


def test_steps_are_positive_whatever_the_rate() -> None:
    made = tuned(neuron_rate=0.9, weight_rate=0.5)
    assert all(bool((tensor > 0).all()) for name, tensor in made.tensors.items() if name.endswith(".step"))


def test_after_every_step_parameters_are_where_they_may_be() -> None:
    options = FineTune(train=("decay",), timesteps=4, neuron_rate=0.9, warmup=0.0)
    tuning = prepared(options, worse(timesteps=4), context(), examples())
    tuning.step(*next(iter(examples().epoch(0))))
    decays = torch.cat([value.detach().flatten() for value in tuning.own.raw])
    assert bool(((decays >= 0) & (decays <= 1)).all())
    assert bool((decays < 1).any())


def test_the_best_state_is_kept() -> None:
    made = tuned(weight_rate=0.9, neuron_rate=0.9, epochs=4, labels=0.0)
    told = numbers(made)
    assert min(row["held_out_loss"] for row in told["history"]) > told["start"]["held_out_loss"]
    assert told["best_epoch"] == 0
    assert all(torch.allclose(made.tensors[name], tensor, atol=1e-6) for name, tensor in network().tensors.items())


def test_stops_when_nothing_gets_better() -> None:
    told = numbers(tuned(weight_rate=0.9, neuron_rate=0.9, epochs=50, patience=2, labels=0.0))
    assert len(told["history"]) == 2


def test_memory_settings_change_nothing() -> None:
    plain = tuned(network(timesteps=4), timesteps=4, epochs=1)
    frugal = tuned(network(timesteps=4), timesteps=4, epochs=1, chunk_steps=2, parts=3)
    for name, tensor in plain.tensors.items():
        assert torch.allclose(tensor, frugal.tensors[name], atol=1e-3 * float(tensor.abs().max()) + 1e-6), name
    losses = [numbers(each)["history"][0]["loss"] for each in (plain, frugal)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_mixed_precision_learns_and_leaves_float32() -> None:
    made = tuned(precision="bfloat16", epochs=4)
    told, plain = numbers(made), numbers(tuned(epochs=4))
    assert all(tensor.dtype == torch.float32 for tensor in made.tensors.values())
    assert told["history"][0]["loss"] != plain["history"][0]["loss"]
    assert told["history"][0]["loss"] == pytest.approx(plain["history"][0]["loss"], rel=0.1)
    assert told["history"][-1]["held_out_loss"] < told["start"]["held_out_loss"]


def test_is_the_same_every_time_and_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    first = tuned()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(77)
    assert same(first, tuned())


def test_the_record_says_what_was_done() -> None:
    made = tuned()
    record = made.records[-1]
    assert record.options == {**json.loads(json.dumps(asdict(FineTune(epochs=3, weight_rate=0.005, neuron_rate=0.005))))}
    assert json.loads(json.dumps(dict(record.numbers))) == dict(record.numbers)
    assert record.papers
    assert record.numbers["trained"]["weights"] == 4


def test_progress_is_told_after_every_step() -> None:
    heard: list[tuple[str, int, int]] = []
    tuned(where=replace(context(), progress=lambda *said: heard.append(said)))
    assert [(done, total) for _, done, total in heard] == [(step, 12) for step in range(1, 13)]
    assert "epoch 3/3" in heard[-1][0]
    assert "held out" in heard[-1][0]


# --- grids and pruning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["ternary", "4", "8"])
def test_weights_come_to_lie_on_a_grid(grid: str, tmp_path: Path) -> None:
    made = tuned(grid=grid, epochs=4)
    layers = [weights_of(node, made.tensors)[0] for node in calls(made.graph) if weighted(node)]
    assert len(layers) == 4
    assert all(isinstance(weight, Quantised) for weight in layers)
    assert numbers(made)["history"][-1]["held_out_loss"] < numbers(made)["start"]["held_out_loss"]
    save(made, tmp_path / "made")
    assert same(load(tmp_path / "made"), made)
    again = tuned(made, epochs=2)
    assert all(isinstance(weights_of(node, again.tensors)[0], Quantised) for node in calls(again.graph) if weighted(node))


def test_what_is_judged_on_the_grid_is_what_is_kept() -> None:
    made = tuned(grid="ternary", epochs=2, labels=0.0, distil=1.0)
    told = numbers(made)
    total = 0.0
    with torch.no_grad():
        module, exact = executable(made, 1), ann("residual").module()
        for inputs, _ in batches("residual", 32, 2):
            total += float(FineTune(labels=0.0, distil=1.0).objective.loss(module(*inputs), exact(*inputs), None, {})) * 16
    best = min([told["start"]["held_out_loss"], *(row["held_out_loss"] for row in told["history"])])
    assert total / 32 == pytest.approx(best, rel=1e-4)


def test_a_coarse_grid_starts_from_layers_that_give_what_they_gave() -> None:
    program = network("linear", levels=31)
    latents = latents_of(program, TRAINABLE, FineTune(grid="ternary").onto)
    student = Student(program, latents, Unrolled(program, 1))
    rounded = error(student.trained(), "linear")
    from spikeloom.train.onto_grid import match_

    match_(student, (correlated(ann("linear"), 256, 4),), 1)
    assert error(student.trained(), "linear") < 0.6 * rounded


def test_zeros_of_pruned_layers_stay() -> None:
    program = network()
    layer = next(node for node in calls(program.graph) if weighted(node))
    layer.meta.setdefault("note", {})["pruned"] = True
    try:
        weight = weights_of(layer, program.tensors)[0]
        name = next(name for name, tensor in program.tensors.items() if tensor is weight)
        pruned = program.replaced(tensors={**program.tensors, name: weight * (weight.abs() > weight.abs().median())})
        for grid in (None, "ternary"):
            made = read(tuned(pruned, grid=grid).tensors[name])
            assert bool((made[pruned.tensors[name] == 0] == 0).all())
            assert not torch.equal(made, pruned.tensors[name])
    finally:
        del layer.meta["note"]["pruned"]


# --- going on -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 4, 6, 12])
def test_goes_on_to_the_very_same_end(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.train.tuning.CHECKPOINT_S", 0.0)
    where = replace(context(), checkpoint=tmp_path / "state.safetensors")
    with pytest.raises(StoppedError):
        tuned(where=replace(where, progress=stop_at(step)))
    assert where.checkpoint is not None
    assert where.checkpoint.exists() == (step > 1)
    steps: list[int] = []
    resumed = tuned(where=replace(where, progress=lambda what, done, total: steps.append(done)))
    whole = tuned()
    assert steps[0] in (step, step + 1) or step == 1
    assert same(resumed, whole)
    assert numbers(resumed) == numbers(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_goes_on_from_the_end_of_an_epoch_that_was_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.train.tuning.CHECKPOINT_S", 0.0)
    where, judge = replace(context(), checkpoint=tmp_path / "state"), Tuning.judge

    def dies(tuning: Tuning) -> None:
        if tuning.progress.step == 8:
            raise StoppedError
        judge(tuning)

    with monkeypatch.context() as patched:
        patched.setattr(Tuning, "judge", dies)
        with pytest.raises(StoppedError):
            tuned(where=where)
    assert same(tuned(where=where), tuned())


def test_a_finished_tuning_is_read_again(tmp_path: Path) -> None:
    where = replace(context(), checkpoint=tmp_path / "state")
    first = tuned(where=where)
    assert same(first, tuned(where=replace(where, progress=stop_at(12))))


@pytest.mark.parametrize("options", [{"epochs": 4}, {"labels": 0.6}, {"weight_rate": 0.004}])
def test_a_checkpoint_of_other_settings_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    where = replace(context(), checkpoint=tmp_path / "state")
    tuned(where=where)
    with pytest.raises(ConfigError, match="another training") as raised:
        tuned(where=where, **options)
    assert next(iter(options)) in str(raised.value)


def test_a_checkpoint_of_another_network_or_other_data_is_refused(tmp_path: Path) -> None:
    where = replace(context(), checkpoint=tmp_path / "state")
    tuned(where=where)
    with pytest.raises(ConfigError, match="start="):
        tuned(network(levels=3), where)
    with pytest.raises(ConfigError, match="data="):
        tuned(
            where=replace(where, examples=Examples(lambda _: iter(batches("residual", 64, 5)), lambda: iter(batches("residual", 16, 2)), 4))
        )


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    tuned(where=replace(context(), checkpoint=path))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ProgramError, match="cannot be read"):
        tuned(where=replace(context(), checkpoint=path))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    where = replace(context(), checkpoint=path)
    with pytest.raises(StoppedError):
        tuned(where=replace(where, progress=stop_at(6)))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module.os, "fsync", full)
        with pytest.raises(ResourceError, match="cannot be written") as raised:
            tuned(where=where)
    assert "disk is full" in str(raised.value)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    assert same(tuned(where=where), tuned())


# --- what is wrong ------------------------------------------------------------------------------------------------------------


def silenced() -> Program:
    program = network()
    loud = {name: tensor * (1e6 if name.endswith(".step") else 1.0) for name, tensor in program.tensors.items()}
    return program.replaced(tensors=loud)


def test_a_silent_network() -> None:
    with pytest.raises(NumericError, match="no population of the network fires") as raised:
        tuned(silenced())
    assert "calibrate" in str(raised.value)


def test_a_network_without_populations() -> None:
    program = network()
    bare = program.replaced(graph=ann("linear").graph, tensors=ann("linear").tensors, inputs=ann("linear").inputs)
    assert not populations(bare)
    with pytest.raises(UserError, match="no populations"):
        tuned(bare)


def test_missing_labels() -> None:
    where = replace(context(), examples=unlabelled(stream_of(samples(ann("residual"), 32), 16)))
    with pytest.raises(ConfigError, match="needs labels"):
        tuned(where=where)


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    def endless(x: Tensor) -> Tensor:
        return x * 1e30

    data = [((endless(inputs[0]),), labels) for inputs, labels in batches("residual", 64, 1)]
    path = tmp_path / "state"
    where = replace(context(), examples=Examples(lambda _: iter(data), lambda: iter(batches("residual", 16, 2)), 4), checkpoint=path)
    with pytest.raises(NumericError, match="loss is not finite") as raised:
        tuned(where=where, labels=0.0, distil=1.0, outputs="values")
    assert "epoch 1, step 1" in str(raised.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Examples(lambda _: iter([]), lambda: iter([])), "are empty"),
        (Examples(lambda _: iter(batches("residual", 16, 1)), lambda: iter([])), "held out are empty"),
        (Examples(lambda _: iter([((torch.zeros(4, 3),), None)]), lambda: iter([])), "another shape"),
        (Examples(lambda _: iter([((torch.full((2, 2, 6, 6), torch.nan),), None)]), lambda: iter([])), "NaN"),
        (Examples(lambda _: iter([((torch.zeros(2, 2, 6, 6),) * 2, None)]), lambda: iter([])), "number of inputs"),
    ],
)
def test_data_that_cannot_be_used(data: Examples, said: str) -> None:
    with pytest.raises(DataError, match=said):
        tuned(where=replace(context(), examples=data))


def test_no_data_at_all() -> None:
    with pytest.raises(ConfigError, match="needs data"):
        tuned(where=replace(context(), examples=None))


def test_an_ann_that_is_asked_for_and_missing() -> None:
    with pytest.raises(ConfigError, match="needs the ANN"):
        tuned(where=replace(context(), reference=None))
    assert numbers(tuned(where=replace(context(), reference=None), distil=0.0))["steps"] == 12


@pytest.mark.parametrize(
    "options",
    [
        {"timesteps": 0},
        {"epochs": 0},
        {"labels": -1.0},
        {"labels": 0.0, "distil": 0.0},
        {"temperature": 0.0},
        {"outputs": "boxes"},
        {"train": ()},
        {"train": ("weight",)},
        {"grid": "2"},
        {"weight_rate": 0.0},
        {"neuron_rate": 1.0},
        {"warmup": 1.0},
        {"patience": 0},
        {"precision": "float16"},
        {"chunk_steps": 0},
        {"parts": 0},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"finetune.{'distil' if len(options) == 2 else next(iter(options))} cannot be used"):
        tuned(**options)


def test_without_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(ResourceError, match="accelerate") as raised:
        tuned()
    assert "spikeloom[train]" in str(raised.value)


# --- examples -----------------------------------------------------------------------------------------------------------------


def pictures(count: int) -> list[tuple[Tensor, int]]:
    return [(torch.full((3, 4, 4), float(index)), index % 3) for index in range(count)]


def values(stream: Any) -> list[float]:
    return [float(x) for inputs, _ in stream for x in inputs[0][:, 0, 0, 0]]


def test_what_is_held_out_is_never_trained_on() -> None:
    data = examples_of(pictures(30), batch_size=4, held_out=6, seed=3)
    held = values(data.held_out())
    epochs = [values(data.epoch(number)) for number in range(3)]
    assert len(set(held)) == 6
    assert data.steps == 6
    for epoch in epochs:
        assert len(set(epoch)) == 24
        assert not set(epoch) & set(held)
    assert epochs[0] != epochs[1]
    assert epochs[0] == values(data.epoch(0))
    assert all(int(y) == int(x[0, 0, 0]) % 3 for inputs, labels in data.epoch(1) for x, y in zip(inputs[0], labels, strict=True))


def test_augmentation_is_another_in_every_epoch_and_leaves_what_is_held_out() -> None:
    alike = [(torch.arange(48.0).view(3, 4, 4), 0)] * 12
    data = examples_of(alike, batch_size=4, held_out=4, augment="cifar")
    seen = [tuple(inputs[0].flatten().tolist()) for number in range(3) for inputs, _ in data.epoch(number)]
    assert len(set(seen)) == len(seen) == 6
    assert all(torch.equal(x, alike[0][0]) for inputs, _ in data.held_out() for x in inputs[0])


def test_too_little_to_hold_out() -> None:
    with pytest.raises(DataError, match="too little"):
        examples_of(pictures(3), batch_size=4, held_out=3)
    with pytest.raises(DataError, match="too little"):
        examples_of(pictures(3), batch_size=4, held_out=0)


def test_calibration_data_are_shared_out() -> None:
    x = torch.arange(45.0).view(45, 1, 1, 1)
    data = unlabelled(stream_of(x, 20))
    taught, held = values(data.epoch(0)), values(data.held_out())
    assert sorted(taught + held) == x.flatten().tolist()
    assert held == [18.0, 19.0, 38.0, 39.0, 44.0]
