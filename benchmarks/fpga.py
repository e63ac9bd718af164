"""
A spiking MNIST network on an FPGA: what it takes, how fast it is, and what sparse input saves.

    python benchmarks/fpga.py [--only network|parallel|sparsity|devices] [--images 100]

The network is trained here on the first 50,000 MNIST training images (a minute), converted to Scale-and-Fire neurons at T=1, lowered to
whole numbers, emitted as Verilog, run by Icarus Verilog against the integer reference, and placed by yosys and nextpnr. Accuracy is that on
the last 10,000 images. A time per image is cycles of the simulation over the clock that nextpnr reached. Needs ../shared/data (mnist) and
`pip install 'spikeloom[hw]'`; trained weights are kept under artifacts/benchmarks/fpga.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
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
from spikeloom.backend.rtl import TARGET, RtlOptions
from spikeloom.datasets import Preprocessing
from spikeloom.ir.hardware import Netlist
from spikeloom.pipeline import Settings
from spikeloom.pipeline.library import convert_model
from spikeloom.simulate.integers import quantised_input, run_integers

WORK = ROOT / "artifacts" / "benchmarks" / "fpga"
COMMAND = "python benchmarks/fpga.py"
PEERS = {
    "Spiker+": "7.6 k LUT, 18 BRAM (36 kbit), 780 us, 93.85 %, XC7Z020 (published)",
    "snn-fpga": "6,358 LUT, 40.5 BRAM (36 kbit), 520 us, Artix-7 (published)",
}
CALIBRATION = 512


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
