"""
Calibration data: what a context streams, each batch checked before anything is made of it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir.passes import Batches, Context
from spikeloom.ir.program import Program


def batches_of(context: Context) -> Batches:
    """The context's calibration stream; ConfigError where there is none."""
    if context.calibration is None:
        raise ConfigError("calibration needs data", found="no calibration stream", todo="give a data set")
    return context.calibration


def checked(batches: Iterable[Any], program: Program) -> Iterator[tuple[Tensor, ...]]:
    """The batches as tuples of tensors, each checked: shape and finite numbers; an empty stream is a DataError."""
    seen = False
    for batch in batches:
        inputs: tuple[Tensor, ...] = batch if isinstance(batch, tuple) else (batch,)
        if len(inputs) != len(program.inputs):
            allowed = ", ".join(spec.name for spec in program.inputs)
            raise DataError("calibration data has another number of inputs than the model", found=len(inputs), allowed=allowed)
        for value, spec in zip(inputs, program.inputs, strict=True):
            if not spec.fits((spec.shape[0], *value.shape[1:])):
                raise DataError(
                    "calibration data has another shape than the model takes", found=tuple(value.shape[1:]), allowed=spec.sample
                )
            if not bool(torch.isfinite(value).all()):
                raise DataError("calibration data holds NaN or infinite numbers", found=spec.name, todo="clean the data")
        seen = True
        yield inputs
    if not seen:
        raise DataError("there is no calibration data", found="an empty stream", todo="give at least one batch")
