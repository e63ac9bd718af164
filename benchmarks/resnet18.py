"""
The printed command on CIFAR-10: ResNet-18 trained here first, stopped, gone on with, converted.

    python benchmarks/resnet18.py [--device cpu|cuda] [--epochs 30]

    python scripts/convert_model.py --model_name resnet18 --dataset cifar10 --data_root ../shared/data --train --output_dir DIR

Needs ../shared/data (cifar10). On a CPU it is started, interrupted (Ctrl-C) once it has made some steps, and started again with --resume:
the row holds the step it went on from. On a GPU it is run to its end as well, and the row holds the accuracy.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write

COMMAND = "python benchmarks/resnet18.py"
WORK = ROOT / "artifacts" / "benchmarks" / "resnet18"
CHECKPOINT = WORK / "phases" / "0_training"
STEPS, MOST_S = 2, 1800.0
"""How many steps are waited for before it is stopped, and for how long."""


def printed(*more: str) -> list[str]:
    """The command."""
    options = ["--model_name", "resnet18", "--dataset", "cifar10", "--data_root", str(SHARED), "--train", "--output_dir", str(WORK)]
    return [sys.executable, str(ROOT / "scripts" / "convert_model.py"), *options, *more]


def step() -> int:
    """How far the checkpoint is; 0 where there is none."""
    try:
        with safe_open(CHECKPOINT, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            told: dict[str, str] = file.metadata()
    except (OSError, ValueError):
        return 0
    return int(json.loads(told["training"])["position"]["step"])


def until(wanted: int, *more: str) -> tuple[int, str]:
    """The step at which the command was stopped by Ctrl-C, after `wanted` steps or more, and what it said."""
    process = subprocess.Popen(printed(*more), stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while step() < wanted and process.poll() is None and time.monotonic() - began < MOST_S:
        time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    return step(), process.communicate()[1]


def stopped() -> Row:
    """The command started, stopped, and gone on with."""
    shutil.rmtree(WORK, ignore_errors=True)
    first, said = until(STEPS)
    second, again = until(first + STEPS, "--resume")
    holds = STEPS <= first < second and "--resume goes on" in said and "Traceback" not in said + again
    facts: dict[str, Any] = {"stopped_at_step": first, "resumed_to_step": second, "last_line": said.strip().splitlines()[-1]}
    name = "ResNet-18 on CIFAR-10, the printed command with --train: steps made after it was stopped and resumed"
    return Row(name, second - first, "steps", COMMAND, facts, None, "goes on from the step it was stopped at, no traceback", holds)


def whole(epochs: int, device: str) -> Row:
    """The command run to its end."""
    done = subprocess.run(
        printed("--resume", "--json", "--epochs", str(epochs), "--device", device), check=True, stdout=subprocess.PIPE, text=True
    )
    metrics = json.loads(done.stdout)
    reached = {name: round(100 * value, 2) for name, value in metrics["accuracy"].items()}
    facts = {"ann": reached["ann"], "control": reached["control"], "images": metrics["samples"], "epochs": epochs, "device": device}
    return Row(f"ResNet-18 on CIFAR-10, trained here, T={metrics['timesteps']}: accuracy", reached["snn"], "%", COMMAND, facts)


def main() -> None:
    """Run it and write benchmarks/results/resnet18.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so would what it starts
    made = [stopped()]
    if options.device != "cpu":
        shutil.rmtree(WORK, ignore_errors=True)
        made.append(whole(options.epochs, options.device))
    for row in made:
        sys.stdout.write(f"{row.name}: {row.value} {row.control} holds={row.holds}\n")
    write("resnet18", made, part=True)


if __name__ == "__main__":
    main()
