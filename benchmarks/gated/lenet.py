"""
LeNet from ../shared/data, whole, in gates: taught by the ANN on the first 50,000 MNIST pictures (a tenth of them held out), judged on the
last 10,000, which it was not taught on (the ANN has seen all of them).
"""

from pathlib import Path

from harness.rows import ROOT, SHARED, Row
from spikeloom.logic import PackedNetwork
from spikeloom.pipeline import Settings, convert, evaluate
from spikeloom.simulate import SpikingModel

COMMAND = "python benchmarks/logic_gated.py --parts lenet"
WORK = ROOT / "artifacts" / "benchmarks" / "logic_gated"


def rows(gates: int = 2, epochs: int = 8) -> list[Row]:
    """Accuracy beside the ANN and the control."""
    folder: Path = WORK / "lenet"
    settings = Settings(
        source="zoo:lenet",
        weights=SHARED / "mnist_lenet_snntoolbox" / "model.safetensors",
        dataset="mnist[:50000]",
        data_root=SHARED,
        output_dir=folder,
        method="logic_gated",
        timesteps=1,
        gates=gates,
        gate_epochs=epochs,
        samples=1000,
        resume=True,
    )
    converted = convert(settings)
    found = evaluate(folder, "mnist[50000:]", data_root=SHARED)
    reached = {name: round(100 * value, 2) for name, value in found["accuracy"].items()}
    facts = {"ann": reached["ann"], "control": reached["control"], "agreement": round(100 * found["agreement"], 2)}
    facts |= {"images": found["samples"], "gates": gates, "epochs": epochs, "energy_pj": found["energy_pj"]}
    facts |= {"weight_bytes": PackedNetwork(SpikingModel.open(converted.folder).program).weight_bytes}
    title = "LeNet whole in gates: accuracy, MNIST 50,000 to 60,000"
    return [Row(title, reached["snn"], "%", COMMAND, facts, None, "at least 98", reached["snn"] >= 98)]
