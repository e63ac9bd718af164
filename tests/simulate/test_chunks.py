"""Chunks: T steps in pieces, state carried, give what one run of T steps gives, and so do the gradients of everything that is read."""

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, calls, population
from spikeloom.simulate import Recorder, chunk, decoded, executable, primary, repeated


def in_chunks(program: Program, x: Tensor, sizes: tuple[int, ...], wanted: tuple[str, ...] = ()) -> tuple[Tensor, list[Tensor]]:
    """The outputs of all steps [T·B, …], and those of the wanted nodes."""
    states: tuple[object, ...] | None = None
    outputs, seen = list[Tensor](), list[tuple[Tensor, ...]]()
    for size in sizes:
        made = chunk(program, size, wanted=wanted, alone=len(sizes) == 1)
        given = {name: program.tensors[of] for name, of in made.constants.items()}
        given |= {name: repeated(x, size) for name in made.inputs}
        given |= dict(zip(made.states, states or [None] * len(made.states), strict=True))
        names = [node.name for node in made.graph.nodes if node.op == "placeholder"]
        output, found, states = fx.GraphModule({}, made.graph)(*(given[name] for name in names))
        outputs.append(primary(output))
        seen.append(found)
    return torch.cat(outputs), [torch.cat(parts) for parts in zip(*seen, strict=True)]


@pytest.mark.parametrize("name", ["linear", "residual", "gate", "normed", "attention", "floored", "relu6", "prelu"])
@pytest.mark.parametrize("sizes", [(1,), (5,), (1, 1, 1), (2, 3), (4, 1)])
def test_chunks_give_what_one_run_gives(name: str, sizes: tuple[int, ...]) -> None:
    program = balanced(ann(name), timesteps=sum(sizes))
    x = samples(program, 6, seed=3)
    wanted = tuple(node.name for node in calls(program.graph) if node.target is population)[:2]
    whole = Recorder(executable(program, sum(sizes)), wanted)
    expected = primary(whole.run(repeated(x, sum(sizes))))
    found, seen = in_chunks(program, x, sizes, wanted)
    assert torch.allclose(found, expected, atol=1e-5)
    for value, node in zip(seen, wanted, strict=True):
        assert torch.allclose(value, whole.kept[node], atol=1e-5)


def test_state_matters() -> None:
    program = balanced(ann("residual"), timesteps=4, levels=1)
    x = samples(program, 6, seed=3)
    found, _ = in_chunks(program, x, (2, 2))
    afresh, _ = in_chunks(program, x, (2,))
    assert torch.equal(found[:12], afresh)
    assert not torch.equal(found[12:], afresh)
    assert torch.allclose(decoded(found, 4), decoded(executable(program, 4)(repeated(x, 4)), 4), atol=1e-6)


def test_a_decay_that_is_trained_is_read() -> None:
    program = balanced(ann("linear"))
    name = next(name for name in program.tensors if name.endswith(".decay"))
    assert name not in chunk(program, 2).constants.values()
    assert name in chunk(program, 2, trained={name}).constants.values()


def test_steps_are_one_or_more() -> None:
    with pytest.raises(ConfigError, match="time steps"):
        chunk(balanced(ann("linear")), 0)
