"""The pass: only neuron parameters change, a search that was stopped goes on to the same answer, bad input is one clear error each."""

import dataclasses
import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.evolve.networks import context, inputs, labelled, spiking
from tests.simulate.networks import ann, balanced

from spikeloom.errors import ConfigError, DataError, NumericError, ProgramError, ResourceError
from spikeloom.evolve import Evolve, bench
from spikeloom.evolve.state import FILE, key_of, read_state, write_state
from spikeloom.ir import Program, run
from spikeloom.simulate import SpikingModel, primary

SMALL = Evolve(population_size=12, generations=3, groups=2, batch_size=32)


def changed(before: Program, after: Program) -> set[str]:
    return {name for name, tensor in before.tensors.items() if not torch.equal(tensor, after.tensors[name])}


def same(a: Program, b: Program) -> bool:
    return a.tensors.keys() == b.tensors.keys() and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_it_changes_neurons_alone_and_says_what_it_found() -> None:
    before = spiking()
    after = run([SMALL], before, context())
    names = changed(before, after)
    assert names
    assert all(name.startswith("spike_") for name in names)
    numbers = after.records[-1].numbers
    assert [row["generation"] for row in numbers["history"]] == [0, 1, 2]
    assert numbers["best"]["divergence"] < numbers["start"]["divergence"]
    assert numbers["evaluations"] == 1 + 3 * 12


def test_the_record_tells_what_the_program_gives() -> None:
    after, x = run([dataclasses.replace(SMALL, held_out=0.0)], spiking(), context()), inputs()
    p, q = (primary(y).log_softmax(-1) for y in (ann("residual").module()(x), SpikingModel(after)(x)))
    found = float((p.exp() * (p - q)).sum(-1).mean())
    assert after.records[-1].numbers["best"]["divergence"] == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize(("held_out", "kept"), [(0.2, True), (0.97, False)])
def test_what_is_no_better_on_samples_held_out_is_not_given_back(held_out: float, kept: bool) -> None:
    before = spiking()
    after = run([dataclasses.replace(SMALL, held_out=held_out)], before, context())
    numbers = after.records[-1].numbers
    assert numbers["best"]["divergence"] < numbers["start"]["divergence"]
    judged = numbers["judged"]
    assert judged["samples"] + numbers["samples"] == 64
    assert judged["samples"] == int(64 * held_out)
    assert judged["kept"] == kept == (judged["best"]["divergence"] < judged["start"]["divergence"])
    assert bool(changed(before, after)) == kept


def test_the_start_is_what_the_program_gives() -> None:
    objective, start = SMALL.start(spiking(), context())
    assert objective == "kl"
    x = inputs()
    p, q = (primary(y).log_softmax(-1) for y in (ann("residual").module()(x), SpikingModel(spiking())(x)))
    assert start.divergence == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "method", "timesteps"), [("gate", "scale_and_fire", 1), ("attention", "scale_and_fire", 1), ("linear", "lif", 4)]
)
def test_tables_and_leaky_neurons_evolve_too(name: str, method: str, timesteps: int) -> None:
    before = spiking(name, timesteps, method=method)
    after = run([dataclasses.replace(SMALL, timesteps=timesteps, held_out=0.0)], before, context(name))
    assert after.records[-1].numbers["best"]["divergence"] < after.records[-1].numbers["start"]["divergence"]


def test_on_the_hardwares_grid_the_result_lies_on_it() -> None:
    limits: dict[str, Any] = {"threshold_bits": 6, "leak_bits": 5, "decay": 0.9}
    before = spiking("linear", 4, method="lif")
    after = run([dataclasses.replace(SMALL, timesteps=4, **limits)], before, context("linear"))
    decays = [tensor for name, tensor in after.tensors.items() if name.endswith("decay")]
    assert decays
    assert all(torch.allclose(tensor, torch.tensor(0.9)) for tensor in decays)
    for name, tensor in after.tensors.items():
        if name.endswith("step"):
            k = tensor / (before.tensors[name].max() * 2 / 63)
            assert torch.allclose(k, k.round(), atol=1e-3)


def test_labels_in_the_batches_make_it_the_tasks_loss() -> None:
    after = run([dataclasses.replace(SMALL, objective="task")], spiking(), labelled())
    assert after.records[-1].numbers["objective"] == "task"


def test_a_front_gives_back_what_the_budget_picks(tmp_path: Path) -> None:
    told = context(scratch=tmp_path)
    first = run([dataclasses.replace(SMALL, generations=4, front=True)], spiking(), told).records[-1].numbers
    assert len(first["front"]) > 1
    cheapest = min(point["energy_pj"] for point in first["front"])
    picked = run([dataclasses.replace(SMALL, generations=4, front=True, budget=f"energy={cheapest * 1.0001}")], spiking(), told)
    assert changed(spiking(), picked)
    (chosen,) = [point for point in picked.records[-1].numbers["front"] if point["picked"]]
    assert chosen["energy_pj"] == cheapest
    with pytest.raises(ConfigError, match="keeps energy=1"):
        run([dataclasses.replace(SMALL, generations=4, front=True, budget="energy=1")], spiking(), told)


def test_a_stopped_search_goes_on_to_the_same_answer(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        assert "best divergence" in what
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run([SMALL], spiking(), context(scratch=tmp_path, progress=stop))
    seen = list[int]()
    resumed = run([SMALL], spiking(), context(scratch=tmp_path, progress=lambda what, done, total: seen.append(done)))
    assert seen == [3]
    assert same(resumed, run([SMALL], spiking(), context()))


def test_another_search_in_the_same_place_starts_anew(tmp_path: Path) -> None:
    run([SMALL], spiking(), context(scratch=tmp_path))
    seen = list[int]()
    other = dataclasses.replace(SMALL, rate=0.2)
    run([other], spiking(), context(scratch=tmp_path, progress=lambda what, done, total: seen.append(done)))
    assert seen == [1, 2, 3]


def test_a_full_disk_at_a_checkpoint_is_one_error_and_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Path.open, list[str]()

    def refusing(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if FILE in self.name and "w" in mode:
            calls.append(self.name)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(ResourceError, match="No space left on device"):
        run([SMALL], spiking(), context(scratch=tmp_path))
    monkeypatch.undo()
    folder = next(tmp_path.glob("evolve-*"))
    assert [path.name for path in folder.iterdir() if FILE in path.name] == [FILE]
    seen = list[int]()
    resumed = run([SMALL], spiking(), context(scratch=tmp_path, progress=lambda what, done, total: seen.append(done)))
    assert seen == [2, 3]
    assert same(resumed, run([SMALL], spiking(), context()))


def test_a_state_that_was_altered_is_refused(tmp_path: Path) -> None:
    run([SMALL], spiking(), context(scratch=tmp_path))
    state = next(tmp_path.glob(f"evolve-*/{FILE}"))
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ProgramError, match="no state of a search"):
        run([SMALL], spiking(), context(scratch=tmp_path))


def test_two_workers_give_the_answer_of_one() -> None:
    one, two = (run([dataclasses.replace(SMALL, workers=workers)], spiking(), context()) for workers in (1, 2))
    assert same(one, two)
    assert one.records[-1].numbers == two.records[-1].numbers


_REAL = bench.evaluated


def dying_once(folder: str, genes: Any, base: str | None) -> Any:
    """An evaluation whose worker is killed the first time."""
    mark = Path(folder).parent / "mark"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _REAL(folder, genes, base)


def test_a_worker_killed_in_a_generation_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run([SMALL], spiking(), context())
    monkeypatch.setattr("spikeloom.evolve.search.evaluated", dying_once)
    broken = run([dataclasses.replace(SMALL, workers=2)], spiking(), context(scratch=tmp_path))
    assert list(tmp_path.glob("evolve-*/mark"))
    assert same(plain, broken)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_four_workers_of_a_cluster_give_the_answer_of_one_process(backend: str) -> None:
    pytest.importorskip("ray" if backend == "ray" else "distributed")
    one, four = (run([dataclasses.replace(SMALL, **told)], spiking(), context()) for told in ({}, {"executor": backend, "workers": 4}))
    assert same(one, four)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"min_rate": 0.5, "max_rate": 0.1}, "contradict"),
        ({"population_size": 0}, "population_size"),
        ({"generations": 0}, "generations"),
        ({"samples": 0}, "samples"),
        ({"held_out": 1.0}, "held_out"),
        ({"executor": "spark"}, "unknown executor"),
        ({"workers": 0}, "workers"),
        ({"objective": "best"}, "unknown objective"),
        ({"encoding": "morse"}, "unknown encoding"),
        ({"parameters": ("weights",)}, "unknown neuron parameter"),
        ({"groups": 0}, "channel groups"),
        ({"budget": "energy=1"}, "ask for a front"),
    ],
)
def test_settings_that_contradict_themselves_are_one_error_each(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run([dataclasses.replace(SMALL, **options)], spiking(), context())


def test_labels_that_are_missing_or_none_are_told() -> None:
    with pytest.raises(DataError, match="needs labels"):
        run([dataclasses.replace(SMALL, objective="task")], spiking(), context())
    wrong = dataclasses.replace(context(), calibration=lambda: [(inputs(count=8), torch.full((8,), 99))])
    with pytest.raises(DataError, match="no classes of this network"):
        run([dataclasses.replace(SMALL, objective="task")], spiking(), wrong)


def test_data_and_ann_must_be_there() -> None:
    with pytest.raises(ConfigError, match="needs calibration data"):
        run([SMALL], spiking(), dataclasses.replace(context(), calibration=None))
    with pytest.raises(ConfigError, match="needs the ANN"):
        run([SMALL], spiking(), dataclasses.replace(context(), reference=None))
    with pytest.raises(DataError, match="calibration samples"):
        run([SMALL], spiking(), dataclasses.replace(context(), calibration=list))


def test_a_network_that_never_fires_is_refused() -> None:
    program = balanced(ann("linear"), levels=3)
    silent = {name: tensor * (1e9 if name.endswith("step") else 1.0) for name, tensor in program.tensors.items()}
    quiet = {name: torch.zeros_like(tensor) if name.endswith("v0") else tensor for name, tensor in silent.items()}
    with pytest.raises(NumericError, match="no neuron of this network ever fires"):
        run([SMALL], program.replaced(tensors=quiet), context("linear"))


def test_a_state_file_counts_for_its_own_key_alone(tmp_path: Path) -> None:
    from spikeloom.evolve.state import Written

    path = tmp_path / FILE
    assert read_state(path, "a") is None
    write_state(path, "a", Written({"x": np.arange(3.0)}, {"n": 1}))
    read = read_state(path, "a")
    assert read is not None
    assert read.facts == {"n": 1}
    assert read.arrays["x"].tolist() == [0.0, 1.0, 2.0]
    assert read_state(path, "b") is None
    assert key_of(tmp_path, {"a": 1}) != key_of(tmp_path, {"a": 2})
