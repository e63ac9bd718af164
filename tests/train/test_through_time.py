"""Backpropagation through time with parts that run again: the same numbers and gradients, in less memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from torch import Tensor
from torch.func import functional_call

from spikeloom.ir import Program
from spikeloom.simulate import Recorder, decoded, executable, populations, primary, repeated
from spikeloom.train import Unrolled
from spikeloom.train.through_time import parts_of

NAMES = ["linear", "residual", "gate", "attention", "normed"]


def gradients(program: Program, run: Callable[[dict[str, Tensor]], Any]) -> tuple[Tensor, dict[str, Tensor]]:
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in program.tensors.items() if tensor.is_floating_point()}
    output = primary(run(parameters))
    output.logsumexp(-1).sum().backward()
    return output.detach(), {name: value.grad for name, value in parameters.items() if value.grad is not None}


def plain(program: Program, x: Tensor, timesteps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """All steps at once, everything kept."""
    module = executable(program, timesteps, adjustable=True)
    return gradients(program, lambda given: decoded(functional_call(module, given, (repeated(x, timesteps),)), timesteps))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory", [{}, {"steps": 2}, {"parts": 3}, {"steps": 2, "parts": 3}, {"steps": 1}])
@pytest.mark.parametrize("timesteps", [1, 5])
def test_results_and_gradients_equal_plain_backpropagation(name: str, memory: dict[str, int], timesteps: int) -> None:
    program = balanced(ann(name), timesteps=timesteps)
    x = samples(program, 8, seed=1)
    expected, slopes = plain(program, x, timesteps)
    network = Unrolled(program, timesteps, **memory)
    found, made = gradients(program, lambda given: network(given, (x,))[0])
    assert torch.allclose(found, expected, atol=1e-5)
    assert made
    for key, value in made.items():
        assert torch.allclose(value, slopes[key], rtol=1e-5, atol=1e-5 * float(slopes[key].abs().max())), key
    assert slopes.keys() - made.keys() == {key for key in slopes if key.endswith((".decay", ".leak"))} - made.keys()


def test_decay_and_leak_have_gradients_where_they_are_trained() -> None:
    program = balanced(ann("residual"), timesteps=4)
    trained = {name for name in program.tensors if name.endswith((".decay", ".leak"))}
    x = samples(program, 8, seed=1)
    _, slopes = plain(program, x, 4)
    network = Unrolled(program, 4, steps=2, trained=trained)
    _, made = gradients(program, lambda given: network(given, (x,))[0])
    assert trained <= made.keys()
    assert any(bool(made[name].abs().max() > 1e-6) for name in trained)
    for name in trained:
        assert torch.allclose(made[name], slopes[name], rtol=1e-5, atol=1e-5)


def test_means_of_wanted_nodes() -> None:
    program = balanced(ann("residual"), timesteps=6)
    names = tuple(node.name for node in populations(program))
    x = samples(program, 4)
    recorder = Recorder(executable(program, 6), names)
    recorder.run(repeated(x, 6))
    _, means = Unrolled(program, 6, steps=4, wanted=names)(program.tensors, (x,))
    assert tuple(means) == names
    for name in names:
        assert torch.allclose(means[name], decoded(recorder.kept[name], 6), atol=1e-6)


def kept_bytes(run: Callable[[], Any]) -> int:
    """What autograd holds on to between the forward and the backward pass."""
    held: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        result = run()
    del result
    return sum(held.values())


def test_many_steps_in_chunks_keep_less_than_a_few_plain_ones() -> None:
    program = balanced(ann("residual"), timesteps=4)
    x = samples(program, 32)
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in program.tensors.items()}

    def kept(timesteps: int, **memory: int) -> int:
        return kept_bytes(lambda: Unrolled(program, timesteps, **memory)(tensors, (x,)))

    few = kept(4)
    assert kept(32) > 7 * few
    assert kept(32, steps=4) < 0.5 * few
    assert kept(4, parts=4) < 0.6 * few


def test_parts_cover_the_graph_once_in_order() -> None:
    from spikeloom.simulate import chunk

    graph = chunk(balanced(ann("residual")), 2).graph
    operations = [node.name for node in graph.nodes if node.op == "call_function"]
    for count in (1, 2, 5, 1000):
        parts = parts_of(graph, count)
        inside = [[node.name for node in part.run.graph.nodes if node.op == "call_function"] for part in parts]
        assert [name for names in inside for name in names] == operations
        assert 1 <= len(parts) <= min(count, len(operations))
    assert len(parts_of(graph, 5)) == 5
