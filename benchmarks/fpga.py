"""
A spiking MNIST network on an FPGA: what it takes, how fast it is, and what sparse input saves.

    python benchmarks/fpga.py [--only network|parallel|sparsity|devices|convolutional] [--images 100]

The network is trained here on the first 50,000 MNIST training images (a minute), converted to Scale-and-Fire neurons at T=1, lowered to
whole numbers, emitted as Verilog, run by Icarus Verilog against the integer reference, and placed by yosys and nextpnr. Accuracy is that on
the last 10,000 images. A time per image is cycles of the simulation over the clock that nextpnr reached. Needs ../shared/data (mnist) and
`pip install 'spikeloom[hw]'`; trained weights are kept under artifacts/benchmarks/fpga.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom import datasets
from spikeloom.backend import Form, Golden
from spikeloom.backend.lower import InputRange, lower
from spikeloom.backend.rtl import TARGET
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.report import synthesised
from spikeloom.datasets import Preprocessing
from spikeloom.ir import Context, load, run, save
from spikeloom.ir.hardware import Netlist
from spikeloom.pipeline import Settings
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.library import convert_model
from spikeloom.pipeline.passes import passes_of
from spikeloom.simulate.integers import quantised_input, run_integers

WORK = ROOT / "artifacts" / "benchmarks" / "fpga"
COMMAND = "python benchmarks/fpga.py"
PEERS = {
    "Spiker+": "7.6 k LUT, 18 BRAM (36 kbit), 780 us, 93.85 %, XC7Z020 (published)",
    "snn-fpga": "6,358 LUT, 40.5 BRAM (36 kbit), 520 us, Artix-7 (published)",
}
CALIBRATION, FEW = 512, 20
"""Images of calibration; images that variants run."""


@dataclass(frozen=True)
class Network:
    """A fully connected network: hidden neurons, levels, bits of a weight, and whether pixels are 0 or 1 or of 8 bits."""

    hidden: int = 64
    levels: int = 7
    weight_bits: int = 8
    binary: bool = True

    @property
    def name(self) -> str:
        """For a person."""
        return f"MNIST 784-{self.hidden}-10 N={self.levels} T=1, {self.weight_bits}-bit weights, {1 if self.binary else 8}-bit pixels"


def pictures(split: str, binary: bool) -> tuple[Tensor, Tensor]:
    """(pixels 0 to 1 [n, 784], labels): the first 50,000 training images, or the last 10,000."""
    prepared = Preprocessing(channels=1, size=(28, 28), mean=(0.0,), std=(1.0,))
    data = datasets.load("mnist[:50000]" if split == "train" else "mnist[50000:]", split, prepared, SHARED)  # pyright: ignore[reportArgumentType]
    x, y = data.gather(torch.arange(len(data)))
    return ((x > 0.5).float() if binary else x).flatten(1), y


def trained(network: Network, epochs: int = 20) -> nn.Module:
    """The floating network, from its file where there is one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, network.hidden), nn.ReLU(), nn.Linear(network.hidden, 10))
    kept = WORK / f"{network.hidden}_{'binary' if network.binary else 'grey'}.safetensors"
    if kept.exists():
        model.load_state_dict(load_file(kept))
        return model.eval()
    x, y = pictures("train", network.binary)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    steps = epochs * (len(x) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // 128 * 128].view(-1, 128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    WORK.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), kept)
    return model.eval()


def lowered(network: Network) -> Netlist:
    """The network in whole numbers."""
    x, _ = pictures("train", network.binary)
    snn = convert_model(trained(network), x[:CALIBRATION], Settings(timesteps=1, levels=network.levels))
    inputs = InputRange(0.0, 1.0, 1.0 if network.binary else 1 / 255)
    return lower(snn.program, 1, inputs, Form("where needed", weight_bits=network.weight_bits))


def judged(network: Network, netlist: Netlist) -> dict[str, float]:
    """Accuracy on the last 10,000 images, %: of the ANN and of the whole numbers."""
    x, y = pictures("test", network.binary)
    with torch.inference_mode():
        ann = trained(network)(x).argmax(1)
    whole = torch.from_numpy(run_integers(netlist, quantised_input(netlist, x.numpy())).argmax(1))
    return {"ann": round(100 * float((ann == y).float().mean()), 2), "integers": round(100 * float((whole == y).float().mean()), 2)}


def golden(network: Network, netlist: Netlist, images: int) -> Golden:
    """The first test images and the reference's answers."""
    whole = quantised_input(netlist, pictures("test", network.binary)[0][:images].numpy())
    return Golden(whole, run_integers(netlist, whole))


def measured(netlist: Netlist, vectors: Golden, options: RtlOptions, place: bool = True) -> dict[str, Any]:
    """What the emitted Verilog gives and takes: verdict, cycles, and what is used where it is placed."""
    refused = TARGET.refusals(netlist, options)
    if refused:
        return {"refused": "; ".join(f"{each.found} (there: {each.allowed})" for each in refused)}
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in TARGET.emit(netlist, vectors, options).items():
            where = Path(scratch, name)
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
        verdict = TARGET.verify(Path(scratch), netlist, vectors, options)
        used = placed(Path(scratch), options) if place else {}
    found = {"samples": verdict.samples, "mismatches": verdict.mismatches, "how": verdict.how, **verdict.numbers, **used}
    if place:
        found["us_per_image"] = round(found["cycles_mean"] / used["fmax_mhz"], 2)
        found["us_back_to_back"] = round(found["cycles_back_to_back"] / used["fmax_mhz"], 2)
        expected: Mapping[str, Any] = TARGET.report(netlist, options)["estimate"]
        found |= {"estimated_luts": expected["luts"], "estimated_block_rams": expected["block_rams"]}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in found.items()}


def placed(folder: Path, options: RtlOptions) -> dict[str, Any]:
    """What yosys and nextpnr make of a folder; kept for the same Verilog, so that a stopped run goes on where it was."""
    told = [(folder / "rtl" / name).read_bytes() for name in ("spikeloom.v", "spikeloom_pins.v")]
    key = hashlib.sha256(b"".join([*told, options.device.encode(), str(options.frequency_mhz).encode()])).hexdigest()[:16]
    kept = WORK / f"placed_{key}.json"
    if not kept.exists():
        kept.write_text(json.dumps(synthesised(folder, options)))
    return json.loads(kept.read_text())


def network(images: int) -> Iterator[Row]:
    """The network on an ECP5-25K, with pixels of one bit and of eight."""
    command = f"{COMMAND} --only network"
    for told in (Network(), Network(binary=False)):
        netlist = lowered(told)
        right, found = judged(told, netlist), measured(netlist, golden(told, netlist, images), RtlOptions(parallel=8))
        name = f"{told.name}, ECP5-25K"
        fits = "fits, at least 97 %" if told.binary else None
        yield Row(
            f"{name}: accuracy",
            right["integers"],
            "%",
            command,
            {**right, "images": 10000},
            None,
            fits,
            fits and right["integers"] >= 97,
        )
        same, ran = found["samples"] - found["mismatches"], {"how": found["how"]}
        yield Row(f"{name}: images on which the RTL equals the reference", same, "images", command, ran, None, f"{images}", same == images)
        yield Row(f"{name}: time of an image", found["us_per_image"], "us", command, _beside(found), PEERS)


def _beside(found: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a time."""
    kept = (
        "samples",
        "luts",
        "registers",
        "block_rams",
        "multipliers",
        "fmax_mhz",
        "cycles_mean",
        "cycles_least",
        "cycles_most",
        "us_back_to_back",
    )
    return {name: found[name] for name in (*kept, "estimated_luts", "estimated_block_rams") if name in found}


def parallel(images: int) -> Iterator[Row]:
    """The same network with more and fewer neurons at once."""
    told, command = Network(), f"{COMMAND} --only parallel"
    netlist = lowered(told)
    for lanes in (1, 4, 16, 32):
        found = measured(netlist, golden(told, netlist, min(images, FEW)), RtlOptions(parallel=lanes))
        yield Row(
            f"{told.name}, ECP5-25K, {lanes} in parallel: time of an image", found["us_per_image"], "us", command, _beside(found), PEERS
        )


def sparsity(images: int) -> Iterator[Row]:
    """Cycles of an image of which some share of the pixels is 1."""
    del images
    told, command, rng = Network(), f"{COMMAND} --only sparsity", np.random.default_rng(0)
    netlist, found = lowered(told), dict[str, Any]()
    for share in (0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0):
        inputs = np.zeros((5, 784), np.int64)
        for row in inputs:
            row[rng.permutation(784)[: round(784 * share)]] = 1
        made = measured(netlist, Golden(inputs, run_integers(netlist, inputs)), RtlOptions(parallel=8), place=False)
        found[f"{100 * share:g} % active"] = made["cycles_mean"]
    yield Row(f"{told.name}: cycles without an active pixel", found["0 % active"], "cycles", command, found)


def devices(images: int) -> Iterator[Row]:
    """Smaller and larger devices: what fits, and what is refused with numbers."""
    command = f"{COMMAND} --only devices"
    wanted = (
        (Network(hidden=24, levels=15, weight_bits=4), RtlOptions(device="ice40-hx8k", parallel=4)),
        (Network(hidden=24, levels=15, weight_bits=4), RtlOptions(device="ice40-up5k", parallel=4)),
        (Network(), RtlOptions(device="ice40-up5k", parallel=4)),
        (Network(hidden=256), RtlOptions(device="ecp5-85k", parallel=16)),
    )
    for told, options in wanted:
        netlist = lowered(told)
        found, right = measured(netlist, golden(told, netlist, min(images, FEW)), options), judged(told, netlist)
        name = f"{told.name}, {options.chip.title}"
        if "refused" in found:
            yield Row(f"{name}: refused", found["refused"], "", command)
            continue
        same = {"accuracy": right["integers"], "equal": f"{found['samples'] - found['mismatches']} of {min(images, FEW)} images"}
        yield Row(f"{name}: time of an image", found["us_per_image"], "us", command, {**same, **_beside(found)})


def lenet() -> Netlist:
    """The convolutional MNIST network of the shared models, in whole numbers."""
    where = WORK / "lenet"
    weights = SHARED / "mnist_lenet_snntoolbox" / "model.safetensors"
    told = Settings(source="zoo:lenet", weights=weights, dataset="mnist[:50000]", data_root=SHARED, output_dir=where, timesteps=1, levels=7)
    if not where.exists():
        ann = ingest(told, WORK / "unused", lambda *_: None)
        first, second = passes_of(told)
        save(run([*first, *second], ann, Context(calibration_stream(ann, told.dataset, told, CALIBRATION))), where, {"ann": ann})
    return lower(load(where), 1, InputRange(0.0, 1.0, 1 / 255), Form("where needed"))


def convolutional(images: int) -> Iterator[Row]:
    """LeNet: equal on the images asked for, in simulation; as a device it is refused with numbers."""
    netlist, command = lenet(), f"{COMMAND} --only convolutional"
    x, y = pictures("test", False)
    whole = quantised_input(netlist, x.view(-1, 1, 28, 28).numpy())
    right = float((torch.from_numpy(run_integers(netlist, whole[:1000]).argmax(1)) == y[:1000]).float().mean())
    vectors = Golden(whole[:images], run_integers(netlist, whole[:images]))
    name = f"MNIST LeNet N=7 T=1, {netlist.parameters:,} weights of 8 bits"
    refused = measured(netlist, vectors, RtlOptions(device="ecp5-85k", parallel=32))
    yield Row(f"{name}, ECP5-85K: refused", refused.get("refused"), "", command)
    found = measured(netlist, vectors, RtlOptions(device="any", parallel=32), place=False)
    same = found["samples"] - found["mismatches"]
    beside = {"accuracy, 1000 images": round(100 * right, 2), "parallel": 32, **_beside(found)}
    yield Row(f"{name}: images on which the RTL equals the reference", same, "images", command, beside, None, f"{images}", same == images)


def main() -> None:
    """Run what was asked for and write benchmarks/results/fpga.json, a row as soon as it is there."""
    parts = {"network": network, "parallel": parallel, "sparsity": sparsity, "devices": devices, "convolutional": convolutional}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(parts))
    parser.add_argument("--images", type=int, default=100, help="images that the Verilog runs")
    options = parser.parse_args()
    if not (SHARED / "mnist").exists():
        sys.exit(f"this benchmark needs {SHARED / 'mnist'}")
    torch.set_num_threads(1)
    for name, part in parts.items():
        if options.only in (None, name):
            for row in part(options.images):
                print(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}", flush=True)
                if options.images == 100:
                    write("fpga", [row], part=True)


if __name__ == "__main__":
    main()
