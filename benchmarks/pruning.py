"""
Pruning: accuracy against synaptic operations, by spikes and by magnitude, and what leaving channels out does to the time a network takes.

    python benchmarks/pruning.py [--only NAME] [--threads 1] [--images 10000] [--samples 1024]

Every network is converted (N=15, levels by density, T=1) and calibrated on training images (1,024 unless --samples says otherwise). By
spikes: thresholds, `PruneSpikes`, compensation. The control, by magnitude: `PruneMagnitude` on the fused ANN, then the same thresholds and
the same compensation towards the unpruned ANN, zeros kept. Differences are tested paired (McNemar) on the same test images. Needs
../shared/data.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import SHARED, Row, write
from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import PruneChannels, PruneMagnitude, PruneSpikes, settled
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Pass, Program, run, silent
from spikeloom.pipeline import Settings
from spikeloom.pipeline.evaluation import binomial
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.tasks import task_of
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import Counter, executable, primary

COUNTED = 256


@dataclass(frozen=True)
class Network:
    """A trained network, its data, and which layers stay whole in N:M (their inputs are no multiple of M, or too few)."""

    name: str
    settings: Settings


RESNET = Network(
    "ResNet-20",
    Settings(
        source="zoo:cifar-resnet20",
        weights=SHARED / "cifar10_resnet20" / "model.safetensors",
        dataset="cifar10",
        data_root=SHARED,
        timesteps=1,
    ),
)
LENET = Network(
    "LeNet",
    Settings(
        source="zoo:lenet", weights=SHARED / "mnist_lenet_snntoolbox" / "model.safetensors", dataset="mnist", data_root=SHARED, timesteps=1
    ),
)


@dataclass(frozen=True)
class Run:
    """One way to prune, beside magnitude at the same sparsity and pattern."""

    network: Network
    spikes: PruneSpikes

    @property
    def name(self) -> str:
        """What the run is called in the results."""
        p = self.spikes
        how = p.pattern if p.pattern != "unstructured" else f"{p.sparsity:.0%} of {p.budget}"
        worth = "" if p.worth == "second_order" else f", worth by {p.worth}"
        return f"{self.network.name} N=15 T=1, {how} by spikes{worth}"


SHARES = (0.5, 0.7, 0.9)
RUNS = (
    *(Run(RESNET, PruneSpikes(share)) for share in SHARES),
    *(Run(LENET, PruneSpikes(share)) for share in SHARES),
    *(Run(network, PruneSpikes(pattern=pattern)) for network in (RESNET, LENET) for pattern in ("2:4", "4:8")),
    *(Run(RESNET, PruneSpikes(share, budget="operations")) for share in SHARES),
    *(Run(RESNET, PruneSpikes(share, worth="magnitude")) for share in SHARES),
)
CHANNELS = (PruneChannels(rate=0.001), PruneChannels(0.3, "operations"), PruneChannels(0.5, "operations"))


@cache
def data(network: Network, images: int) -> tuple[Program, Tensor, Tensor, Tensor]:
    """The ANN, calibration pictures, test pictures and their labels."""
    ann = ingest(network.settings, Path("never"), silent)
    task, settings = task_of(ann.settings), network.settings
    seen = torch.cat(
        [
            inputs[0]
            for inputs, _ in task.samples(settings.dataset, "calibration", ann, settings, settings.calibration_samples).read(64, None)
        ]
    )
    test = list(task.samples(settings.dataset, "test", ann, settings, images).read(256, None))
    return ann, seen, torch.cat([inputs[0] for inputs, _ in test]), torch.cat([labels for _, labels in test if labels is not None])


def context_of(network: Network, images: int) -> tuple[Context, Program]:
    """What passes work with, and the fused ANN."""
    ann, seen, _, _ = data(network, images)
    context = Context(lambda: ((part,) for part in seen.split(64)), settle=settled)
    fused = run([Plan(), Fuse()], ann, context)
    return Context(context.calibration, reference=fused, settle=settled), fused


def converted(network: Network, images: int, before: Iterable[Pass] = (), after: Iterable[Pass] = ()) -> Program:
    """The SNN, with what prunes the ANN before, and the SNN after it has its thresholds; compensated."""
    context, fused = context_of(network, images)
    spiking: list[Pass] = [Unfold(), Spike(levels=15, placement="density"), Balance()]
    return run([*before, *spiking, *after, Compensate()], fused, context)


def answers(program: Program | None, network: Network, images: int) -> Tensor:
    """The class of every test picture; without a program the ANN's."""
    ann, _, pictures, _ = data(network, images)
    module = ann.module() if program is None else executable(program, 1)
    with torch.inference_mode():
        return torch.cat([primary(module(part)).argmax(1) for part in pictures.split(256)])


def operations(program: Program, network: Network, images: int) -> float:
    """Synaptic operations an inference, graded events, on the first test pictures."""
    counter = Counter(program, 1)
    for part in data(network, images)[2][:COUNTED].split(64):
        counter.add((part,))
    return counter.counts().operations()


@cache
def dense(network: Network, images: int) -> dict[str, Any]:
    """ANN and SNN without pruning."""
    program, labels = converted(network, images), data(network, images)[3]
    accuracy = {name: percent(answers(each, network, images), labels) for name, each in (("ann", None), ("snn", program))}
    return {**accuracy, "snn operations": round(operations(program, network, images))}


@cache
def by_magnitude(network: Network, images: int, sparsity: float, pattern: str) -> tuple[Tensor, float]:
    """What the control answers, and its synaptic operations."""
    program = converted(network, images, before=[PruneMagnitude(sparsity, pattern)])
    return answers(program, network, images), operations(program, network, images)


def percent(said: Tensor, labels: Tensor) -> float:
    """The share of right answers, %."""
    return round(100 * float((said == labels).float().mean()), 2)


def row(each: Run, images: int, command: str) -> Row:
    """One run beside its control."""
    network, labels, began = each.network, data(each.network, images)[3], time.perf_counter()
    program = converted(network, images, after=[each.spikes])
    seconds = time.perf_counter() - began
    said, cost = answers(program, network, images), operations(program, network, images)
    other, other_cost = by_magnitude(network, images, each.spikes.sparsity, each.spikes.pattern)
    right, wrong = (said == labels) & (other != labels), (said != labels) & (other == labels)
    p = binomial(int(right.sum()), int(wrong.sum()))
    accuracy, control = percent(said, labels), percent(other, labels)
    numbers = next(record.numbers for record in program.records if record.name == "PruneSpikes")
    beside = {"magnitude": control, "magnitude operations": round(other_cost), "mcnemar_p": p, "images": len(labels)}
    beside |= {
        "operations": round(cost),
        "sparsity": round(numbers["sparsity"]["all"], 4),
        "seconds": round(seconds),
        **dense(network, images),
    }
    return Row(f"{each.name}: accuracy", accuracy, "%", command, beside, None, "above magnitude, p < 0.05", accuracy > control and p < 0.05)


def channel_row(network: Network, spikes: PruneChannels, images: int, command: str) -> Row:
    """What leaves with channels: time, measured in turns with the whole network in the same run, accuracy and operations."""
    whole = converted(network, images)
    began = time.perf_counter()
    small = run([spikes], whole, context_of(network, images)[0])
    seconds, labels = time.perf_counter() - began, data(network, images)[3]
    times = in_turns([executable(each, 1) for each in (whole, small)], data(network, images)[2][:128])
    said, before = answers(small, network, images), answers(whole, network, images)
    right, wrong = (said == labels) & (before != labels), (said != labels) & (before == labels)
    beside = {"accuracy": percent(said, labels), "whole": percent(before, labels), "images": len(labels), "seconds": round(seconds)}
    beside |= {"mcnemar_p": binomial(int(right.sum()), int(wrong.sum())), "operations": round(operations(small, network, images))}
    beside |= {"whole operations": round(operations(whole, network, images))}
    name = f"ResNet-20 N=15 T=1, channels: {spikes.sparsity:.0%} of {spikes.budget}, rate {spikes.rate:g}: time over the whole network's"
    ratio = round(times[1] / times[0], 3)
    return Row(name, ratio, "ratio", command, beside, None, "below 1" if spikes.sparsity else None, ratio < 1 if spikes.sparsity else None)


def in_turns(modules: list[Callable[[Tensor], Any]], x: Tensor, turns: int = 15) -> list[float]:
    """Median CPU seconds of this thread for each, run one after the other, again and again."""
    taken: list[list[float]] = [[] for _ in modules]
    with torch.inference_mode():
        for _ in range(turns):
            for place, module in enumerate(modules):
                began = time.thread_time()
                module(x)
                taken[place].append(time.thread_time() - began)
    return [sorted(each)[turns // 2] for each in taken]


def main() -> None:
    """Run what was asked for and write benchmarks/results/pruning.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="runs whose name holds this text; 'channels' for those")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    told = f"python benchmarks/pruning.py --images {options.images} --threads {options.threads} --samples {options.samples}"
    networks = {each: replace(each, settings=replace(each.settings, calibration_samples=options.samples)) for each in (RESNET, LENET)}
    jobs: list[tuple[str, Callable[[], Row]]] = [
        (each.name, lambda each=each: row(replace(each, network=networks[each.network]), options.images, told)) for each in RUNS
    ]
    jobs += [("channels", lambda each=each: channel_row(networks[RESNET], each, options.images, told)) for each in CHANNELS]
    made: list[Row] = []
    for name, job in jobs:
        if options.only in name:
            made.append(job())
            sys.stdout.write(f"{made[-1].name}: {made[-1].value} {made[-1].control} holds={made[-1].holds}\n")
            sys.stdout.flush()
            write("pruning", made, part=True)


if __name__ == "__main__":
    main()
