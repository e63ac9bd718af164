"""
Bringing a network to a chip, and making one for chips nobody has seen: ResNet-20, LIF, T = 8.

    python benchmarks/device.py [--only chip|random] [--threads 1] [--images 1000] [--steps 400]

A chip is drawn as `calibrate.Device` draws it: leak forced to 0.95, thresholds of 6 bits, 20 % mismatch of threshold and time constant, 2 %
of the neurons dead. `chip`: one chip, calibrated in closed form, then fine-tuned with the chip in the loop. `random`: another chip at every
step of the training, then five chips that were not among them. A share of the loss is that between the network without mismatch and on the
chip. Needs ../shared/data (cifar10, cifar10_resnet20). Trained on JPEG training images alone, judged on the first test images.
A stopped run goes on from its checkpoints under artifacts/benchmarks/device.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from finetune import mcnemar, pictures, right, said
from harness.rows import ROOT, SHARED, Row, write
from spikeloom import datasets
from spikeloom.calibrate import Compensate, Device
from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.ir import Context, Program, load, run, save
from spikeloom.pipeline import Settings
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.chips import kind_of, made_for_any, on_chip
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.reference import towards
from spikeloom.simulate import SpikingModel
from spikeloom.train import FineTune, examples_of

WORK = ROOT / "artifacts" / "benchmarks" / "device"
COMMAND = "python benchmarks/device.py --threads 1"
STEPS, BATCH, HELD_OUT = 8, 32, 256
CHIP: dict[str, Any] = {"decay": 0.95, "threshold_bits": 6, "threshold_mismatch": 0.2, "tau_mismatch": 0.2, "dead": 0.02}
UNSEEN = (1, 2, 3, 4, 5)
NAME = "ResNet-20 LIF T=8"

IN_THE_LOOP = FineTune(timesteps=STEPS, epochs=1, labels=0.5, distil=0.5, weight_rate=0.002, neuron_rate=0.002, warmup=0.05)
RANDOM = FineTune(timesteps=STEPS, epochs=1, labels=0.5, distil=0.5, weight_rate=0.003, neuron_rate=0.003)


def networks() -> tuple[Program, Program]:
    """The ANN and the converted, compensated SNN of LIF neurons, without a chip."""
    where = WORK / "converted"
    if not where.exists():
        ann = ingest(SETTINGS, WORK / "unused", lambda *_: None)
        first, second = passes_of(SETTINGS)
        snn = run([*first, *second], ann, calibration(ann))
        save(snn.replaced(settings={**snn.settings, "timesteps": STEPS}), where, {"ann": ann})
    return load(where / "ann"), load(where)


SETTINGS = Settings(
    source="zoo:cifar-resnet20",
    weights=SHARED / "cifar10_resnet20" / "model.safetensors",
    dataset="cifar10",
    data_root=SHARED,
    output_dir=WORK,
    method="lif",
    timesteps=STEPS,
)


def calibration(ann: Program) -> Context:
    """512 training images."""
    return Context(calibration_stream(ann, "cifar10", SETTINGS, SETTINGS.calibration_samples))


def tests(ann: Program, images: int) -> Dataset:
    """The first test images as the ANN takes them."""
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in ann.settings["preprocessing"].items()}
    return datasets.load("cifar10", "test", Preprocessing(**known), SHARED, limit=images)


def judged(network: Program, test: Dataset) -> Tensor:
    """Of every test image whether the network is right."""
    return right(SpikingModel(network, timesteps=STEPS), test)


def percent(hits: Tensor) -> float:
    """A share in percent."""
    return round(100 * float(hits.float().mean()), 2)


def chip(images: int, steps: int) -> list[Row]:
    """One drawn chip: what it costs, what the closed form and fine-tuning on it bring back."""
    ann, snn = networks()
    test = tests(ann, images)
    drawn = run([Device(**CHIP)], snn, Context())
    began = time.process_time()
    closed = run([Compensate(STEPS)], drawn, towards(snn, ann, calibration(ann)))
    solved = time.process_time() - began
    examples = examples_of(pictures("train", ann), batch_size=50, held_out=HELD_OUT, augment="cifar", limit=50 * steps)
    context = Context(reference=ann, examples=examples, checkpoint=WORK / f"chip_{steps}.safetensors", progress=said)
    began = time.process_time()
    tuned = run([IN_THE_LOOP], closed, context)
    trained = time.process_time() - began
    hits = {"without chip": judged(snn, test), "on the chip": judged(drawn, test), "closed form": judged(closed, test)}
    hits |= {"fine-tuned": judged(tuned, test), "ann": right(ann.module(), test)}
    accuracy = {name: percent(each) for name, each in hits.items()}
    cost = accuracy["without chip"] - accuracy["on the chip"]
    back = {name: round(100 * (accuracy[name] - accuracy["on the chip"]) / cost, 1) for name in ("closed form", "fine-tuned")}
    beside = accuracy | {"images": images, "mcnemar_p": mcnemar(hits["fine-tuned"], hits["closed form"])}
    command, taught = f"{COMMAND} --only chip", {"training_images": 50 * steps, "cpu_s": round(trained)}
    return [
        Row(f"{NAME}: accuracy one drawn chip costs, jpeg", round(cost, 2), "points", command, beside, None, "at least 5", cost >= 5),
        Row(f"{NAME}: of it calibration in closed form recovers", back["closed form"], "%", command, {"cpu_s": round(solved)}),
        Row(
            f"{NAME}: of it fine-tuning on the chip recovers",
            back["fine-tuned"],
            "%",
            command,
            taught,
            None,
            "at least 80",
            back["fine-tuned"] >= 80,
        ),
    ]


def random(images: int, steps: int) -> list[Row]:
    """Trained with another chip at every step: what five unseen ones cost then, and before."""
    ann, snn = networks()
    test = tests(ann, images)
    device = Device(**CHIP)
    examples = examples_of(pictures("train", ann), batch_size=BATCH, held_out=HELD_OUT, augment="cifar", limit=BATCH * steps)
    context = Context(reference=ann, examples=examples, checkpoint=WORK / f"random_{steps}.safetensors", progress=said)
    began = time.process_time()
    made = made_for_any(RANDOM, snn, device, context)
    seconds = time.process_time() - began
    save(made, WORK / f"random_{steps}")
    chips = [dataclasses.replace(device, draw=draw) for draw in UNSEEN]
    before, after = ([percent(judged(on_chip(each, one), test)) for one in chips] for each in (on_chip(snn, kind_of(device)), made))
    plain, without = percent(judged(snn, test)), percent(judged(made, test))
    cost, gained = plain - fmean(before), fmean(after) - fmean(before)
    share = round(100 * gained / cost, 1)
    beside = {"without mismatch": plain, "trained, without mismatch": without, "images": images, "training_images": BATCH * steps}
    beside |= {"before": before, "after": after, "before, mean": round(fmean(before), 2), "after, mean": round(fmean(after), 2)}
    beside |= {"chips in training": steps, "cpu_s": round(seconds)}
    name = f"{NAME}: trained against random chips, recovers of what five unseen ones cost, jpeg"
    return [Row(name, share, "%", f"{COMMAND} --only random", beside, None, "at least 50", share >= 50)]


def main() -> None:
    """Run what was asked for and write benchmarks/results/device.json."""
    parts = {"chip": (chip, 60), "random": (random, 400)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(parts))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--steps", type=int, help="steps of training; 60 on one chip, 400 on random ones")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    WORK.mkdir(parents=True, exist_ok=True)
    for name, (part, steps) in parts.items():
        if options.only in (None, name):
            made = part(options.images, options.steps or steps)
            print("\n".join(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}" for row in made), flush=True)
            if options.images == 1000 and options.steps is None:
                write("device", made, part=True)


if __name__ == "__main__":
    main()
