"""What the tests of simulate and calibrate share: tiny networks, one per kind of node, captured once and made spiking."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from tests.ir.networks import Wired, conv
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance
from spikeloom.capture import capture
from spikeloom.convert import Spike
from spikeloom.ir import Context, Program, calls, constant_name, note, population, run
from spikeloom.plan import Fuse
from spikeloom.simulate import populations


def residual(x: Tensor, first: nn.Module, second: nn.Module, third: nn.Module, head: nn.Module) -> Tensor:
    """A residual block, an overlapping max-pool, a concatenation of both branches."""
    a = F.relu(first(x))
    b = F.relu(second(a) + a)
    pooled = F.max_pool2d(b, 3, 2, 1)
    return head(torch.cat([pooled, F.relu(third(pooled))], 1).flatten(1))


def gate(x: Tensor, first: nn.Module, left: nn.Module, right: nn.Module, head: nn.Module) -> Tensor:
    """A product of two function staircases that both read spikes."""
    a = F.relu(first(x))
    return head(F.gelu(left(a)) * torch.sigmoid(right(a)))


def normed(x: Tensor, first: nn.Module, second: nn.Module, norm: nn.Module, head: nn.Module) -> Tensor:
    """A layer norm with weights, which stays floating, between two activations."""
    return head(F.relu(norm(second(F.relu(first(x))))))


def attention(x: Tensor, query: nn.Module, key: nn.Module, head: nn.Module) -> Tensor:
    """Softmax (floating) between two products of spikes."""
    k = key(x)
    return head(torch.softmax(query(x) @ k.transpose(1, 2), -1) @ k).mean(1)


def floored(x: Tensor, first: nn.Module, head: nn.Module) -> Tensor:
    """A maximum of spikes and a constant."""
    return head(torch.maximum(F.relu(first(x)), torch.full((1, 4), 0.3)))


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), (6,)),
    "residual": (lambda: Wired(residual, conv(2, 4), conv(4, 4), conv(4, 3), nn.Linear(7 * 9, 3)), (2, 6, 6)),
    "gate": (lambda: Wired(gate, nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 3)), (6,)),
    "normed": (lambda: Wired(normed, nn.Linear(6, 5), nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)), (6,)),
    "attention": (lambda: Wired(attention, nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)), (5, 6)),
    "floored": (lambda: Wired(floored, nn.Linear(6, 4), nn.Linear(4, 3)), (6,)),
    "relu6": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(16, 3)),
        (2, 6, 6),
    ),
    "prelu": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 3)), (2, 6, 6)),
}


@cache
def ann(name: str) -> Program:
    """The captured program of one of NETWORKS, with weights of its own that never change."""
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(name))
        model = make().eval()
        for layer in model.modules():
            if isinstance(layer, nn.LayerNorm | nn.PReLU):
                nn.init.uniform_(layer.weight, 0.1, 1.5)
        return capture(model, (torch.randn(2, *shape),))


def samples(program: Program, count: int, seed: int = 0) -> Tensor:
    """Normal inputs [count, …] for a program."""
    return torch.randn(count, *program.inputs[0].shape[1:], generator=torch.Generator().manual_seed(seed))


def correlated(program: Program, count: int, seed: int = 0) -> Tensor:
    """Inputs [count, …] that mostly lie in four directions, as those of pictures do in a few: an error in them can be corrected."""
    shape = program.inputs[0].shape[1:]
    basis = torch.randn(4, math.prod(shape), generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    mixed, noise = (torch.randn(count, n, generator=generator) for n in (4, math.prod(shape)))
    return (0.4 * mixed @ basis + 0.3 * noise + 0.3).view(count, *shape)


def stream_of(x: Tensor, size: int = 64) -> Callable[[], Iterator[tuple[Tensor, ...]]]:
    """A calibration stream of batches of `size`."""
    return lambda: ((part,) for part in x.split(size))


def unbalanced(program: Program, **options: Any) -> Program:
    """The spiking program of an ANN, without thresholds."""
    return run([Fuse(), Spike(**{"levels": 7, **options})], program, Context())


def balanced(program: Program, timesteps: int = 1, **options: Any) -> Program:
    """The spiking program of an ANN, thresholds from 64 normal samples."""
    return run([Balance(timesteps=timesteps)], unbalanced(program, **options), Context(stream_of(samples(program, 64))))


def with_tensors(program: Program, **changed: Tensor) -> Program:
    """The program with some tensors replaced; dots in their names are written as two underscores."""
    tensors = {name.replace("__", "."): tensor for name, tensor in changed.items()}
    assert set(tensors) <= set(program.tensors)
    return program.replaced(tensors={**program.tensors, **tensors})


def damaged(program: Program, name: str, factor: float = 8.0) -> Program:
    """The program with one identity population's step (and initial potential) made `factor` times as large."""
    node = next(node for node in calls(program.graph) if node.name == name and node.target is population)
    step, v0 = (constant_name(operand) for operand in node.args[1:3])
    return program.replaced(tensors={**program.tensors, step: program.tensors[step] * factor, v0: program.tensors[v0] * factor})


def perfect(program: Program) -> Program:
    """The fused program with every population so fine that rounding is all that is left of its error."""
    made = balanced(program, levels=65535)
    assert all("op" in note(node) for node in populations(made))
    return made
