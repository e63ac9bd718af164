"""What training asks of a data set, and the order in which it takes the samples: a function of seed and epoch alone."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from spikeloom.errors import DataError

MIX = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: consecutive numbers times it are spread over all 64 bits (Knuth; splitmix64)."""


ORDER, AUGMENT, MODEL, NOISE = 0, 1, 2, 3
"""What random numbers are drawn for: the order of an epoch, the augmentation of a step, what the model draws in a step, and its noise."""


@runtime_checkable
class Samples(Protocol):
    """A map-style data set of (x, label)."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Any]:
        """The sample at a place."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """A data set that can hand over many samples at once, which is faster."""

    def gather(self, indices: Tensor, /) -> tuple[Tensor, Tensor]:
        """The samples at these places, stacked."""
        ...


def generator_for(seed: int, stream: int, number: int) -> torch.Generator:
    """The generator of one purpose (`stream`) at one epoch or step: a function of its arguments, so that nothing needs to be saved."""
    mixed = seed
    for value in (stream, number):
        mixed = ((mixed + 1) * MIX + value) % 2**64
        mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed % 2**63)


def epoch_order(count: int, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    """The order in which an epoch takes the samples."""
    return torch.randperm(count, generator=generator_for(seed, ORDER, epoch))


def gather(samples: Samples, indices: Int64[Tensor, " b"]) -> tuple[Float[Tensor, "b ..."], Int64[Tensor, " b"]]:
    """The samples at these places. DataError where they hold NaN or infinity or differ in shape."""
    if isinstance(samples, Gathers):
        x, y = samples.gather(indices)
    else:
        pairs = [samples[index] for index in indices.tolist()]
        if len({tuple(x.shape) for x, _ in pairs}) > 1:
            raise DataError("training samples differ in shape", found=sorted({tuple(x.shape) for x, _ in pairs}))
        x, y = torch.stack([x for x, _ in pairs]), torch.tensor([int(label) for _, label in pairs])
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x.flatten(1)).all(dim=1)).nonzero()[0])
        raise DataError("a sample holds NaN or infinite values", found=f"sample {int(indices[bad])}", todo="remove or mend it")
    return x.to(torch.float32), y.to(torch.int64)
