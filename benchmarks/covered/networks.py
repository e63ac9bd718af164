"""
Small random networks whose activations stay sane, so that comparing outputs means something.

Libraries start some parts at values that hide them (a residual branch at 0, a layer scale at 1e-6): these get ordinary
values. Weights are drawn by fan-in, batch-norm statistics are those of data, and every picture has colours and patterns
of its own, so that the outputs differ between pictures.

Batch norms shift upwards, so that most of an activation's inputs lie where it has a slope: unshifted, a random network of
batch norms and ReLUs amplifies any difference 1.2 times a layer, rounding too, which no trained network does.

Sources: the weights' scale, He et al. 2015, arXiv 1502.01852; the amplification, Yang et al. 2019, arXiv 1902.08129.
"""

import math

import torch
from torch import Tensor, nn

SHIFT, SPREAD = 1.5, 0.4  # of batch norms
BRANCH_SCALES = ("gamma", "scale", "lambda", "gain", "ls1", "ls2", "temperature")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def pictures(count: int, channels: int, size: int, seed: int) -> Tensor:
    """[count, channels, size, size]: a colour, a smooth pattern and noise for each, of variance about 1."""
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randn(count, channels, 1, 1, generator=generator)
    coarse = torch.randn(count, channels, 5, 5, generator=generator)
    pattern = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return 0.5 * colour + pattern + 0.5 * torch.randn(count, channels, size, size, generator=generator)


def randomise(model: nn.Module, seed: int) -> None:
    """Every parameter has an ordinary random value; the model's own seeded ones stay where they are neither layers nor constants."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.is_floating_point():
                    parameter.copy_(_value(module, name, parameter, generator))


def _value(module: nn.Module, name: str, now: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(now.shape, generator=generator)
    if isinstance(module, LAYERS) and name == "weight":
        return noise * math.sqrt(1.6 * now.shape[0] / now.numel())
    if type(module).__name__ == "Conv1D" and name == "weight":  # of transformers: a linear layer, [in, out]
        return noise * math.sqrt(1.6 / now.shape[0])
    if isinstance(module, LAYERS) and name == "bias":
        return 0.05 * noise
    if "norm" in type(module).__name__.lower() and name == "weight":
        return 1 + 0.2 * noise.clamp(-2, 2)
    if "norm" in type(module).__name__.lower() and name == "bias":
        centred = any(word in type(module).__name__.lower() for word in ("layer", "nonorm"))
        return 0.1 * noise if centred else SHIFT + SPREAD * noise.clamp(-2, 2)
    if now.numel() > 1 and float(now.std()) > 1e-6:
        return now
    middle = float(now.mean())
    if abs(middle) > 0.01:
        return middle * (1 + 0.1 * noise.clamp(-2, 2))
    return (
        0.35 + 0.07 * noise.clamp(-2, 2)
        if any(word in f"{name} {type(module).__name__}".lower() for word in BRANCH_SCALES)
        else 0.1 * noise
    )


def settle(model: nn.Module, kwargs: dict[str, Tensor]) -> None:
    """Batch norms hold the statistics of these inputs, everything else as in use."""
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.running_mean is not None]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None
        module.train()
    with torch.no_grad():
        model(**kwargs)
    for module in norms:
        module.eval()
