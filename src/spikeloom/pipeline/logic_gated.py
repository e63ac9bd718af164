"""
The method `logic_gated`: an ANN's layers become ternary ones that count, its activations gates, and they are taught by the ANN.

    whole            the input becomes bits, everything after it counts and compares
    from a layer     what comes before it is converted by Scale-and-Fire neurons first, and the layer's input becomes bits

The network learns on training samples, from the ANN's answers and from labels; a tenth of them is held out and says how well. With noise
the network sees disturbed pictures, and the ANN answers what the clean ones are: asked about the disturbed ones, which it does not know, it
teaches its own mistakes (digits CNN, 20 % of the bits turned over, two seeds: 57 and 58 % right; so asked 38 and 21 %).
"""

import dataclasses
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, Progress, Record, run, verify
from spikeloom.logic import freeze, turned
from spikeloom.pipeline.gated_noise import Inputs, inputs_of, noise_of, pictures_of
from spikeloom.pipeline.grafting import cut_before, grafted
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.pictures import load_data
from spikeloom.pipeline.settings import Settings
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import executable
from spikeloom.train import Samples, TrainProgress, TrainResult, train_classifier

PAPERS = (
    "Li & Liu 2016, arXiv:1605.04711 (ternary weights)",
    "Courbariaux et al. 2016, arXiv:1602.02830 (thresholds in place of batch norm)",
    "Hinton et al. 2015, arXiv:1503.02531 (distillation)",
)
HELD_OUT, RATE, DISTIL, LOOKED_AT, TAILS = 10, 0.01, 0.9, 512, 0.01
"""One sample in so many is held out; the learning rate; what the ANN's answer weighs beside the label; how many samples say over what range
values lie, and what share of the values is beyond it at either end."""


@final
@dataclasses.dataclass(frozen=True)
class Rows:
    """Some of a data set's samples, as a front gives them on where there is one."""

    data: Samples
    rows: Tensor
    front: torch.nn.Module | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> tuple[Tensor, Any]:
        x, y = self.gather(torch.tensor([index]))
        return x[0], int(y[0])

    def gather(self, indices: Tensor, /) -> tuple[Tensor, Tensor]:
        """The samples at these places, and their labels."""
        x, y = self.data.gather(self.rows[indices])  # pyright: ignore[reportAttributeAccessIssue]
        with torch.no_grad():
            return (x if self.front is None else self.front(x)), y


def check_gated(settings: Settings) -> None:
    """Raises ConfigError for what does not go with the method logic_gated."""
    if settings.method != "logic_gated":
        return
    checks: tuple[tuple[str, bool, object, str], ...] = (
        ("conversion.target_timesteps", settings.timesteps == 1, settings.timesteps, "1: a gate has no memory"),
        ("compression.weights", settings.compress == "none", settings.compress, "none: weights are ternary already"),
        ("compression.sparsity", settings.sparsity == 0, settings.sparsity, "0: teaching decides which weights are 0"),
        ("conversion.enable_bio_calibration", not settings.bio_calibration, True, "false: there are whole thresholds alone"),
    )
    for key, holds, found, allowed in checks:
        if not holds:
            raise ConfigError(f"{key} does not go with the method logic_gated", found=found, allowed=allowed)


def logic_gated(settings: Settings, ann: Program, context: Context, checkpoint: Path) -> Program:
    """The captured ANN as a spiking program that counts and compares, whole or from `settings.from_layer` on; resumes from the checkpoint.

    Raises UnsupportedError for operations without such a form, ConfigError for a layer that does not divide the network.
    """
    fused = run([Plan(), Fuse()], ann, context)
    if settings.from_layer is None:
        return _recorded(settings, *_learnt(settings, fused, None, context, checkpoint))
    cut = cut_before(fused, settings.from_layer)
    front = _spiking(settings, cut.before.replaced(records=ann.records, plan=ann.plan), context)
    tail, result = _learnt(settings, cut.after, executable(front, 1), context, checkpoint)
    whole = grafted(front, tail).replaced(settings={**front.settings, **tail.settings})
    verify(whole)
    return _recorded(settings, whole, result)


def _spiking(settings: Settings, before: Program, context: Context) -> Program:
    chosen = dataclasses.replace(settings, method="scale_and_fire", compress="none", sparsity=0.0)
    first, second = passes_of(chosen)
    return run([*first, *second], before, context)


def _learnt(
    settings: Settings, ann: Program, front: torch.nn.Module | None, context: Context, checkpoint: Path
) -> tuple[Program, TrainResult]:
    """The logic-gated program of an ANN whose inputs are what `front` makes of samples, and how it was learnt."""
    data = load_data(settings.dataset, "train", ann.settings, settings, None)
    rows, held = torch.arange(len(data)), torch.arange(len(data)) % HELD_OUT == HELD_OUT - 1
    learn, judge = Rows(data, rows[~held], front), Rows(data, rows[held], front)
    looked, _ = learn.gather(torch.arange(min(LOOKED_AT, len(learn))))
    noise, shown = noise_of(settings), None
    if noise is not None:
        learn, shown = Rows(pictures_of(data), rows[~held]), _through(inputs_of(data), front)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        network = turned(ann, thresholds(looked, settings.input_bits), settings.gates)
    result = train_classifier(
        network,
        learn,
        judge,
        epochs=settings.gate_epochs,
        lr=RATE,
        seed=settings.seed,
        device=settings.device,
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        progress=_shown(context.progress),
        optimiser="adamw",
        schedule="cosine",
        weight_decay=0.0,
        teacher=ann.module().to(settings.device),
        distil=DISTIL,
        noise=noise,
        consistency=settings.consistency if noise is not None else 0.0,
        teaches_clean=noise is not None,
        shown=shown,
    )
    return freeze(result.model.to("cpu"), looked[:2], ann.settings), result


def _through(inputs: Inputs, front: torch.nn.Module | None) -> Inputs:
    """What the gates take of a picture."""

    def shown(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return inputs(pictures) if front is None else front(inputs(pictures))

    return shown


def thresholds(values: Tensor, count: int) -> tuple[float, ...]:
    """So many thresholds, evenly over where nearly all of the values lie."""
    flat = values.flatten()[: 2**24].float()
    low, high = (float(torch.quantile(flat[:: max(1, len(flat) // 2**20)], share)) for share in (TAILS, 1 - TAILS))
    if not high > low:
        low, high = float(flat.min()), float(flat.max())
    return tuple(low + (high - low) * (place + 1) / (count + 1) for place in range(count))


def _recorded(settings: Settings, program: Program, result: TrainResult) -> Program:
    options = {"bits": settings.input_bits, "gates": settings.gates, "from": settings.from_layer, "epochs": settings.gate_epochs}
    if settings.noise:
        options |= {"noise": ", ".join(settings.noise_kinds), "noise_range": list(settings.noise_range)}
        options |= {"curriculum": settings.curriculum, "consistency": settings.consistency}
    numbers = {"held_out": result.test_accuracy, "held_out_samples": result.test_images, "losses": list(result.losses)}
    return program.recorded(Record("LogicGate", options, numbers, PAPERS, result.seconds))


def _shown(progress: Progress) -> Any:
    def show(now: TrainProgress) -> None:
        opened = "" if now.noise is None else f", noise up to {now.noise:.0%}"
        progress(f"teaching gates: epoch {now.epoch}/{now.epochs}{opened}, accuracy {now.accuracy:.1%}", now.step, now.steps)

    return show
