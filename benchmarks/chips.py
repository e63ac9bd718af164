"""
Loihi 2, TrueNorth and Xylo: cores used and accuracy under the chip's constraints, or the refusal with its numbers.

    python benchmarks/chips.py [--parts lenet resnet20 keywords patches full integrators] [--chips loihi2 truenorth xylo]

    lenet      the MNIST LeNet, SFN at T = 1, N = 15, on grids of whole numbers
    resnet20   ResNet-20 on CIFAR-10, the same
    keywords   the keyword spotter on digits, the same; it has no labels here: its answers stand beside the floating network's
    patches    a logic-gated MNIST network of at most 128 inputs a gate, which fits TrueNorth as it is        benchmarks/gated/patches.py
    full       a logic-gated MNIST network of 784 inputs a gate: partial sums on TrueNorth
    integrators  an MNIST network of ReLU as IF neurons, T = 16, weights of 4 bits, one threshold a layer

Accuracy is that of the integer reference, written only where what was emitted is equal to it: the files of a folder are run (Loihi 2: the
fixed-point oracle, TrueNorth: a simulator of its neuron) on the first of the test images, no number may differ. All of these have
more inputs than Xylo; networks that fit it are measured by xylo.py. Needs ../shared/data.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spikeloom
from gated import patches
from gated.pictures import loaded, trained
from harness.rows import ROOT, SHARED, Row, write
from harness.speech import mfcc, sounds
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
CHIPS = ("loihi2", "truenorth", "xylo")
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
RUN = 500
"""Images on which the files are run, the first ones, at most."""


@dataclass(frozen=True)
class Subject:
    """A network and what it is judged on: samples, right answers, and the share of them, %, that the floating network gives; `measure` says
    whose answers are the right ones."""

    title: str
    part: str
    program: Program
    given: InputRange
    data: tuple[Tensor, Tensor]
    floating: float
    timesteps: int = 1
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    measure: str = "accuracy"


def rows_of(subject: Subject, chips: Iterable[str]) -> list[Row]:
    """Two rows for each chip that takes the network, one for each that does not."""
    rows = list[Row]()
    for name in chips:
        target, command = TARGETS[name], f"{COMMAND} {subject.part}"
        asked = target.options.model_validate(subject.options.get(name, {}))
        try:
            netlist = lower(subject.program, subject.timesteps, subject.given, target.form(asked))
            why = [f"{each.where}: {each.found} (allowed: {each.allowed})" for each in target.refusals(netlist, asked)]
        except UnsupportedError as error:
            netlist, why = None, [str(error)]
        if netlist is None or why:
            holds = all(any(letter.isdigit() for letter in each) for each in why)
            told, refused = {"why": why[:6]}, f"{subject.title} on {target.name}: refused"
            rows.append(Row(refused, len(why), "obstacles", command, told, None, "a refusal with numbers", holds))
        else:
            rows += taken(subject, command, target, asked, netlist)
    return rows


def taken(subject: Subject, command: str, target: Target, asked: Any, netlist: Netlist) -> list[Row]:
    """Cores, and the accuracy of what was emitted."""
    title, data, floating = subject.title, subject.data, subject.floating
    report = target.report(netlist, asked)
    inputs = quantised_input(netlist, data[0].numpy())
    outputs = np.concatenate([run_integers(netlist, part) for part in np.array_split(inputs, max(len(inputs) // 100, 1))])
    golden = Golden(inputs[:RUN], outputs[:RUN])
    folder, began = Path(tempfile.mkdtemp()), time.perf_counter()
    try:
        for name, content in target.emit(netlist, golden, asked).items():
            (folder / name).write_bytes(content)
        verdict = target.verify(folder, netlist, golden, asked)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.perf_counter() - began)
    accuracy = round(100 * float((outputs.reshape(len(inputs), -1).argmax(1) == data[1].numpy()).mean()), 2)
    told = {key: report[key] for key in TOLD if key in report} | {"of": report["cores_available"]}
    moved = {key: round(value, 1) for key, value in verdict.numbers.items() if key.endswith("_per_sample")}
    beside = {
        "images": len(inputs),
        "run by the files": len(golden.inputs),
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
        named = f"{title} on {target.name}: {subject.measure}"
        rows.append(Row(named, accuracy, "%", command, beside, None, near, abs(accuracy - floating) <= 0.3))
    return rows


def converted(title: str, part: str, source: str, weights: str, dataset: str, test: str, images: int) -> Subject:
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
    return Subject(title, part, snn.program, given, (x, y), floating)


def keywords() -> Subject:
    """The keyword spotter on digits."""
    heard = dict[str, Tensor]()
    for split in ("train", "test"):
        spoken = sounds(SHARED / "fsdd" / f"{split}-00000-of-00001.parquet")[0]
        heard[split] = torch.from_numpy(np.stack([mfcc(sound, 8000) for sound in spoken]))
    whole = Settings(timesteps=1, levels=15, whole_numbers=True)
    snn = spikeloom.convert(f"onnx:{SHARED / 'kws_dscnn' / 'model.onnx'}", heard["train"], whole)
    with torch.no_grad():
        answers = snn(heard["test"]).argmax(-1)
    given, data = input_range(snn.program, [(heard["train"],)]), (heard["test"], answers)
    return Subject("keyword spotter, N=15", "keywords", snn.program, given, data, 100.0, measure="answers as the floating network's")


def gated(title: str, part: str, form: patches.Form, images: int, options: Mapping[str, Any]) -> Subject:
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
    floating = round(100 * float((answers == y).float().mean()), 2)
    return Subject(title, part, program, InputRange(0.0, 1.0, 1.0), (x, y), floating, options=options)


def integrators(title: str, images: int) -> Subject:
    """An MNIST network of ReLU converted to IF neurons, T = 16, on the grids of 4-bit weights."""
    torch.manual_seed(0)
    kept, test = loaded("mnist")
    ann = trained("truenorth-rectified", patches.rectified(), (kept, test), patches.RECTIFIED).model.eval()
    settings = Settings(method="if", timesteps=16, per_channel=False, compress="4", whole_numbers=True)
    snn = spikeloom.convert(ann, kept.x[:2000], settings)
    x, y = test.x[:images], test.y[:images]
    with torch.no_grad():
        right = [torch.cat([model(each).argmax(1) for each in x.split(250)]) == y for model in (ann, snn)]
    before, floating = (round(100 * float(part.float().mean()), 2) for part in right)
    sys.stdout.write(f"{title}: the ANN {before}, floating {floating} of {images}\n")
    return Subject(title, "integrators", snn.program, InputRange(0.0, 1.0, 1.0), (x, y), floating, settings.timesteps)


PARTS: dict[str, Callable[[], Subject]] = {
    "lenet": lambda: converted(
        "LeNet, N=15", "lenet", "zoo:lenet", "mnist_lenet_snntoolbox/model.safetensors", "mnist[:50000]", "mnist[50000:]", 2_000
    ),
    "resnet20": lambda: converted(
        "ResNet-20, N=15", "resnet20", "zoo:cifar-resnet20", "cifar10_resnet20/model.safetensors", "cifar10", "cifar10", 2_000
    ),
    "keywords": keywords,
    "patches": lambda: gated("logic-gated MNIST, at most 128 inputs a gate", "patches", patches.PATCHES, 2_000, {}),
    "full": lambda: gated(
        "logic-gated MNIST 784-256-256-10",
        "full",
        patches.FULL,
        500,
        {"truenorth": {"partial_sums": "where they save cores", "batch": 100}},
    ),
    "integrators": lambda: integrators("MNIST, IF neurons, T=16, 4-bit weights", 2_000),
}


def main() -> None:
    """Measure the parts asked for and write benchmarks/results/chips.json; rows of other parts stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--chips", nargs="+", choices=CHIPS, default=CHIPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.parts:
        rows = rows_of(PARTS[part](), options.chips)
        for row in rows:
            sys.stdout.write(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}\n")
        write("chips", rows, part=True)


if __name__ == "__main__":
    main()
