"""One step of training, and the test that follows: pure but for the model and the optimiser they are given."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.errors import DataError, NumericError, ResourceError
from spikeloom.train.samples import MODEL, Samples, gather, generator_for


def logits_of(output: Any) -> Float[Tensor, "b classes"]:
    """The logits in what a model returns: a tensor, an object with `.logits`, or a tuple that begins with them. DataError else."""
    found = getattr(output, "logits", output[0] if isinstance(output, tuple | list) and output else output)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise DataError(
            "the model is no classifier", found=getattr(found, "shape", type(found).__name__), allowed="logits [batch, classes]"
        )
    return found


@contextmanager
def own_randomness(seed: int, step: int, device: torch.device) -> Generator[None]:
    """What the model draws inside (dropout) is a function of seed and step; torch's global generators are left as they were."""
    value = generator_for(seed, MODEL, step).initial_seed()
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(value)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(value)
        yield


@contextmanager
def memory_guard(batch_size: int) -> Generator[None]:
    """ResourceError in place of the several ways in which memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise ResourceError(
            "memory ran out in a training step", found=f"batches of {batch_size}", todo="lower the batch size, or train on another device"
        ) from error


def check_labels(y: Int64[Tensor, " b"], classes: int) -> None:
    """Nothing where the labels are ones the model can give; else DataError."""
    wrong = y[(y < 0) | (y >= classes)]
    if len(wrong):
        raise DataError("a label is outside the model's classes", found=int(wrong[0]), allowed=f"0 to {classes - 1}")


def train_step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: Float[Tensor, "b ..."],
    y: Int64[Tensor, " b"],
    lr: float,
    label_smoothing: float,
) -> tuple[float, int]:
    """
    The batch's loss and number of hits before the step; afterwards the optimiser has stepped at rate `lr`.

    NumericError where the loss is NaN or infinite (nothing has changed then); DataError for labels beyond the model's classes.
    """
    logits = logits_of(model(x))
    check_labels(y, logits.shape[1])
    loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
    value = loss.item()
    if not math.isfinite(value):
        raise NumericError(
            "training diverged: the loss is not finite",
            found=f"loss {value} at learning rate {lr:.3g}",
            todo="lower the learning rate (try a tenth), and check the weights it starts from",
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()
    return value, int((logits.argmax(1) == y).sum())


def accuracy(model: nn.Module, samples: Samples, batch_size: int, device: torch.device) -> float:
    """The part of the samples that the model, in evaluation mode, puts into their class. DataError where there are none."""
    if len(samples) == 0:
        raise DataError("the test set is empty", found="no samples")
    model.eval()
    hits = 0
    with torch.inference_mode(), memory_guard(batch_size):
        for rows in torch.arange(len(samples)).split(batch_size):
            x, y = gather(samples, rows)
            logits = logits_of(model(x.to(device)))
            check_labels(y, logits.shape[1])
            hits += int((logits.argmax(1).cpu() == y).sum())
    return hits / len(samples)
