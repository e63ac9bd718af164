"""Pruning: as much leaves as was asked for, the rest makes it good, zeros stay zeros, and what cannot be done is said."""

from functools import cache
from pathlib import Path

import pytest
import torch
from tests.ir.networks import Wired
from tests.simulate.networks import ann, correlated, stream_of, unbalanced
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance, Compensate
from spikeloom.capture import capture
from spikeloom.compress import PruneMagnitude, PruneSpikes, prunable, settled
from spikeloom.compress.masks import fits
from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import Context, Pass, Program, calls, load, note, run, save, source_of, text, weighted, weights_of
from spikeloom.plan import Fuse
from spikeloom.simulate import Counter, Recorder, executable, primary

NAMES = ["linear", "residual", "gate", "relu6", "prelu"]


def wide(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    return c(F.relu(b(F.relu(a(x)))))


@cache
def network(name: str) -> Program:
    if name != "wide":
        return ann(name)
    torch.manual_seed(3)
    return capture(Wired(wide, nn.Linear(10, 32), nn.Linear(32, 24), nn.Linear(24, 4)).eval(), (torch.randn(2, 10),))


@cache
def balanced(name: str, timesteps: int = 1) -> Program:
    spike = {"levels": 15} if timesteps == 1 else {"method": "if"}
    return run([Balance(timesteps=timesteps)], unbalanced(network(name), **spike), context(name))


def context(name: str, reference: bool = False) -> Context:
    fused = run([Fuse()], network(name), Context()) if reference else None
    return Context(stream_of(correlated(network(name), 256)), reference=fused, settle=settled)


def masks(program: Program) -> dict[str, Tensor]:
    return {node.name: weights_of(node, program.tensors)[0] != 0 for node in prunable(program)}


def sparsity(program: Program) -> float:
    return 1 - float(torch.cat([mask.flatten() for mask in masks(program).values()]).float().mean())


def output_error(program: Program, name: str, timesteps: int = 1) -> float:
    x = correlated(network(name), 256, seed=99)
    exact = primary(network(name).module()(x))
    given = primary(executable(program, timesteps)(x.repeat(timesteps, *[1] * (x.dim() - 1))))
    return float((given.view(timesteps, *exact.shape).mean(0) - exact).square().mean() / exact.var())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_as_much_leaves_as_was_asked_for_and_is_noted(name: str, share: float) -> None:
    after = run([PruneSpikes(share, rounds=2)], balanced(name), context(name))
    weights = sum(mask.numel() for mask in masks(after).values())
    assert share - 1 / weights <= sparsity(after) <= share + 1e-6
    assert all(note(node)["pruned"] == "unstructured" for node in prunable(after))
    told = after.records[-1].numbers
    assert told["sparsity"]["all"] == pytest.approx(sparsity(after))
    assert set(told["operations"]["layers"]) == {node.name for node in calls(after.graph) if weighted(node)}
    assert told["operations"]["after"] < told["operations"]["before"]


def test_what_is_left_makes_it_good_better_than_magnitude_does() -> None:
    by_spikes = run([PruneSpikes(0.6)], balanced("wide"), context("wide"))
    small = run([PruneMagnitude(0.6)], network("wide"), Context())
    spiking = run([Balance()], unbalanced(small, levels=15), context("wide"))
    compensated = run([Compensate()], spiking, context("wide", reference=True))
    assert sparsity(compensated) == pytest.approx(sparsity(by_spikes), abs=0.01)
    assert output_error(by_spikes, "wide") < 0.8 * output_error(compensated, "wide") < output_error(spiking, "wide")


def test_measuring_anew_is_better_than_once() -> None:
    errors = [output_error(run([PruneSpikes(0.7, rounds=rounds)], balanced("wide"), context("wide")), "wide") for rounds in (1, 6)]
    assert errors[1] < 0.95 * errors[0]


def test_a_budget_of_operations_takes_operations() -> None:
    share = 0.5
    by_weights, by_operations = (
        run([PruneSpikes(share, budget=budget)], balanced("residual"), context("residual")).records[-1].numbers["operations"]
        for budget in ("weights", "operations")
    )
    first = next(node.name for node in calls(balanced("residual").graph) if weighted(node))
    spent = by_operations["after"] / by_operations["before"]
    assert abs(spent - (1 - share)) < 0.1
    assert spent < by_weights["after"] / by_weights["before"]
    assert by_operations["layers"][first] == [0.0, 0.0]  # what reads the input itself has no synaptic operations


def test_zeros_cost_no_operations_and_the_count_is_right() -> None:
    after = run([PruneSpikes(0.5, rounds=1)], balanced("linear"), context("linear"))
    x = correlated(network("linear"), 64)
    counter = Counter(after, 1)
    counter.add((x,))
    rows = {row.node: row for row in counter.counts().rows}
    last = prunable(after)[-1]
    source = source_of(last).name
    recorder = Recorder(executable(after, 1), [source])
    recorder.run(x)
    fired = (recorder.kept[source] != 0).float()
    expected = float((fired @ masks(after)[last.name].float().T).sum() / 64)
    assert rows[last.name].operations["graded"] == pytest.approx(expected)
    assert rows[last.name].dense_macs == masks(after)[last.name].numel()


@pytest.mark.parametrize("timesteps", [1, 3])
def test_compensation_keeps_zeros(timesteps: int) -> None:
    pruned = run([PruneSpikes(0.5, rounds=2, timesteps=timesteps)], balanced("residual", timesteps), context("residual"))
    after = run([Compensate(timesteps=timesteps)], pruned, context("residual", reference=True))
    for name, mask in masks(pruned).items():
        assert bool((masks(after)[name] <= mask).all())
    assert output_error(after, "residual", timesteps) < 1.05 * output_error(pruned, "residual", timesteps)


@pytest.mark.parametrize("worth", ["firing", "magnitude"])
def test_other_worths_prune_other_connections(worth: str) -> None:
    one, other = (masks(run([PruneSpikes(0.5, worth=each)], balanced("wide"), context("wide"))) for each in ("second_order", worth))
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("make", [lambda: PruneSpikes(pattern="1:4"), lambda: PruneMagnitude(pattern="1:4")])
def test_one_of_every_four_inputs(make: type[Pass]) -> None:
    pruning = make()
    start = balanced("wide") if isinstance(pruning, PruneSpikes) else network("wide")
    after = run([pruning], start, context("wide"))
    assert all(fits(mask, 1, 4) for mask in masks(after).values())
    assert sparsity(after) == pytest.approx(0.75, abs=0.01)
    assert {note(node)["pruned"] for node in prunable(after)} == {"1:4"}


def test_kept_layers_stay_whole() -> None:
    name = prunable(balanced("wide"))[0].name
    after = run([PruneSpikes(0.6, keep=(name,))], balanced("wide"), context("wide"))
    assert bool(masks(after)[name].all())
    assert "pruned" not in note(next(node for node in calls(after.graph) if node.name == name))


def test_what_was_given_stays_as_it_was_and_pruning_goes_on() -> None:
    given = balanced("residual")
    tensors, written = {key: tensor.clone() for key, tensor in given.tensors.items()}, text(given)
    once = run([PruneSpikes(0.4, rounds=2)], given, context("residual"))
    assert text(given) == written
    assert not any("pruned" in note(node) for node in calls(given.graph))
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in given.tensors.items())
    twice = run([PruneSpikes(0.6, rounds=1)], once, context("residual"))
    assert all(bool((masks(twice)[name] <= mask).all()) for name, mask in masks(once).items())
    assert sparsity(twice) == pytest.approx(0.6, abs=0.01)


def test_the_note_is_saved(tmp_path: Path) -> None:
    after = run([PruneMagnitude(0.5)], network("linear"), Context())
    save(after, tmp_path / "program")
    assert {note(node)["pruned"] for node in prunable(load(tmp_path / "program"))} == {"unstructured"}


def test_magnitude_takes_the_smallest_and_changes_no_other() -> None:
    after = run([PruneMagnitude(0.5)], network("wide"), Context())
    for before, node in zip(prunable(network("wide")), prunable(after), strict=True):
        old, new = (weights_of(each, program.tensors)[0] for each, program in ((before, network("wide")), (node, after)))
        assert torch.equal(new[new != 0], old[new != 0])
        assert float(old[new == 0].abs().max()) <= float(old[new != 0].abs().min())


@pytest.mark.parametrize(
    ("pruning", "words"),
    [
        (PruneSpikes(0.0), "compression.sparsity is out of range"),
        (PruneSpikes(1.0), "compression.sparsity is out of range"),
        (PruneSpikes(budget="energy"), "compression.budget is unknown"),
        (PruneSpikes(worth="luck"), "compression.worth is unknown"),
        (PruneSpikes(rounds=0), "compression.rounds is out of range"),
        (PruneSpikes(pattern="4:2"), "compression.pattern is unknown"),
        (PruneSpikes(pattern="3:7"), "3:7 does not divide the inputs of some layers"),
        (PruneSpikes(keep=("nothing",)), "compression.keep names no layer"),
        (PruneSpikes(keep=("linear_1", "linear_2")), "no layer is left to prune"),
    ],
)
def test_what_may_not_be_asked_for(pruning: PruneSpikes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run([pruning], balanced("wide"), context("wide"))


def test_without_data() -> None:
    with pytest.raises(ConfigError, match="calibration needs data"):
        run([PruneSpikes()], balanced("wide"), Context())


def test_a_layer_that_would_lose_everything() -> None:
    with pytest.raises(NumericError, match="every connection of a layer would leave"):
        run([PruneMagnitude(0.999)], network("wide"), Context())


def test_a_network_in_which_nothing_fires() -> None:
    silent = balanced("linear")
    tensors = {key: torch.full_like(held, 1e9) if key.endswith(".step") else held for key, held in silent.tensors.items()}
    tensors |= {key: torch.zeros_like(held) for key, held in tensors.items() if key.endswith(".v0")}
    with pytest.raises(NumericError, match="no spike reaches"):
        run([PruneSpikes(budget="operations")], silent.replaced(tensors=tensors), context("linear"))
