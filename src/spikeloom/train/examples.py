"""
Examples: what a network is fine-tuned on, from a data set or from calibration data, and the part of it that is held out.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Batches, Context, Examples, Labelled, Program
from spikeloom.simulate import filled
from spikeloom.train.augmentation import Augment, augmented
from spikeloom.train.samples import AUGMENT, ORDER, Samples, epoch_order, gather, generator_for

HELD_OUT = 0.1
"""The share of calibration data that is held out."""


def examples_of(
    samples: Samples, *, batch_size: int, held_out: int, seed: int = 0, augment: Augment = "none", limit: int | None = None
) -> Examples:
    """Labelled pictures, as `train_classifier` takes them: `held_out` samples, drawn by the seed, are never trained on; of the others
    (`limit` of them) an epoch takes whole batches in a new order, augmented. Raises DataError where too few are left to train on."""
    order = torch.randperm(len(samples), generator=generator_for(seed, ORDER, 2**32))
    held, taught = order[:held_out], order[held_out:][:limit]
    if held_out < 1 or len(taught) < 1:
        found = f"{len(samples)} samples, {held_out} of them held out"
        raise DataError("there is too little to fine-tune on", found=found, allowed="1 or more to train on, 1 or more held out")
    size = min(batch_size, len(taught))
    steps = len(taught) // size

    def epoch(number: int) -> Iterator[Labelled]:
        places = taught[epoch_order(len(taught), seed, number)]
        for step, rows in enumerate(places.split(size)[:steps]):
            x, y = gather(samples, rows)
            yield (augmented(x, augment, generator_for(seed, AUGMENT, number * steps + step)),), y

    def rest() -> Iterator[Labelled]:
        for rows in held.split(batch_size):
            x, y = gather(samples, rows)
            yield (x,), y

    return Examples(epoch, rest, steps)


def unlabelled(batches: Batches) -> Examples:
    """Examples of inputs alone, from a stream of batches: of each the last tenth is held out, one sample at least."""

    def part(side: Callable[[Tensor, int], Tensor]) -> Iterator[Labelled]:
        for inputs in batches():
            count = len(inputs[0])
            kept = count - max(1, int(HELD_OUT * count)) if count > 1 else count
            cut = tuple(side(value, kept) for value in inputs)
            if len(cut[0]):
                yield cut, None

    return Examples(lambda _: part(lambda value, kept: value[:kept]), lambda: part(lambda value, kept: value[kept:]))


def examples_for(context: Context) -> Examples:
    """The context's examples, or its calibration data without labels. Raises ConfigError where there are neither."""
    if context.examples is not None:
        return context.examples
    if context.calibration is None:
        raise ConfigError("fine-tuning needs data", found="no examples and no calibration stream", todo="give a data set")
    return unlabelled(context.calibration)


def checked(batches: Iterable[Labelled], program: Program, where: str) -> Iterator[Labelled]:
    """The batches, with what tells the structure of texts made where it is missing. Raises DataError where none comes, or one does not fit
    the program or is not finite."""
    empty = True
    for inputs, labels in batches:
        empty = False
        yield _checked(filled(program, inputs), program, where), labels
    if empty:
        raise DataError(f"{where} are empty", found="no batches", todo="give at least one sample to train on and one to hold out")


def _checked(inputs: tuple[Tensor, ...], program: Program, where: str) -> tuple[Tensor, ...]:
    if len(inputs) != len(program.inputs):
        raise DataError(f"{where} have a wrong number of inputs", found=len(inputs), allowed=len(program.inputs))
    for value, spec in zip(inputs, program.inputs, strict=True):
        if not spec.fits(tuple(value.shape)):
            allowed = ("batch", *spec.sample)
            raise DataError(f"{where} have another shape than input '{spec.name}'", found=tuple(value.shape), allowed=allowed)
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"{where} hold NaN or infinite values", found=f"input '{spec.name}'", todo="remove or mend the samples")
    return inputs


def digest(examples: Examples) -> str:
    """A digest of the first batch of the first epoch, by which a training that is resumed knows its data."""
    first = islice(examples.epoch(0), 1)
    return digest_of(value for inputs, labels in first for value in (*inputs, *(() if labels is None else (labels,))))


def digest_of(tensors: Iterable[Tensor]) -> str:
    """A digest of what these tensors hold."""
    total = hashlib.sha256()
    for value in tensors:
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
