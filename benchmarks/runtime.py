"""
Cost, as ratios in one run: the SNN against the ANN with batch norm folded, the conversion against ANN passes, memory.

    python benchmarks/runtime.py [--threads 2]

Networks are ResNet-20 (weights random where ../shared/data is absent: speed does not depend on them). ANN and SNN take
turns; each ratio is that of the fastest of many runs, for other processes only ever add time.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.clock import fastest
from harness.rows import ROOT, SHARED, Row, write
from spikeloom import zoo
from spikeloom.calibrate import Balance, Compensate
from spikeloom.capture import capture, load_weights
from spikeloom.convert import Spike
from spikeloom.ir import Context, Program, run
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import SpikingModel

COMMAND = "python benchmarks/runtime.py"
PASSES = [Plan(), Fuse(), Spike(levels=15), Balance(), Compensate()]


def network() -> Program:
    """ResNet-20 as a program."""
    model = zoo.build("cifar-resnet20")
    weights = SHARED / "cifar10_resnet20" / "model.safetensors"
    if weights.exists():
        load_weights(model, weights)
    return capture(model.eval(), (torch.randn(2, 3, 32, 32),))


def ratio_row(name: str, value: float, most: float, control: dict[str, float]) -> Row:
    """One ratio with its limit."""
    return Row(
        name,
        round(value, 3),
        "x",
        COMMAND,
        {key: float(f"{number:.4g}") for key, number in control.items()},
        None,
        f"at most {most}",
        value <= most,
    )


def speed(ann: Program, snn: SpikingModel, seconds: float) -> list[Row]:
    """SNN at T=1 and T=8 against the folded ANN, eager and compiled, batches of 1 and 128."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    folded, rows = run([Fuse()], ann, Context()).module(), list[Row]()
    compiled = {name: torch.compile(part, dynamic=False) for name, part in (("ann", folded), ("snn", snn.network))}
    with torch.inference_mode():
        for batch in (1, 128):
            x = torch.randn(batch, 3, 32, 32)
            eager = fastest({"ann_s": lambda x=x: folded(x), "snn_s": lambda x=x: snn.network(x)}, seconds)
            rows.append(ratio_row(f"SNN T=1 / ANN, eager, batch {batch}", eager["snn_s"] / eager["ann_s"], 1.5, eager))
            fast = fastest({"ann_s": lambda x=x: compiled["ann"](x), "snn_s": lambda x=x: compiled["snn"](x)}, seconds)
            rows.append(ratio_row(f"SNN T=1 / ANN, compiled, batch {batch}", fast["snn_s"] / fast["ann_s"], 1.15, fast))
            long = fastest({"ann_s": lambda x=x: folded(x), "snn_s": lambda x=x: snn(x, timesteps=8)}, 2 * seconds)
            rows.append(ratio_row(f"SNN T=8 / ANN, eager, batch {batch}", long["snn_s"] / long["ann_s"], 8.0, long))
    return rows


def conversion(ann: Program, x: Tensor) -> Row:
    """A conversion in passes of the ANN over the same images, taking turns."""
    folded = run([Fuse()], ann, Context()).module()

    def whole_pass() -> None:
        with torch.inference_mode():
            for part in x.split(64):
                folded(part)

    def convert() -> None:
        run(PASSES, ann, Context(lambda: ((part,) for part in x.split(64))))

    best = fastest({"ann_pass_s": whole_pass, "conversion_s": convert}, 20.0)
    return ratio_row("conversion of ResNet-20 / ANN passes over the same 512 images", best["conversion_s"] / best["ann_pass_s"], 20.0, best)


def memory(kind: str) -> float:
    """Peak resident memory, MiB, of a fresh process that runs the ANN over 512 images, or converts with them."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", kind]
    return float(json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]))


def child(kind: str) -> None:
    """The inside of `memory`: prints the process's peak resident memory in MiB (VmHWM: `ru_maxrss` is inherited from the parent)."""
    ann, x = network(), torch.randn(512, 3, 32, 32)
    if kind == "ann":
        with torch.inference_mode():
            for part in x.split(64):
                ann.module()(part)
    else:
        run(PASSES, ann, Context(lambda: ((part,) for part in x.split(64))))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    sys.stdout.write(json.dumps(int(peak.split()[1]) / 1024) + "\n")


def main() -> None:
    """Measure all and write benchmarks/results/runtime.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="time for each ratio")
    parser.add_argument("--child", choices=["ann", "conversion"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.child:
        child(options.child)
        return
    ann, x = network(), torch.randn(512, 3, 32, 32)
    snn = SpikingModel(run(PASSES, ann, Context(lambda: ((part,) for part in x[:128].split(64)))), timesteps=1)
    rows = [*speed(ann, snn, options.seconds), conversion(ann, x)]
    peak = {kind: memory(kind) for kind in ("ann", "conversion")}
    rows.append(
        ratio_row(
            "peak memory of a conversion / of ANN inference, 512 images",
            peak["conversion"] / peak["ann"],
            2.5,
            {f"{k}_mib": v for k, v in peak.items()},
        )
    )
    for row in rows:
        sys.stdout.write(f"{row.name}: {row.value} {row.control} holds={row.holds}\n")
    write("runtime", rows)


if __name__ == "__main__":
    main()
