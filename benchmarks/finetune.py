"""
Fine-tuning: accuracy with ternary weights in all layers, and what backpropagation through time costs in memory and time.

    python benchmarks/finetune.py [--only ternary|memory|time|gradients] [--threads 2]

Needs ../shared/data (cifar10, cifar10_resnet20). The network is trained on training images alone (30,000 JPEG ones, 2,000 others held out)
and judged once, on the 10,000 test images. A stopped run goes on from its checkpoint under artifacts/benchmarks/finetune. Memory is the
high-water mark of the resident set over one step (forward, backward, Adam), above what was there before it, in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.clock import fastest
from harness.rows import ROOT, SHARED, Row, write
from spikeloom import datasets
from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.ir import Context, Program, load, run, save
from spikeloom.pipeline import Settings
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.passes import passes_of
from spikeloom.simulate import executable, primary
from spikeloom.train import FineTune, Unrolled, examples_of

WORK = ROOT / "artifacts" / "benchmarks" / "finetune"
COMMAND = "python benchmarks/finetune.py"
BATCH, HELD_OUT, TAUGHT, MEMORY_BATCH = 100, 2000, 30_000, 16

TERNARY = FineTune(
    epochs=1, labels=0.5, distil=0.5, temperature=2.0, grid="ternary", weight_rate=0.01, neuron_rate=0.004, warmup=0.02, compiled=True
)
"""The recipe: cross entropy and distillation alike, weights faster than what the scales and thresholds do."""


def networks(levels: int = 15) -> tuple[Program, Program]:
    """The ANN and the converted, compensated SNN at T = 1."""
    where = WORK / f"converted_{levels}"
    if not where.exists():
        settings = Settings(
            source="zoo:cifar-resnet20",
            weights=SHARED / "cifar10_resnet20" / "model.safetensors",
            dataset="cifar10",
            data_root=SHARED,
            output_dir=WORK,
            timesteps=1,
            levels=levels,
        )
        ann = ingest(settings, WORK / "unused", lambda *_: None)
        context = Context(calibration_stream(ann, "cifar10", settings, settings.calibration_samples))
        first, second = passes_of(settings)
        save(run([*first, *second], ann, context), where, {"ann": ann})
    return load(where / "ann"), load(where)


def pictures(split: str, ann: Program) -> Dataset:
    """A split as the ANN takes it."""
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in ann.settings["preprocessing"].items()}
    return datasets.load("cifar10", split, Preprocessing(**known), SHARED)


def right(network: Callable[[Tensor], Any], data: Dataset) -> Tensor:
    """Of every sample whether the network is right."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for x, y in datasets.batches(data, 250):
            found.append(primary(network(x)).argmax(1) == y)
    return torch.cat(found)


def said(what: str, done: int, total: int) -> None:
    """Progress, a line every hundred steps."""
    if done % 100 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total} cpu {time.process_time():.0f} s", flush=True)


def ternary() -> list[Row]:
    """ResNet-20, N = 15, T = 1, ternary weights in all layers, fine-tuned."""
    ann, snn = networks()
    examples = examples_of(pictures("train", ann), batch_size=BATCH, held_out=HELD_OUT, seed=0, augment="cifar", limit=TAUGHT)
    context = Context(reference=ann, examples=examples, checkpoint=WORK / "ternary.safetensors", progress=said)
    began = time.process_time()
    tuned = run([TERNARY], snn, context)
    seconds = time.process_time() - began
    save(tuned, WORK / "ternary")
    numbers = tuned.records[-1].numbers
    (WORK / "history.json").write_text(json.dumps(dict(numbers), indent=1))
    test = pictures("test", ann)
    hits = {"ann": right(ann.module(), test), "converted": right(executable(snn, 1), test), "ternary": right(executable(tuned, 1), test)}
    accuracy = {name: round(100 * float(each.float().mean()), 2) for name, each in hits.items()}
    lost = accuracy["ann"] - accuracy["ternary"]
    beside = accuracy | {"images": len(test), "mcnemar_p": mcnemar(hits["ternary"], hits["ann"]), "held_out_start": numbers["start"]}
    beside |= {"epochs": len(numbers["history"]), "training_images": TAUGHT}
    name = "ResNet-20 N=15 T=1, ternary weights in all layers, fine-tuned: accuracy, jpeg"
    return [
        Row(name, accuracy["ternary"], "%", f"{COMMAND} --only ternary", beside, None, "at most 3.0 under the ANN", lost <= 3.0),
        Row("fine-tuning to ternary: CPU time", round(seconds), "s", f"{COMMAND} --only ternary", {"cpu": "time of one core, this run"}),
    ]


def one_step(program: Program, timesteps: int, batch: int, **memory: Any) -> Callable[[], dict[str, Tensor]]:
    """A step's forward and backward pass: gives the gradients of all weights."""
    network = Unrolled(program, timesteps, **memory)
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in program.tensors.items()}
    x = program.example(batch, seed=1)

    def step() -> dict[str, Tensor]:
        for parameter in parameters.values():
            parameter.grad = None
        primary(network(parameters, x)[0]).logsumexp(1).mean().backward()
        return {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}

    return step


def probe(timesteps: int, batch: int, chunk_steps: int | None, parts: int) -> int:
    """Bytes that one step takes at most, above what was resident before it. To be asked for in a fresh process."""
    step = one_step(networks()[1], timesteps, batch, steps=chunk_steps, parts=parts)
    one_step(networks()[1], 1, 1)()  # what libraries take once
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step()
    return status("VmHWM") - before


def status(key: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def memory() -> list[Row]:
    """Peak memory of a step at T = 32 with checkpoints, beside T = 4 without."""
    cases = {"T=4 plain": (4, None, 1), "T=32 plain": (32, None, 1), "T=32 chunks of 2": (32, 2, 1), "T=32 chunks of 4": (32, 4, 1)}
    cases |= {"T=32 chunks of 4, 4 parts": (32, 4, 4)}
    found = {name: asked_for(*case) for name, case in cases.items()}
    at_once = {name: asked_for(*cases[name], at_once=True) for name in ("T=4 plain", "T=32 chunks of 4")}
    ratio = round(found["T=32 chunks of 4"] / found["T=4 plain"], 3)
    name = "peak memory of a step at T=32 in chunks of 4 steps, over T=4 plain (ResNet-20 N=15)"
    beside = {"MiB": found, "MiB, where freed blocks go back at once": at_once, "batch": MEMORY_BATCH}
    beside |= {"how": "VmHWM - VmRSS over forward and backward, a process each; the second with MALLOC_MMAP_THRESHOLD_=65536"}
    return [Row(name, ratio, "x", f"{COMMAND} --only memory", beside, None, "at most 2.5", ratio <= 2.5)]


def asked_for(timesteps: int, steps: int | None, parts: int, *, at_once: bool = False) -> float:
    """MiB of `probe` in a process of its own; `at_once`, freed blocks do not stay with the process."""
    asked = [sys.executable, __file__, "--probe", json.dumps([timesteps, MEMORY_BATCH, steps, parts]), "--threads", "1"]
    given = os.environ | ({"MALLOC_MMAP_THRESHOLD_": "65536"} if at_once else {})
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=given)
    return round(int(done.stdout) / 2**20, 1)


def times() -> list[Row]:
    """Time of a step at T = 32 with checkpoints, over plain backpropagation through time, taking turns."""
    program = networks()[1]
    kinds: dict[str, dict[str, Any]] = {"plain": {}, "chunks of 4": {"steps": 4}, "4 parts": {"parts": 4}}
    kinds |= {"chunks of 4, 4 parts": {"steps": 4, "parts": 4}}
    seconds = fastest({name: one_step(program, 32, 4, **told) for name, told in kinds.items()}, 60.0)
    ratio = round(seconds["chunks of 4"] / seconds["plain"], 3)
    beside = {"seconds": {name: round(value, 3) for name, value in seconds.items()}, "batch": 4, "over": "the fastest of each"}
    return [Row("time of a step at T=32 in chunks of 4 steps, over plain (ResNet-20 N=15)", ratio, "x", f"{COMMAND} --only time", beside)]


def gradients() -> list[Row]:
    """The largest difference of gradients with and without checkpoints, relative to each tensor's largest gradient."""
    program = networks()[1]
    plain = one_step(program, 8, 4)()
    told: dict[str, float] = {}
    for name, memory in {"chunks of 2": {"steps": 2}, "4 parts": {"parts": 4}, "chunks of 3, 3 parts": {"steps": 3, "parts": 3}}.items():
        made = one_step(program, 8, 4, **memory)()
        told[name] = max(float((made[key] - each).abs().max() / each.abs().max().clamp_min(1e-12)) for key, each in plain.items())
    worst = max(told.values())
    name = "gradients with checkpoints against without, T=8: largest relative difference (ResNet-20 N=15)"
    return [Row(name, worst, "", f"{COMMAND} --only gradients", told, None, "at most 1e-5", worst <= 1e-5)]


def mcnemar(first: Tensor, second: Tensor) -> float:
    """The exact two-sided p that both are right equally often."""
    from scipy.stats import binomtest

    only, other = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(only, only + other, 0.5).pvalue) if only + other else 1.0


def main() -> None:
    """Run what was asked for and write benchmarks/results/finetune.json."""
    parts = {"gradients": gradients, "memory": memory, "time": times, "ternary": ternary}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(parts))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    WORK.mkdir(parents=True, exist_ok=True)
    if options.probe:
        print(probe(*json.loads(options.probe)))
        return
    for name, part in parts.items():
        if options.only in (None, name):
            made = part()
            print("\n".join(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}" for row in made), flush=True)
            write("finetune", made, part=True)


if __name__ == "__main__":
    main()
