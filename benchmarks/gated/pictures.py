"""
Logic-gated networks on pictures whose bits are flipped: trained clean and under noise, beside the same networks in floating point.

Pixels are bits (brighter than half). MNIST: trained on the first 50,000 pictures, judged on the last 10,000; Fashion-MNIST on its own
split. One network answers for clean pictures and for all levels of noise. The int8 network is the noise-trained floating one with weights
of each output and values of each layer rounded to 8 bits. Memory is that of the weights: 2 bits against 32. The convolutional ternary
network is twice as wide as its floating control, which makes it a quarter of its memory; the fully connected one is as wide: a sixteenth.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.rows import ROOT, SHARED, Row
from spikeloom import datasets
from spikeloom.datasets import Preprocessing
from spikeloom.logic import TernaryConv2d, TernaryLinear, convolutional, floating_twin, fully_connected
from spikeloom.train import Noise, TrainResult, at_strength, train_classifier

WORK = ROOT / "artifacts" / "benchmarks" / "logic_gated"
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45)
COMMAND = "python benchmarks/logic_gated.py --parts"
SETTLED = 0.005
"""Training has converged at the first epoch whose training accuracy is within so much of the last one's."""


@dataclass(frozen=True)
class Kept:
    """Pictures of bits in memory, with their labels."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        return self.x[index], int(self.y[index])

    def gather(self, rows: Tensor, /) -> tuple[Tensor, Tensor]:
        """Several."""
        return self.x[rows], self.y[rows]


@dataclass(frozen=True)
class Form:
    """A ternary network's form, that of its floating control where it is another, and how long each is trained, in epochs; `noisy` where
    the ternary one needs longer under noise than clean."""

    name: str
    make: Callable[[], nn.Module]
    floating: int
    ternary: int
    batch: int
    rate: float
    floating_rate: float
    clean: float
    part: str
    control: Callable[[], nn.Module] | None = None
    noisy: int | None = None


def stages(channels: tuple[int, int], hidden: int) -> Callable[[], nn.Module]:
    """Two stages of two convolutions, and gates before the classes."""
    return lambda: convolutional((1, 28, 28), channels, hidden, 10)


FULL = Form("fully connected 784-2048-2048-10", lambda: fully_connected(784, (2048, 2048), 10), 10, 15, 256, 0.015, 1e-3, 98.3, "")
CONV = Form(
    "convolutional 64-64-128-128, fp32 32-32-64-64",
    stages((64, 128), 1024),
    *(8, 8, 128, 0.01, 2e-3, 99.2),
    "-convolutional",
    stages((32, 64), 512),
)
FASHION = replace(CONV, noisy=14)
"""With 8 epochs it stays 1.75 points under its control at 40 %."""


def loaded(name: str) -> tuple[Kept, Kept]:
    """Training and test pictures as bits."""
    prepared = Preprocessing(channels=1, size=(28, 28), mean=(0.0,), std=(1.0,))
    wanted = (("mnist[:50000]", "train"), ("mnist[50000:]", "test")) if name == "mnist" else ((name, "train"), (name, "test"))
    parts: list[Kept] = []
    for address, split in wanted:
        data = datasets.load(address, split, prepared, SHARED)  # pyright: ignore[reportArgumentType]
        x, y = data.gather(torch.arange(len(data)))
        parts.append(Kept((x > 0.5).float(), y))
    return parts[0], parts[1]


def trained(label: str, model: nn.Module, data: tuple[Kept, Kept], form: Form, **changed: Any) -> TrainResult:
    """The model after training; finished ones are read back from the checkpoint."""
    floating = "teacher" not in changed and not any(isinstance(layer, TernaryLinear) for layer in model.modules())
    options: dict[str, Any] = {
        "epochs": form.floating if floating else form.noisy or form.ternary if "noise" in changed else form.ternary,
        "batch_size": form.batch,
        "lr": form.floating_rate if floating else form.rate,
        "optimiser": "adamw",
        "schedule": "cosine",
        "weight_decay": 0.0,
        "precision": "bfloat16",
        "augment": "none" if "noise" in changed else "shift",
    }
    began = time.perf_counter()
    model.compile()  # half as long again without
    some = Kept(data[1].x[:200], data[1].y[:200])
    result = train_classifier(model, data[0], some, **{**options, **changed}, checkpoint=WORK / f"{label}.safetensors", resume=True)
    print(f"{label}: {time.perf_counter() - began:.0f} s, epochs {[round(100 * v, 1) for v in result.accuracies]}", flush=True)
    return result


def accuracies(model: nn.Module, data: Kept) -> dict[str, float]:
    """By share of flipped bits, %; each level's noise is drawn from a seed of its own, the same for all networks."""
    model.eval()
    found: dict[str, float] = {}
    for number, level in enumerate(LEVELS):
        x = at_strength(data.x, "bit_flip", level, torch.Generator().manual_seed(1000 + number))
        with torch.inference_mode():
            answers = torch.cat([model(part).argmax(1) for part in x.split(500)])
        found[f"{level:g}"] = round(100 * float((answers == data.y).float().mean()), 2)
    return found


def rounded(model: nn.Module, sample: Tensor) -> nn.Module:
    """The floating network with 8-bit weights (a scale for each output) and 8-bit values between its layers (a scale for each, the
    greatest value on these inputs)."""
    made = copy.deepcopy(model).eval()
    with torch.no_grad():
        for layer in made.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                scale = layer.weight.flatten(1).abs().amax(1).clamp_min(1e-12).view(-1, *(1,) * (layer.weight.dim() - 1)) / 127
                layer.weight.copy_((layer.weight / scale).round() * scale)
        peaks: dict[nn.Module, float] = {}
        relus = [layer for layer in made.modules() if isinstance(layer, nn.ReLU)]
        hooks = [layer.register_forward_hook(lambda m, _, out: peaks.__setitem__(m, float(out.max()))) for layer in relus]
        made(sample)
        for hook in hooks:
            hook.remove()
        for layer in relus:
            step = peaks[layer] / 255
            layer.register_forward_hook(lambda _m, _i, out, step=step: (out / step).round().clamp(0, 255) * step)
    return made


def memory(network: nn.Module) -> int:
    """Bytes of the weights at 2 bits each."""
    return sum(layer.latent.numel() for layer in network.modules() if isinstance(layer, TernaryLinear | TernaryConv2d)) // 4


def parameters(network: nn.Module) -> int:
    """Weights of a floating network."""
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def converged(result: TrainResult) -> int:
    """See SETTLED."""
    last = result.accuracies[-1]
    return next(epoch for epoch, value in enumerate(result.accuracies, 1) if value >= last - SETTLED)


def rows(name: str, form: Form) -> list[Row]:
    """All networks of one form on one data set."""
    data = loaded(name)
    short = f"{name}-{form.name.split()[0]}"
    sample = at_strength(data[0].x[:512], "bit_flip", 0.2, torch.Generator().manual_seed(7))
    noise = Noise(curriculum=False)  # strengths drawn evenly in every epoch, so that its accuracies can be compared
    torch.manual_seed(0)
    twin, network = floating_twin((form.control or form.make)()), form.make()
    clean_float = trained(f"{short}-float-clean", twin, data, form)
    noisy_float = trained(f"{short}-float-noisy", twin, data, form, noise=noise)
    clean = trained(f"{short}-ternary-clean", network, data, form, teacher=clean_float.model, distil=0.9)
    noisy = trained(f"{short}-ternary-noisy", network, data, form, teacher=noisy_float.model, distil=0.9, noise=noise)
    curves = {
        "ternary, trained under noise": accuracies(noisy.model, data[1]),
        "ternary, trained clean": accuracies(clean.model, data[1]),
        "fp32, trained under noise": accuracies(noisy_float.model, data[1]),
        "fp32, trained clean": accuracies(clean_float.model, data[1]),
        "int8, trained under noise": accuracies(rounded(noisy_float.model, sample), data[1]),
    }
    for label, curve in curves.items():
        print(f"  {label}: {curve}", flush=True)
    ours, theirs, naive = (curves[k] for k in ("ternary, trained under noise", "fp32, trained under noise", "ternary, trained clean"))
    gap = round(max(theirs[level] - ours[level] for level in ours), 2)
    above = round(min(ours[level] - naive[level] for level in ours if float(level) >= 0.1), 2)
    command, title = f"{COMMAND} {name}{form.part}", f"{name}, {form.name}"
    lengths = f"{form.ternary} epochs" + (f" clean, {form.noisy} under noise" if form.noisy else "")
    training = {
        "ternary": f"{lengths}, taught by the fp32 network of the same noise (answers weigh 0.9)",
        "fp32": f"{form.floating} epochs, labels alone",
        "pictures": "shifted in clean training, not shifted under noise",
        "int8": "rounded afterwards",
    }
    facts = curves | {
        "training": training,
        "weight_bytes": {"ternary": memory(network), "fp32": 4 * parameters(twin)},
        "images": len(data[1]),
    }
    epochs = {"noisy": converged(noisy), "clean": converged(clean), "of": [form.noisy or form.ternary, form.ternary]}
    told = (
        (f"{title}: most points under fp32 at any noise", gap, "points", facts, "at most 1.5, a quarter of its memory", gap <= 1.5),
        (
            f"{title}: least points above trained clean, 10 % on",
            above,
            "points",
            None,
            "10 or more at 10 to 30 %",
            all(ours[level] - naive[level] >= 10 for level in ("0.1", "0.2", "0.3")),
        ),
        (
            f"{title}: epochs to converge, noisy / clean",
            round(epochs["noisy"] / epochs["clean"], 2),
            "x",
            epochs,
            "at most 2",
            epochs["noisy"] <= 2 * epochs["clean"],
        ),
    )
    if name == "mnist":
        reached = {"fp32": curves["fp32, trained clean"]["0"]}
        told = ((f"{title}, trained clean: accuracy", naive["0"], "%", reached, f"at least {form.clean}", naive["0"] >= form.clean), *told)
    return [Row(what, value, unit, command, control, None, target, holds) for what, value, unit, control, target, holds in told]
