"""
CIFAR-10 ResNets from a trained ANN: accuracy of the SNN beside the ANN and the control, on 10,000 JPEG and 1,000 lossless images.

    python benchmarks/cifar.py [--only NAME] [--threads 2]

Needs ../shared/data (cifar10, cifar10_lossless_test1000, cifar10_resnet*); calibrated on training images only. Each run is
what the command line does; a finished one is kept under artifacts/benchmarks and read again with --keep.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.pipeline import Settings, convert, evaluate

WORK = ROOT / "artifacts" / "benchmarks"
LOSSLESS = f"hf:{SHARED / 'cifar10_lossless_test1000'}@test"


@dataclass(frozen=True)
class Run:
    """One conversion, and the most the SNN may lose against the ANN (points) on each set; None: no target there."""

    depth: int
    levels: int
    timesteps: int = 1
    method: str = "scale_and_fire"
    placement: str = "density"
    samples: int = 1024
    jpeg_loss: float | None = None
    jpeg_agreement: float | None = None
    lossless_loss: float | None = None
    lossless_at_least: float | None = None

    @property
    def name(self) -> str:
        """What the run is called in the results."""
        how = f"N={self.levels} {self.placement}" if self.method == "scale_and_fire" else self.method.upper()
        return f"ResNet-{self.depth} {how} T={self.timesteps}"

    @property
    def jpeg_samples(self) -> int | None:
        """How many JPEG images are measured, None being all: at many steps each costs T passes, and the lossless ones are asked for."""
        return None if self.timesteps <= 4 else 256


IF = {"levels": 1, "method": "if", "placement": "uniform", "samples": 256}
RUNS = (
    Run(20, 15, jpeg_loss=0.8, lossless_loss=0.5),
    Run(20, 31, jpeg_loss=0.3, jpeg_agreement=96.5, lossless_loss=0.2),
    Run(20, 7, jpeg_loss=3.0),
    Run(20, 15, placement="uniform", jpeg_loss=0.8),
    Run(20, 15, timesteps=4, placement="uniform", jpeg_loss=0.8),
    Run(20, timesteps=32, lossless_at_least=88.5, **IF),
    Run(20, timesteps=64, lossless_at_least=89.8, **IF),
    *(Run(depth, levels, jpeg_loss=loss) for depth in (32, 44) for levels, loss in ((15, None), (31, None), (7, None))),
    *(Run(depth, 15, timesteps=steps, placement="uniform") for depth in (32, 44) for steps in (1, 4)),
    *(Run(depth, timesteps=steps, **IF) for depth in (32, 44) for steps in (32, 64)),
)
PEER = {32: 73.8, 64: 87.0, 128: 89.8}
"""SpikingJelly 2.0.0.dev1, RateCoding 99.9 %, same network and lossless images (ANCHORS.md A)."""


def run(run: Run, keep: bool) -> dict[str, dict[str, Any]]:
    """The metrics on both sets."""
    folder = WORK / run.name.replace(" ", "_")
    kept = folder / "both.json"
    if keep and kept.exists():
        return json.loads(kept.read_text())
    settings = Settings(
        source=f"zoo:cifar-resnet{run.depth}",
        weights=SHARED / f"cifar10_resnet{run.depth}" / "model.safetensors",
        dataset="cifar10",
        data_root=SHARED,
        output_dir=folder,
        method=run.method,
        timesteps=run.timesteps,
        levels=run.levels,
        placement=run.placement,
        calibration_samples=run.samples,
        samples=run.jpeg_samples,
    )
    found = {"jpeg": convert(settings).metrics, "lossless": evaluate(folder, LOSSLESS)}
    shutil.rmtree(folder / "phases", ignore_errors=True)
    kept.write_text(json.dumps(found))
    return found


def command_of(run: Run, place: str) -> str:
    """What gives a run's numbers on the "jpeg" or the "lossless" images."""
    option = f"--timesteps {run.timesteps} --levels {run.levels} --method {run.method} --placement {run.placement}"
    option += f" --calibration-samples {run.samples} --no-bio-calibration"
    where = "--dataset cifar10 --data-root ../shared/data --weights ../shared/data"
    command = f"spikeloom convert zoo:cifar-resnet{run.depth} {where}/cifar10_resnet{run.depth}/model.safetensors {option}"
    if place == "jpeg":
        return command
    few = "" if run.jpeg_samples is None else f" --samples {run.jpeg_samples}"
    return f"{command}{few} && spikeloom evaluate artifacts/converted_snn --dataset hf:../shared/data/cifar10_lossless_test1000@test"


def rows(run: Run, found: dict[str, dict[str, Any]]) -> list[Row]:
    """The run's numbers as rows."""
    made: list[Row] = []
    for place, metrics in found.items():
        command = command_of(run, place)
        accuracy = {key: None if value is None else round(100 * value, 2) for key, value in metrics["accuracy"].items()}
        if place == "jpeg" and run.timesteps > 4:
            continue
        loss = accuracy["ann"] - accuracy["snn"]
        most = run.jpeg_loss if place == "jpeg" else run.lossless_loss
        least = run.lossless_at_least if place == "lossless" else None
        p = metrics["mcnemar"]["p"] if metrics["mcnemar"] else None
        # two images of a thousand are within counting noise on the lossless set (0.2 points)
        slack = 0.2 if place == "lossless" else 0.0
        holds = (
            None
            if most is None and least is None
            else bool((most is None or loss <= most + slack) and (least is None or accuracy["snn"] >= least))
        )
        target = f"at most {most} under the ANN" if most is not None else f"at least {least}" if least is not None else None
        beside = {"ann": accuracy["ann"], "control": accuracy["control"], "mcnemar_p": p, "images": metrics["samples"]}
        peer = (
            {"SpikingJelly 2.0.0.dev1": PEER[run.timesteps]} if run.depth == 20 and place == "lossless" and run.timesteps in PEER else None
        )
        made.append(Row(f"{run.name} accuracy, {place}", accuracy["snn"], "%", command, beside, peer, target, holds))
        agreement = round(100 * metrics["agreement"], 2)
        asked = run.jpeg_agreement if place == "jpeg" else None
        told = f"at least {asked}" if asked else None
        made.append(
            Row(
                f"{run.name} agreement, {place}",
                agreement,
                "%",
                command,
                {"images": metrics["samples"]},
                None,
                told,
                agreement >= asked if asked else None,
            )
        )
    return made


def main() -> None:
    """Run what was asked for and write benchmarks/results/cifar.json."""
    parser = argparse.ArgumentParser(description=__doc__)
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
        made += rows(each, run(each, options.keep))
        sys.stdout.write("\n".join(f"{row.name}: {row.value} {row.control} holds={row.holds}" for row in made[-2:]) + "\n")
        sys.stdout.flush()
        write("cifar", made, part=bool(options.only))


if __name__ == "__main__":
    main()
