"""
Loihi 2 and TrueNorth: cores used and accuracy under the chip's constraints, or the refusal with its numbers.

    python benchmarks/chips.py [--parts lenet resnet20 patches full]

    lenet      the MNIST LeNet, SFN at T = 1, N = 15, on grids of whole numbers
    resnet20   ResNet-20 on CIFAR-10, the same
    patches    a logic-gated MNIST network of at most 128 inputs a gate, which fits TrueNorth as it is        benchmarks/gated/patches.py
    full       a logic-gated MNIST network of 784 inputs a gate: partial sums on TrueNorth

Accuracy is that of what was emitted: the files of a folder are run (Loihi 2: the fixed-point oracle, TrueNorth: a simulator of its neuron)
on the first test images of a part, and their answers are equal to the integer reference's, or no accuracy is written. Needs ../shared/data.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gated import patches
from gated.pictures import loaded
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.backend import TARGETS, Golden, Target
from spikeloom.backend.lower import InputRange, lower
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Program
from spikeloom.ir.hardware import Netlist
from spikeloom.logic.freeze import freeze
from spikeloom.pipeline import Settings, convert
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.input_range import input_range
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.integers import quantised_input, run_integers

WORK = ROOT / "artifacts" / "benchmarks" / "chips"
COMMAND = "python benchmarks/chips.py --parts"
CHIPS = ("loihi2", "truenorth")
TOLD = (
    "cores_by_kind",
    "cores_by_layer",
    "layout",
    "neurons",
    "synapses",
    "synaptic_bytes_most",
    "axons_in_most",
    "ticks_per_sample",
    "ticks_between_samples",
    "parts",
)
"""What of a report stands in a row."""


def rows_of(
    title: str, part: str, program: Program, given: InputRange, data: tuple[Tensor, Tensor], options: Mapping[str, Any], floating: Any
) -> list[Row]:
    """Two rows for each chip that takes the network, one for each that does not."""
    rows = list[Row]()
    for name in CHIPS:
        target, command = TARGETS[name], f"{COMMAND} {part}"
        asked = target.options.model_validate(options.get(name, {}))
        try:
            netlist = lower(program, 1, given, target.form(asked))
        except UnsupportedError as error:
            rows.append(
                Row(
                    f"{title} on {target.name}: refused", 1, "obstacles", command, {"why": str(error)}, None, "a refusal with numbers", True
                )
            )
            continue
        against = target.refusals(netlist, asked)
        if against:
            why = [f"{each.where}: {each.found} (allowed: {each.allowed})" for each in against]
            holds = all(any(letter.isdigit() for letter in each) for each in why)
            rows.append(
                Row(
                    f"{title} on {target.name}: refused",
                    len(why),
                    "obstacles",
                    command,
                    {"why": why[:6]},
                    None,
                    "a refusal with numbers",
                    holds,
                )
            )
            continue
        rows += taken(title, command, target, asked, netlist, data, floating)
    return rows


def taken(title: str, command: str, target: Target, asked: Any, netlist: Netlist, data: tuple[Tensor, Tensor], floating: Any) -> list[Row]:
    """Cores, and the accuracy of what was emitted."""
    report = target.report(netlist, asked)
    inputs = quantised_input(netlist, data[0].numpy())
    golden = Golden(inputs, np.concatenate([run_integers(netlist, part) for part in np.array_split(inputs, max(len(inputs) // 100, 1))]))
    folder, began = Path(tempfile.mkdtemp()), time.perf_counter()
    try:
        for name, content in target.emit(netlist, golden, asked).items():
            (folder / name).write_bytes(content)
        verdict = target.verify(folder, netlist, golden, asked)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.perf_counter() - began)
    accuracy = round(100 * float((golden.outputs.reshape(len(inputs), -1).argmax(1) == data[1].numpy()).mean()), 2)
    told = {key: report[key] for key in TOLD if key in report} | {"of": report["cores_available"]}
    moved = {key: round(value, 1) for key, value in verdict.numbers.items() if key.endswith("_per_sample")}
    beside = {
        "images": len(inputs),
        "mismatches": verdict.mismatches,
        "floating": floating,
        "how": verdict.how,
        "seconds": seconds,
        **moved,
    }
    fits = f"at most {report['cores_available']}"
    rows = [
        Row(
            f"{title} on {target.name}: cores",
            report["cores"],
            "cores",
            command,
            told,
            None,
            fits,
            report["cores"] <= report["cores_available"],
        )
    ]
    if not verdict.mismatches:
        near = "within 0.3 points of the floating SNN"
        rows.append(Row(f"{title} on {target.name}: accuracy", accuracy, "%", command, beside, None, near, abs(accuracy - floating) <= 0.3))
    return rows


def converted(title: str, part: str, source: str, weights: str, dataset: str, test: str, images: int) -> list[Row]:
    """A network of the zoo, converted onto grids of whole numbers."""
    folder = WORK / part
    asked = Settings(
        source=source,
        weights=SHARED / weights,
        dataset=dataset,
        data_root=SHARED,
        output_dir=folder,
        timesteps=1,
        levels=15,
        whole_numbers=True,
        calibration_samples=1024,
    )
    if not (folder / "program.json").exists():
        convert(asked)
    snn = SpikingModel.open(folder)
    x, y = (
        torch.cat(part)
        for part in zip(
            *(
                (batch[0], labels)
                for batch, labels in task_of(snn.program.settings).samples(test, "test", snn.program, asked, images).read(100, None)
            ),
            strict=True,
        )
    )
    with torch.no_grad():
        answers = torch.cat([snn(each).argmax(-1) for each in x.split(100)])
    floating = round(100 * float((answers == y).float().mean()), 2)
    given = input_range(snn.program, calibration_stream(snn.program, dataset, asked, 512)())
    return rows_of(title, part, snn.program, given, (x, y), {}, floating)


def gated(title: str, part: str, form: patches.Form, images: int, options: Mapping[str, Any]) -> list[Row]:
    """A logic-gated network, trained on the first 50,000 pictures of MNIST and judged on the last 10,000."""
    data = loaded("mnist")
    torch.manual_seed(0)
    network = patches.taught(f"truenorth-{part}", form, data).model.eval()
    x, y = data[1].x[:images], data[1].y[:images]
    with torch.inference_mode():
        answers = torch.cat([network(each).argmax(1) for each in x.split(500)])
        whole = torch.cat([network(each).argmax(1) for each in data[1].x.split(500)])
    sys.stdout.write(f"{title}: {float((whole == data[1].y).float().mean()):.4f} of all 10,000\n")
    program = freeze(network, x[:1])
    return rows_of(title, part, program, InputRange(0.0, 1.0, 1.0), (x, y), options, round(100 * float((answers == y).float().mean()), 2))


PARTS = {
    "lenet": lambda: converted(
        "LeNet, N=15", "lenet", "zoo:lenet", "mnist_lenet_snntoolbox/model.safetensors", "mnist[:50000]", "mnist[50000:]", 500
    ),
    "resnet20": lambda: converted(
        "ResNet-20, N=15", "resnet20", "zoo:cifar-resnet20", "cifar10_resnet20/model.safetensors", "cifar10", "cifar10", 500
    ),
    "patches": lambda: gated("logic-gated MNIST, at most 128 inputs a gate", "patches", patches.PATCHES, 2_000, {}),
    "full": lambda: gated(
        "logic-gated MNIST 784-256-256-10",
        "full",
        patches.FULL,
        500,
        {"truenorth": {"partial_sums": "where they save cores", "batch": 100}},
    ),
}


def main() -> None:
    """Measure the parts asked for and write benchmarks/results/chips.json; rows of other parts stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.parts:
        rows: Iterable[Row] = PARTS[part]()
        for row in rows:
            sys.stdout.write(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}\n")
        write("chips", rows, part=True)


if __name__ == "__main__":
    main()
