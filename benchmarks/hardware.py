"""
Networks in whole numbers: accuracy and agreement beside the floating network, and each back end's answers beside the integer reference.

    python benchmarks/hardware.py [--only lenet resnet20 gates keywords events] [--samples 10000]

Needs ../shared/data and verilator (apt). Networks are converted with `whole_numbers` once and kept under artifacts/benchmarks/hardware. The
plain way (the floating network rounded when it is compiled) stands beside them. What is emitted is compared as C on all samples, read back
from NIR and as RTL on a hundred. Rows of devices, chips, other tools' NIR and speed come from fpga.py, chips.py, xylo.py, nir_peers.py and
c_speed.py.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spikeloom
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.backend import TARGETS, Golden, Target
from spikeloom.backend.folder import write_files
from spikeloom.backend.lower import InputRange, lower
from spikeloom.datasets import frames, read_events
from spikeloom.ir.hardware import Netlist
from spikeloom.pipeline import Settings, convert
from spikeloom.pipeline.input_range import input_range
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.event_driven import EventNetwork
from spikeloom.simulate.event_stream import events_from
from spikeloom.simulate.integers import answers, quantised_input, run_integers

WORK = ROOT / "artifacts" / "benchmarks" / "hardware"
COMMAND = "python benchmarks/hardware.py"
BATCH = 100
MOST = 15
"""Events of a pixel and polarity in a tick that are counted."""
UNKNOWN = 10
"""Keywords come before silence and unknown among the spotter's answers."""

FEW = 100
"""Samples of back ends that run slowly."""
BACK_ENDS: tuple[tuple[str, str, dict[str, Any], int | None], ...] = (
    ("C (dense)", "c", {"kernels": "dense"}, None),
    ("C (event)", "c", {"kernels": "event"}, None),
    ("NIR, read back", "nir", {}, FEW),
    ("RTL (Verilator)", "rtl", {"device": "any", "parallel": 32, "simulator": "verilator"}, FEW),
)

Batches = Iterator[tuple[Tensor, Tensor | None]]

RESNET = Settings(
    source="zoo:cifar-resnet20",
    weights=SHARED / "cifar10_resnet20" / "model.safetensors",
    dataset="cifar10",
    data_root=SHARED,
    timesteps=1,
    levels=15,
    samples=512,
)
LENET = replace(RESNET, source="zoo:lenet", weights=SHARED / "mnist_lenet_snntoolbox" / "model.safetensors", dataset="mnist")
GATES = replace(LENET, method="logic_gated", gates=2, gate_epochs=6)


def network(name: str, settings: Settings, *, whole: bool) -> SpikingModel:
    """A network of the command line's conversion; converted where it is not kept."""
    folder = WORK / f"{name}{'-whole' if whole else ''}"
    if not (folder / "program.json").exists():
        convert(replace(settings, output_dir=folder, whole_numbers=whole))
    return SpikingModel.open(folder)


def pictures(settings: Settings, samples: int) -> Callable[[], Batches]:
    """Test pictures and labels."""

    def read() -> Batches:
        program = SpikingModel.open(next(WORK.glob(f"{named(settings)}*"))).program
        data = task_of(program.settings).samples(settings.dataset, "test", program, settings, samples)
        for inputs, labels in data.read(BATCH, None):
            yield inputs[0], labels

    return read


def named(settings: Settings) -> str:
    """The folder of a network."""
    return "gates" if settings.method == "logic_gated" else settings.source.split(":")[1]


def beside(snn: SpikingModel, netlist: Netlist, read: Callable[[], Batches]) -> dict[str, float]:
    """Accuracy of both, agreement, samples."""
    same = count = 0
    right = [0, 0]
    for x, labels in read():
        with torch.no_grad():
            floating = snn(x).argmax(-1)
        whole = torch.from_numpy(answers(netlist, x.numpy(), BATCH)).argmax(-1)
        same, count = same + int((floating == whole).sum()), count + len(x)
        for place, answer in enumerate((floating, whole)):
            right[place] += 0 if labels is None else int((answer == labels).sum())
    return {"floating": 100 * right[0] / count, "whole": 100 * right[1] / count, "agreement": 100 * same / count, "samples": count}


def rows_of(name: str, found: dict[str, float]) -> list[Row]:
    """Accuracy and agreement, with their targets."""
    command = f"{COMMAND} --only {name.split(' ')[0]}"
    control = {"floating": round(found["floating"], 2), "samples": found["samples"]}
    near, same = found["whole"] >= found["floating"] - 0.3, found["agreement"] >= 99
    rows = [
        Row(f"{name}: agreement of whole and floating", found["agreement"], "%", command, control, None, ">= 99", same),
        Row(f"{name}: accuracy in whole numbers", found["whole"], "%", command, control, None, "floating - 0.3", near),
    ]
    for row in rows:
        print(row.name, row.value, row.control, flush=True)
    return rows


def classifiers(name: str, settings: Settings, samples: int) -> list[Row]:
    """A network converted on whole numbers, and one that is rounded when it is compiled."""
    rows = list[Row]()
    for whole in (True, False) if settings.method != "logic_gated" else (True,):
        snn = network(named(settings), settings, whole=whole)
        calibration = task_of(snn.program.settings).samples(settings.dataset, "calibration", snn.program, settings, 512)
        netlist = lower(snn.program, 1, input_range(snn.program, calibration.stream(64)()))
        found = beside(snn, netlist, pictures(settings, samples))
        told = rows_of(name if whole else f"{name} rounded afterwards", found)
        rows += told if whole else [replace(row, target=None, holds=None) for row in told]
        if whole:
            rows += emitted(name, netlist, np.concatenate([quantised_input(netlist, x.numpy()) for x, _ in pictures(settings, samples)()]))
    return rows


def emitted(name: str, netlist: Netlist, inputs: np.ndarray) -> list[Row]:
    """What back ends make of a network, against the reference: C on all test samples [S, ...], the others on the first `FEW`."""
    rows = list[Row]()
    for what, target, options, samples in BACK_ENDS:
        part, command, back_end = inputs[:samples], f"{COMMAND} --only {name}", TARGETS[target]
        refused = back_end.refusals(netlist, back_end.options.model_validate(options))
        if refused:
            facts = {"where": refused[0].where, "found": refused[0].found, "allowed": refused[0].allowed}
            rows.append(Row(f"{name}: {what}, refused", len(refused), "obstacles", command, facts, None, "none", False))
        else:
            differ, facts = mismatches(netlist, part, back_end, options), {"samples": len(part)}
            rows.append(Row(f"{name}: {what} differs from the reference", differ, "samples", command, facts, None, "0", differ == 0))
        print(rows[-1].name, rows[-1].value, facts, flush=True)
    return rows


def mismatches(netlist: Netlist, inputs: np.ndarray, target: Target, options: dict[str, Any]) -> int:
    """Samples of which what the target emits gives any number that the reference does not."""
    chosen, differ = target.options.model_validate(options), 0
    for first in range(0, len(inputs), 1000):
        part = inputs[first : first + 1000]
        golden = Golden(part, run_integers(netlist, part))
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), target.emit(netlist, golden, chosen))
            differ += target.verify(Path(folder), netlist, golden, chosen).mismatches
    return differ


def keywords(samples: int) -> list[Row]:
    """The keyword spotter on digits, which are none of its words: it rightly answers "unknown" to all, so that the best of its keywords is
    compared too."""
    from harness.speech import mfcc, sounds

    heard = dict[str, Tensor]()
    for split in ("train", "test"):
        spoken = sounds(SHARED / "fsdd" / f"{split}-00000-of-00001.parquet")[0]
        heard[split] = torch.from_numpy(np.stack([mfcc(sound, 8000) for sound in spoken]))
    source, rows = f"onnx:{SHARED / 'kws_dscnn' / 'model.onnx'}", list[Row]()
    test = heard["test"][:samples]
    for whole in (True, False):
        snn = spikeloom.convert(source, heard["train"], Settings(timesteps=1, levels=15, whole_numbers=whole))
        netlist = lower(snn.program, 1, input_range(snn.program, [(heard["train"],)]))
        with torch.no_grad():
            floating = snn(test)
        answered = torch.from_numpy(answers(netlist, test.numpy(), BATCH))
        name = "keywords" if whole else "keywords rounded afterwards"
        for words, chosen in (("answer", slice(None)), ("best keyword", slice(0, UNKNOWN))):
            same = 100 * float((floating[:, chosen].argmax(1) == answered[:, chosen].argmax(1)).float().mean())
            kinds = int(floating[:, chosen].argmax(1).unique().numel())
            control = {"samples": len(test), "different answers": kinds}
            target, holds = (">= 99", same >= 99) if whole else (None, None)
            rows.append(Row(f"{name}: agreement, {words}", same, "%", f"{COMMAND} --only keywords", control, None, target, holds))
            print(rows[-1].name, same, control, flush=True)
        if whole:
            rows += emitted(name, netlist, quantised_input(netlist, test.numpy()))
    return rows


def event_network() -> nn.Module:
    """A small network for counts of events [2, 34, 34]."""
    return nn.Sequential(
        nn.Conv2d(2, 16, 5, 2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def taught(x: Tensor, y: Tensor, *, scale: float, epochs: int = 40) -> nn.Module:
    """The network trained on counts over `scale`, shifted by up to three pixels."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = event_network()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * -(-len(x) // 50))
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(50):
            dy, dx = torch.randint(-3, 4, (2,), generator=generator).tolist()
            loss = nn.functional.cross_entropy(model(torch.roll(x[rows], (dy, dx), (2, 3)) / scale), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return nn.Sequential(_Scaled(scale), *model.eval())


class _Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x / self.scale


def streams(split: str, ticks: int) -> tuple[Tensor, Tensor]:
    """Counts of events [n, T, 2, 34, 34], each tick those of its own window, and the labels."""
    found = read_events(SHARED / "nmnist_small" / f"{split}.npz")
    counts = np.stack([frames(found.recording(number), (34, 34), ticks) for number in range(len(found))]).clip(0, MOST)
    return torch.from_numpy(counts).float(), torch.from_numpy(np.asarray(found.labels))


def events(samples: int) -> list[Row]:
    """A network of our own on recorded events, event by event: all events of a recording in one tick (T = 1), and as they come in 16 ticks,
    for IF neurons: converted for the mean of the ticks, and run on the ticks themselves."""
    rows = list[Row]()
    for ticks, method in ((1, "scale_and_fire"), (16, "if")):
        (x, y), (tx, ty) = streams("train", ticks), streams("test", ticks)
        ann = taught(x.mean(1), y, scale=MOST / ticks)
        snn = spikeloom.convert(ann, x.mean(1), Settings(timesteps=ticks, method=method))
        netlist = lower(snn.program, ticks, InputRange(0, MOST, 1.0))
        runner, hits, same, operations, spikes, correct = EventNetwork(netlist), 0, 0, 0, 0, 0
        for number in range(len(ty)):
            run, floating = runner.run(events_from(tx[number].long().numpy())), stepped(snn, tx[number])
            answer = int(run.output.argmax())
            hits, same = hits + (answer == int(ty[number])), same + (answer == floating)
            operations, spikes, correct = (
                operations + run.synaptic_operations,
                spikes + len(run.events),
                correct + (floating == int(ty[number])),
            )
        with torch.no_grad():
            right = int((ann(tx.mean(1)).argmax(1) == ty).sum())
        name, count = f"events, {method} T = {ticks}", len(ty) / 100
        control = {"ann": right / count, "floating": correct / count, "samples": len(ty), "spikes": spikes / len(ty)}
        control |= {"synaptic operations": operations / len(ty)}
        rows.append(Row(f"{name}: accuracy event by event", hits / count, "%", f"{COMMAND} --only events", control))
        rows.append(Row(f"{name}: agreement with the floating network", same / count, "%", f"{COMMAND} --only events", control))
        print(rows[-2].name, rows[-2].value, rows[-1].value, control, flush=True)
    return rows


def stepped(snn: SpikingModel, ticks: Tensor) -> int:
    """The floating network's answer to what changes from tick to tick [T, 2, 34, 34]."""
    state, total = None, torch.zeros(())
    with torch.no_grad():
        for now in ticks:
            output, state = snn.step(now[None], state=state)
            total = total + output
    return int(total.argmax())


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "lenet": lambda samples: classifiers("lenet", LENET, samples),
    "resnet20": lambda samples: classifiers("resnet20", RESNET, samples),
    "gates": lambda samples: classifiers("gates", GATES, samples),
    "keywords": keywords,
    "events": events,
}


def main() -> None:
    """The parts asked for; rows of others stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--samples", type=int, default=10_000)
    given = parser.parse_args()
    for part in given.only:
        write("hardware", PARTS[part](given.samples), part=True)


if __name__ == "__main__":
    main()
