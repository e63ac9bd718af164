"""What the tests of evolve share: tiny networks that are spiking and calibrated, and a context to search them in."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.simulate.networks import ann, balanced, correlated, stream_of
from torch import Tensor

from spikeloom.evolve import Bench, Evolve
from spikeloom.ir import Context, Program


@cache
def spiking(name: str = "residual", timesteps: int = 1, levels: int = 3, method: str = "scale_and_fire") -> Program:
    """A network with thresholds."""
    return balanced(ann(name), timesteps, levels=levels, method=method)


def inputs(name: str = "residual", count: int = 64, seed: int = 5) -> Tensor:
    """Samples that its thresholds were not set on."""
    return correlated(ann(name), count, seed)


def context(name: str = "residual", count: int = 64, **changed: Any) -> Context:
    """Samples and the ANN."""
    return Context(**{"calibration": stream_of(inputs(name, count)), "reference": ann(name), **changed})


def labelled(name: str = "residual", count: int = 64) -> Context:
    """The same, with the ANN's answers as labels in the batches."""
    x = inputs(name, count)
    with torch.no_grad():
        y = ann(name).module()(x).argmax(-1)
    return Context(lambda: [(x, y)], reference=ann(name))


def bench(folder: Path, program: Program, name: str = "residual", **options: Any) -> Bench:
    """A bench in a folder."""
    evolve = Evolve(**{"batch_size": 32, **options})
    return evolve.bench(folder, program, context(name), evolve.checked(context(name))[1])
