"""One step of training, and the test that follows: pure but for the model and the optimiser they are given."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from spikeloom.errors import DataError, NumericError, ResourceError
from spikeloom.train.lesson import Lesson, check_labels, logits_of
from spikeloom.train.samples import MODEL, Samples, gather, generator_for


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


def train_step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    lesson: Lesson,
    x: Float[Tensor, "b *any"],
    clean: Float[Tensor, "b *any"],
    y: Int64[Tensor, " b"],
    lr: float,
    precision: str = "float32",
) -> tuple[float, Bool[Tensor, " b"], int]:
    """
    The batch's loss, which of its answers were right, and how many classes there are; then the optimiser has stepped at rate `lr`.

    `x` is what the model sees, `clean` the same without noise; under `precision` "bfloat16" products run in it.
    NumericError where the loss is NaN or infinite (nothing has changed then); DataError for labels beyond the model's classes.
    """
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss, logits = lesson.loss(model, x, clean, y)
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
    return value, logits.argmax(1) == y, logits.shape[1]


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
