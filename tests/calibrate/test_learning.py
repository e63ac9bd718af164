"""Error compensation learning: what was turned away comes back, nothing gets worse, blocks are what they say."""

from collections.abc import Iterator

import pytest
import torch
from tests.ir.networks import conv
from tests.simulate.networks import ann, balanced, samples, stream_of
from torch import Tensor, nn

from spikeloom.calibrate import LearnCompensation
from spikeloom.calibrate.blocks import blocks
from spikeloom.capture import capture
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Context, Program, Quantised, calls, grid_named, population, run, weighted
from spikeloom.simulate import SpikingModel, primary

NAMES = ["linear", "residual", "gate", "attention", "normed", "relu6"]


def disturbed(program: Program) -> Program:
    """The program with steps half as large and heights a third too high."""
    worse = {
        name: t / 2 if name.endswith(".step") else t * 1.3 for name, t in program.tensors.items() if name.endswith((".step", ".values"))
    }
    return program.replaced(tensors={**program.tensors, **worse})


def lost(program: Program, exact: Program, steps: int) -> float:
    """The error of the output on samples nothing was fitted to, as a share of its power."""
    x = samples(program, 256, 41)
    with torch.no_grad():
        found, meant = primary(SpikingModel(program, timesteps=steps)(x)), primary(exact.module()(x))
    return float((found - meant).square().mean() / meant.square().mean())


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_turned_away_comes_back(name: str, steps: int) -> None:
    exact = ann(name)
    worse = disturbed(balanced(exact, timesteps=1, levels=7))
    context = Context(stream_of(samples(worse, 256, 5), 32), reference=exact)
    learn = LearnCompensation(timesteps=steps, steps=80, rate=1e-2, weights=False)
    found = run([learn], worse, context)
    assert lost(found, exact, steps) < 0.7 * lost(worse, exact, steps)
    rows = found.records[-1].numbers["blocks"]
    assert rows
    assert all(row["after"] < row["before"] for row in rows if row["kept"])


@pytest.mark.parametrize("name", NAMES)
def test_every_node_is_in_one_block_and_each_but_the_last_has_layers_and_neurons(name: str) -> None:
    program = balanced(ann(name))
    found = blocks(program.graph)
    assert [node for block in found for node in block.nodes] == [node for node in program.graph.nodes if node.op != "output"]
    for block in found:
        assert block.outputs
        assert set(block.outputs) <= set(block.nodes)
    for block in found[:-1]:
        assert any(weighted(node) for node in block.nodes)
        assert any(node.target is population for node in block.nodes)


def test_a_chain_is_cut_behind_every_population() -> None:
    made = capture(nn.Sequential(*(layer for _ in range(4) for layer in (conv(2, 2), nn.ReLU()))), (torch.zeros(2, 2, 5, 5),))
    found = blocks(balanced(made).graph)
    assert [sum(weighted(node) for node in block.nodes) for block in found] == [1, 1, 1, 1]
    assert [block.outputs[-1].name for block in found] == ["spike_relu", "spike_relu_1", "spike_relu_2", "spike_relu_3"]


def test_a_block_that_gets_no_better_stays_as_it_was() -> None:
    exact = ann("linear")
    program = balanced(exact, timesteps=1, levels=4095)
    found = run([LearnCompensation(steps=5, rate=10.0)], program, Context(stream_of(samples(program, 64, 5), 32), reference=exact))
    assert not any(row["kept"] for row in found.records[-1].numbers["blocks"])
    assert all(found.tensors[name] is tensor for name, tensor in program.tensors.items())


def test_weights_on_a_grid_keep_their_codes() -> None:
    exact = ann("linear")
    program = balanced(exact, timesteps=1)
    grid, tensors = grid_named("4"), dict(program.tensors)
    layer = next(node for node in calls(program.graph) if weighted(node))
    from spikeloom.compress.rounding import nearest

    name = str(layer.args[1].target)  # type: ignore[union-attr]
    tensors[name] = nearest(tensors[name] * 1.5, grid)
    found = run(
        [LearnCompensation(steps=60, rate=1e-2)],
        program.replaced(tensors=tensors),
        Context(stream_of(samples(program, 256, 5), 32), reference=exact),
    )
    kept, before = found.tensors[name], tensors[name]
    assert isinstance(kept, Quantised)
    assert isinstance(before, Quantised)
    assert torch.equal(kept.codes(), before.codes())
    assert float((kept.scale / before.scale).mean()) < 0.9  # back from half as much again


def test_pruned_weights_stay_zero() -> None:
    exact = ann("linear")
    program = balanced(exact, timesteps=1)
    layer = next(node for node in calls(program.graph) if weighted(node))
    name = str(layer.args[1].target)  # type: ignore[union-attr]
    mask = torch.rand(program.tensors[name].shape, generator=torch.Generator().manual_seed(1)) > 0.5
    layer.meta["note"] = {**layer.meta.get("note", {}), "pruned": "unstructured"}
    sparse = program.replaced(tensors={**program.tensors, name: program.tensors[name] * mask})
    found = run([LearnCompensation(steps=60, rate=1e-2)], sparse, Context(stream_of(samples(program, 256, 5), 32), reference=exact))
    assert bool((found.tensors[name][~mask] == 0).all())
    assert not torch.equal(found.tensors[name], sparse.tensors[name])


@pytest.mark.parametrize("options", [{"steps": 0}, {"batch": 0}, {"rate": 0.0}, {"held_out": 0.0}, {"held_out": 1.0}])
def test_options_that_learn_nothing_are_refused(options: dict[str, float]) -> None:
    program = balanced(ann("linear"))
    with pytest.raises(ConfigError):
        run([LearnCompensation(**options)], program, Context(stream_of(samples(program, 8, 5), 32)))  # type: ignore[arg-type]


def test_no_samples_are_refused() -> None:
    def one() -> Iterator[tuple[Tensor]]:
        yield (torch.zeros(1, 6),)

    with pytest.raises(DataError, match="at least two"):
        run([LearnCompensation()], balanced(ann("linear")), Context(one))


def test_few_samples_in_one_batch_are_cut_so_that_some_are_held_out() -> None:
    exact = ann("linear")
    worse = disturbed(balanced(exact, timesteps=1, levels=7))
    found = run([LearnCompensation(steps=40, rate=1e-2)], worse, Context(stream_of(samples(worse, 16, 5), 16), reference=exact))
    assert any(row["kept"] for row in found.records[-1].numbers["blocks"])
    assert lost(found, exact, 1) < lost(worse, exact, 1)
