"""
A logic-gated network on CIFAR-10 under the corruptions of CIFAR-10-C, drawn here, beside a smaller network in floating point.

Trained on JPEG training pictures, shifted and mirrored, under Gaussian noise, occlusion and dropped pixels of 0 to 0.2; judged on all test
pictures, clean and under four corruptions of severities 1, 3 and 5, of which blur, brightness and JPEG were never met in training. The
int8 network is the floating one with weights and values rounded. The ternary network is half as wide again and adds the counts of a
stage's first convolution to those of its second: a tenth of the memory. A network trained without noise is left out, for its time.
"""

import torch
from torch import Tensor, nn

from gated.pictures import WORK, Kept, memory, parameters, rounded
from harness.rows import SHARED, Row
from spikeloom import datasets
from spikeloom.datasets import Preprocessing
from spikeloom.datasets.corruptions import corrupted
from spikeloom.logic import convolutional, floating_twin
from spikeloom.train import Noise, train_classifier

COMMAND = "python benchmarks/logic_gated.py --parts cifar10"
CHANNELS, WIDER, HIDDEN, BITS = (32, 64, 128), (48, 96, 192), 512, (0.2, 0.4, 0.6, 0.8)
CORRUPTIONS = ("gaussian_noise", "gaussian_blur", "brightness", "jpeg")
NOISE = Noise(("gaussian", "occlusion", "dropped"), 0.0, 0.2, curriculum=False)
SHARED_OPTIONS = {"batch_size": 128, "optimiser": "adamw", "schedule": "cosine", "weight_decay": 0.0, "precision": "bfloat16"}


def loaded(split: str) -> Kept:
    """Pictures of values from 0 to 1."""
    prepared = Preprocessing(channels=3, size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    data = datasets.load("cifar10", split, prepared, SHARED)  # pyright: ignore[reportArgumentType]
    return Kept(*data.gather(torch.arange(len(data))))


def curve(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy, %, clean and under each corruption, the mean of its severities."""

    def right(inputs: Tensor) -> float:
        with torch.inference_mode():
            return 100 * float((torch.cat([model(part).argmax(1) for part in inputs.split(250)]) == y).float().mean())

    model.eval()
    found = {kind: sum(right(corrupted(x, kind, severity, seed=5)) for severity in (1, 3, 5)) / 3 for kind in CORRUPTIONS}
    return {name: round(value, 2) for name, value in {"clean": right(x), **found}.items()}


def rows(epochs: int = 12) -> list[Row]:
    """The most points that the ternary network is under the floating one, over clean pictures and all corruptions."""
    train, test = loaded("train"), loaded("test")
    torch.manual_seed(0)
    network = convolutional((3, 32, 32), WIDER, HIDDEN, 10, BITS, residual=True)
    floating = floating_twin(convolutional((3, 32, 32), CHANNELS, HIDDEN, 10, BITS))
    curves, sizes = dict[str, dict[str, float]](), dict[str, int]()
    teacher = None
    for label, model, rate in (("fp32", floating, 2e-3), ("ternary", network, 0.01)):
        taught = {} if teacher is None else {"teacher": teacher, "distil": 0.7}
        some = Kept(test.x[:100], test.y[:100])
        place = WORK / f"cifar10-{label}.safetensors"
        options = {**SHARED_OPTIONS, **taught, "augment": "cifar", "noise": NOISE, "epochs": epochs, "lr": rate}
        model.compile()
        result = train_classifier(model, train, some, **options, checkpoint=place, resume=True)  # pyright: ignore[reportArgumentType]
        teacher = result.model.eval()
        curves[label] = curve(teacher, test.x, test.y)
        print(f"{label}: {curves[label]}", flush=True)
        if label == "fp32":
            sizes = {"ternary": memory(network), "fp32": 4 * parameters(teacher)}
            curves["int8"] = curve(rounded(teacher, train.x[:512]), test.x, test.y)
    gaps = {name: round(value - curves["ternary"][name], 2) for name, value in curves["fp32"].items()}
    training = {"both": f"{epochs} epochs under noise", "ternary": "taught by the fp32 network (answers weigh 0.7)"}
    facts = {**curves, "images": len(test), "training": training, "weight_bytes": sizes}
    title = "cifar10, convolutional 48-96-192, fp32 32-64-128, corruptions: most points under fp32"
    return [Row(title, max(gaps.values()), "points", COMMAND, facts, None, None, None)]
