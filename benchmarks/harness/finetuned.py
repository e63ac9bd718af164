"""
What local rules stand beside: the same network fine-tuned by gradients in the same stream, with the same labels and the same replay.

After each batch one step of Adam on its labelled samples, then as many on samples drawn from all labelled ones so far.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from spikeloom.ir import calls, constant_name, weighted
from spikeloom.simulate import SpikingModel
from spikeloom.train.local_rules import Adaptable, adaptable

REPLAYED = 16
"""How many kept samples a step of replay takes."""


@dataclass(frozen=True)
class Tuned:
    """A network after the stream: what it predicted on the way, and how it predicts now."""

    network: Adaptable
    tensors: dict[str, Tensor]
    predictions: Int64[Tensor, " n"]

    def predict(self, images: Float[Tensor, "b ..."]) -> Int64[Tensor, " b"]:
        """Predictions."""
        return self.network.run(self.tensors, images)[0].argmax(1)


def finetuned(
    snn: SpikingModel,
    stream: Iterable[tuple[Tensor, Tensor]],
    what: Literal["readout", "everything"],
    *,
    rate: float,
    classes: int,
    replay: int = 8,
    seed: int = 0,
) -> Tuned:
    """The network after a stream of (images, labels or -1), its readout grown to so many classes first."""
    network = adaptable(snn.program, snn.timesteps, "channel")
    tensors = dict(network.program.tensors)
    _grow(tensors, network, classes)
    names = [network.weight, network.bias] if what == "readout" else _weights(network)
    for name in names:
        tensors[name] = tensors[name].clone().requires_grad_()
    adam, random = torch.optim.Adam([tensors[name] for name in names], lr=rate), torch.Generator().manual_seed(seed)
    kept_x, kept_y, found = list[Tensor](), list[Tensor](), list[Tensor]()
    for images, labels in stream:
        found.append(network.run(tensors, images)[0].argmax(1))
        told = labels >= 0
        if not bool(told.any()):
            continue
        kept_x.append(images[told])
        kept_y.append(labels[told])
        _step(network, tensors, adam, images[told], labels[told])
        for _ in range(replay):
            rows = torch.randint(sum(map(len, kept_y)), (REPLAYED,), generator=random)
            _step(network, tensors, adam, torch.cat(kept_x)[rows], torch.cat(kept_y)[rows])
    return Tuned(network, {name: tensor.detach() for name, tensor in tensors.items()}, torch.cat(found))


def _step(network: Adaptable, tensors: dict[str, Tensor], adam: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    adam.zero_grad()
    F.cross_entropy(network.network(tensors, (images,))[0], labels).backward()
    adam.step()


def _weights(network: Adaptable) -> list[str]:
    layers = [node for node in calls(network.program.graph) if weighted(node)]
    return list(dict.fromkeys(constant_name(operand) for node in layers for operand in node.all_input_nodes[1:]))


def _grow(tensors: dict[str, Tensor], network: Adaptable, classes: int) -> None:
    weight, bias = tensors[network.weight], tensors[network.bias]
    missing = classes - len(weight)
    tensors[network.weight] = torch.cat([weight, weight.new_zeros(missing, weight.shape[1])])
    tensors[network.bias] = torch.cat([bias, bias.new_zeros(missing)])
