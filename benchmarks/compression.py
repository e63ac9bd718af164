"""
Weights of few bits: accuracy of the SNN beside the ANN and the control (weights and activations rounded to the nearest, as many bits).

    python benchmarks/compression.py [--only NAME] [--threads 2] [--keep]

Needs ../shared/data (cifar10, cifar10_resnet20); calibrated on training images only, measured on the 10,000 JPEG test images at T=1.
Each run is what the command line does; a finished one is kept under artifacts/benchmarks and read again with --keep.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.pipeline import Settings, calibrate, convert, finetune, tune
from spikeloom.train import FineTune

WORK = ROOT / "artifacts" / "benchmarks"
TUNED, EVOLVED = "fine-tuned", "ECL + HSEO"
TOLD = "artifacts/converted_snn --data-root ../shared/data"
COMMANDS = {
    "": "",
    TUNED: f"; spikeloom finetune {TOLD} --epochs 1 --training-samples 20000 --batch-size 100",
    EVOLVED: f"; spikeloom calibrate {TOLD} --calibration-samples 2048; spikeloom tune {TOLD}",
}
"""What a run does after conversion: one epoch over 20,000 training images, labels and the ANN alike; or Deep Bio-Calibration, no labels."""


@dataclass(frozen=True)
class Run:
    """One conversion of ResNet-20, and the most it may lose against the ANN, in points; None: no target."""

    weights: str
    levels: int
    placement: str = "density"
    most: float | None = None
    bits: float = 4.0
    group: int | None = None
    then: str = ""

    @property
    def name(self) -> str:
        """What the run is called in the results."""
        kind = {"8": "8-bit", "4": "4-bit"}.get(self.weights, self.weights)
        kind = f"{kind} {self.bits:g}-bit" if self.weights == "hybrid" else kind
        shared = f" groups of {self.group}" if self.group else ""
        return f"ResNet-20 {kind}{shared} N={self.levels} {self.placement}{', ' * bool(self.then)}{self.then}"

    @property
    def options(self) -> str:
        """The options of the command line that ask for it."""
        bits = f" --bits {self.bits:g}" if self.weights == "hybrid" else ""
        group = f" --group {self.group}" if self.group else ""
        return f"--compress {self.weights}{bits}{group} --levels {self.levels} --placement {self.placement} --timesteps 1"


RUNS = (
    Run("8", 15, most=0.2),
    Run("8", 15, most=0.2, then=EVOLVED),
    Run("8", 15, most=0.2, then=TUNED),
    Run("8", 7, most=1.0),
    Run("8", 7, most=1.0, then=EVOLVED),
    Run("8", 7, most=1.0, then=TUNED),
    Run("4", 15, most=0.7),
    Run("4", 15, group=16),
    Run("hybrid", 15),
    Run("hybrid", 15, bits=3.0),
    Run("ternary", 15),
    Run("4", 15, placement="uniform"),
)


def run(run: Run, keep: bool) -> dict[str, Any]:
    """The metrics on the test images, with the bytes of the saved weights beside those of the ANN."""
    folder = WORK / run.name.replace(" ", "_")
    kept = folder / "found.json"
    if keep and kept.exists():
        return json.loads(kept.read_text())
    settings = Settings(
        source="zoo:cifar-resnet20",
        weights=SHARED / "cifar10_resnet20" / "model.safetensors",
        dataset="cifar10",
        data_root=SHARED,
        output_dir=folder,
        timesteps=1,
        levels=run.levels,
        placement=run.placement,
        compress=run.weights,
        bits=run.bits,
        group=run.group,
        calibration_samples=2048,
    )
    found = convert(settings).metrics
    asked = Settings(dataset="", data_root=SHARED, output_dir=folder)
    if run.then == TUNED:
        found = finetune(folder, replace(asked, batch_size=100), FineTune(epochs=1), training_samples=20_000).metrics
    elif run.then == EVOLVED:
        calibrate(folder, replace(asked, calibration_samples=2048))
        found = tune(folder, replace(asked, calibration_samples=512)).metrics
    found["bytes"] = {"snn": (folder / "model.safetensors").stat().st_size, "ann": (folder / "ann" / "model.safetensors").stat().st_size}
    shutil.rmtree(folder / "phases", ignore_errors=True)
    kept.write_text(json.dumps(found))
    return found


def row(run: Run, found: dict[str, Any]) -> Row:
    """The run's accuracy as a row."""
    where = "--dataset cifar10 --data-root ../shared/data --weights ../shared/data/cifar10_resnet20/model.safetensors"
    command = f"spikeloom convert zoo:cifar-resnet20 {where} --calibration-samples 2048 {run.options}{COMMANDS[run.then]}"
    accuracy = {key: round(100 * value, 2) for key, value in found["accuracy"].items()}
    beside = {
        "ann": accuracy["ann"],
        "control": accuracy["control"],
        "mcnemar_p": found["mcnemar"]["p"],
        "agreement": round(100 * found["agreement"], 2),
        "images": found["samples"],
        "energy_pj": found["energy_pj"],
        "bytes": found["bytes"],
    }
    target = None if run.most is None else f"at most {run.most} under the ANN"
    holds = None if run.most is None else accuracy["ann"] - accuracy["snn"] <= run.most
    return Row(f"{run.name} accuracy", accuracy["snn"], "%", command, beside, None, target, holds)


def main() -> None:
    """Run what was asked for and write benchmarks/results/compression.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="runs whose name holds this text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="read finished runs again instead of repeating them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    made: list[Row] = []
    for each in RUNS:
        if options.only and options.only not in each.name:
            continue
        made.append(row(each, run(each, options.keep)))
        sys.stdout.write(f"{made[-1].name}: {made[-1].value} {made[-1].control} holds={made[-1].holds}\n")
        sys.stdout.flush()
        write("compression", made, part=bool(options.only))


if __name__ == "__main__":
    main()
