"""
Vision transformers wholly in spikes at T=1: accuracy beside the ANN and the control, and whether anything stays floating.

    python benchmarks/vision.py [--keep] [--threads 2]

Needs ../shared/data (vit_fashion_mnist, fashion_mnist). Calibrated on training pictures only, tested on all 10,000 test pictures. The
conversion is what the command line does; a finished one is kept under artifacts/benchmarks and read again with --keep.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.pipeline import Settings, convert

WORK = ROOT / "artifacts" / "benchmarks"
AT_MOST = {15: None, 31: 0.3, 63: None}
"""Levels, and the most that accuracy may be below the ANN's, points."""


def judged(levels: int, keep: bool) -> dict[str, Any]:
    """The metrics of one conversion on all test pictures."""
    place = WORK / f"vit_N={levels}"
    kept = place / "all.json"
    if keep and kept.exists():
        return json.loads(kept.read_text())
    settings = Settings(
        source=f"hf:{SHARED / 'vit_fashion_mnist'}",
        dataset="fashion_mnist",
        data_root=SHARED,
        output_dir=place,
        timesteps=1,
        levels=levels,
        placement="density",
        calibration_samples=512,
    )
    metrics = convert(settings).metrics
    shutil.rmtree(place / "phases", ignore_errors=True)
    kept.write_text(json.dumps(metrics))
    return metrics


def rows(levels: int, metrics: dict[str, Any]) -> list[Row]:
    """Accuracy and agreement."""
    where = "hf:../shared/data/vit_fashion_mnist --dataset fashion_mnist --data-root ../shared/data"
    command = f"spikeloom convert {where} --timesteps 1 --levels {levels} --placement density --calibration-samples 512"
    accuracy = {key: round(100 * value, 2) for key, value in metrics["accuracy"].items()}
    beside = {key: accuracy[key] for key in ("ann", "control")} | {"mcnemar_p": metrics["mcnemar"]["p"], "images": metrics["samples"]}
    beside["floating_operations"] = metrics["floating_operations"]
    most = AT_MOST[levels]
    told = None if most is None else f"at most {most} under the ANN, nothing floating"
    holds = None if most is None else accuracy["ann"] - accuracy["snn"] <= most + 1e-9 and not metrics["floating_operations"]
    name = f"ViT on Fashion-MNIST N={levels} T=1"
    agreement = Row(f"{name} agreement", round(100 * metrics["agreement"], 2), "%", command, {"images": metrics["samples"]})
    return [Row(f"{name} accuracy", accuracy["snn"], "%", command, beside, None, told, holds), agreement]


def main() -> None:
    """Run all and write benchmarks/results/vision.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--levels", type=int, nargs="+", default=list(AT_MOST), choices=list(AT_MOST))
    parser.add_argument("--keep", action="store_true", help="read finished conversions again instead of repeating them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    for levels in options.levels:
        made = rows(levels, judged(levels, options.keep))
        sys.stdout.write("\n".join(f"{row.name}: {row.value} {row.control} holds={row.holds}" for row in made) + "\n")
        sys.stdout.flush()
        write("vision", made, part=True)


if __name__ == "__main__":
    main()
