"""
Other people's trained networks at T=1: classifiers by accuracy; speech, people, boxes and pixels by agreement with the ANN.

    python benchmarks/models.py [--only NAME] [--keep] [--threads 1] [--placement density]

Needs ../shared/data. One recipe for all: Scale-and-Fire, density-placed levels, mean-squared-error thresholds, layer-by-layer
compensation. Calibration and test samples never overlap. Beside every number stands the control (plain quantisation with as
many levels, DESIGN.md §5) on the same samples, and the population that hurts most (`fidelity`, on up to 32 test samples). A finished
model is kept under artifacts/benchmarks and read again with --keep.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.boxes import Boxes, fastestdet, matched, rfb320
from harness.pictures import from_address, from_files, prepared, speech
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.capture import load
from spikeloom.ir import Context, Program, run
from spikeloom.ir import load as load_program
from spikeloom.pipeline import Settings, convert, evaluate
from spikeloom.pipeline.control import control_of
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.pictures import load_data
from spikeloom.plan import Fuse
from spikeloom.simulate import SpikingModel, executable, fidelity, worst

WORK = ROOT / "artifacts" / "benchmarks"
IMAGENET = f"hf:{SHARED / 'imagenet_sample'}@dev"
LOSSLESS = f"hf:{SHARED / 'cifar10_lossless_test1000'}@test"
Compared = tuple[int, int, int]
"""How many answers of two networks are the same, how many the first gives, how many the second."""


@dataclass(frozen=True)
class Labelled:
    """A classifier and the data sets it is tested on, by name; it may lose 1.5 points against the ANN at N=31."""

    name: str
    source: str
    calibration: str
    samples: int
    tests: dict[str, str]
    preprocessing: dict[str, object] | None = None
    weights: Path | None = None
    levels: int = 31
    at_most: float = 1.5


@dataclass(frozen=True)
class Unlabelled:
    """A network whose answers are compared with the ANN's; `test` gives groups of samples by name, `same` compares two outputs, `near`
    does with leniency."""

    name: str
    source: str
    calibration: Callable[[], Tensor]
    test: Callable[[], dict[str, Tensor]]
    same: Callable[[Any, Any], Compared]
    of: str
    levels: int
    at_least: float
    near: Callable[[Any, Any], Compared] | None = None


def same_answers(a: Tensor, b: Tensor) -> Compared:
    """Classes of samples [B, C], or of pixels [B, C, H, W]."""
    equal = a.argmax(1) == b.argmax(1)
    return int(equal.sum()), equal.numel(), equal.numel()


Decode = Callable[[Any, float], list[Boxes]]
"""From a detector's outputs to its boxes, picture by picture, at a confidence so much lower than its own."""
LENIENT = 0.1


def same_boxes(a: Any, b: Any, decode: Decode) -> Compared:
    """Boxes of the same class with IoU at least 0.5, each in one pair at most."""
    pairs = list(zip(decode(a, 0.0), decode(b, 0.0), strict=True))
    return sum(matched(x, y) for x, y in pairs), sum(len(x.score) for x, _ in pairs), sum(len(y.score) for _, y in pairs)


def near_boxes(a: Any, b: Any, decode: Decode) -> Compared:
    """The boxes of both networks that the other has too at a confidence lower by LENIENT, and all boxes of both, twice."""
    strict, lower = ([decode(each, less) for each in (a, b)] for less in (0.0, LENIENT))
    of_a, of_b = zip(strict[0], lower[1], strict=True), zip(strict[1], lower[0], strict=True)
    boxes = sum(len(each.score) for each in (*strict[0], *strict[1]))
    return sum(matched(x, y) for x, y in (*of_a, *of_b)), boxes, boxes


def objects(output: Tensor, less: float) -> list[Boxes]:
    """FastestDet's boxes, picture by picture."""
    return [fastestdet(each, 0.5 - less) for each in output]


def faces(outputs: tuple[Tensor, Tensor], less: float) -> list[Boxes]:
    """RFB-320's boxes, picture by picture."""
    priors = torch.from_numpy(np.load(SHARED / "face_rfb320" / "priors_4420x4.npy")).float()
    return [rfb320(scores, locations, priors, 0.7 - less) for scores, locations in zip(*outputs, strict=True)]


SMALL, PEOPLE, WIDE = prepared((96, 96), 0.0, 255.0), prepared((352, 352), 0.0, 255.0), prepared((257, 257), 127.5, 127.5)
FACES = prepared((240, 320), 127.0, 128.0)


def bgr(x: Tensor) -> Tensor:
    """Pictures with their colours the other way round."""
    return x.flip(1)


def files(folder: str) -> list[Path]:
    """The pictures that came with a model."""
    return sorted((SHARED / folder / "images").glob("*.jpg"))


MOBILENET: dict[str, object] = {"mean": [127.5] * 3, "std": [127.5] * 3, "scale": 1.0}
MODELS: tuple[Labelled | Unlabelled, ...] = (
    Unlabelled(
        "keyword spotting DS-CNN",
        "kws_dscnn/model.onnx",
        lambda: speech("train"),
        lambda: {"fsdd test clips": speech("test")},
        same_answers,
        "answers",
        31,
        97.0,
    ),
    Labelled(
        "LeNet",
        "zoo:lenet",
        "mnist[:50000]",
        1024,
        {"MNIST training images 50,000 to 60,000, seen in its training": "mnist[50000:]"},
        weights=SHARED / "mnist_lenet_snntoolbox" / "model.safetensors",
    ),
    Labelled(
        "MLPerf-Tiny ResNet-8",
        "cifar10_resnet8_mlperftiny/model.onnx",
        "cifar10",
        1024,
        {"lossless": LOSSLESS, "jpeg": "cifar10"},
        {"scale": 1.0},
    ),
    Unlabelled(
        "visual wake words",
        "vww_mobilenetv1_025/model.onnx",
        lambda: torch.cat([from_address(f"{IMAGENET}[:100]", SMALL), from_address("cifar10@train[:156]", SMALL)]),
        lambda: {"ImageNet pictures": from_address(f"{IMAGENET}[100:]", SMALL), "CIFAR-10 pictures": from_address(LOSSLESS, SMALL)},
        same_answers,
        "answers",
        31,
        97.0,
    ),
    Labelled(
        "MobileNetV1 0.25",
        "imagenet_mobilenetv1_025_224/model.onnx",
        f"{IMAGENET}[:100]",
        100,
        {"ImageNet sample, last 400": f"{IMAGENET}[100:]"},
        MOBILENET,
    ),
    Unlabelled(
        "RFB-320",
        "face_rfb320/model.onnx",
        lambda: from_address(f"{IMAGENET}[:200]", FACES),
        lambda: {"its pictures": from_files(files("face_rfb320"), FACES), "ImageNet pictures": from_address(f"{IMAGENET}[200:]", FACES)},
        partial(same_boxes, decode=faces),
        "boxes",
        63,
        95.0,
        partial(near_boxes, decode=faces),
    ),
    Unlabelled(
        "FastestDet",
        "fastestdet_coco/model.onnx",
        lambda: bgr(from_address(f"{IMAGENET}[:200]", PEOPLE)),
        lambda: {
            "its pictures": bgr(from_files(files("fastestdet_coco"), PEOPLE)),
            "ImageNet pictures": bgr(from_address(f"{IMAGENET}[200:]", PEOPLE)),
        },
        partial(same_boxes, decode=objects),
        "boxes",
        63,
        95.0,
        partial(near_boxes, decode=objects),
    ),
    Unlabelled(
        "DeepLabv3",
        "deeplabv3_mnv2_pascal/model.onnx",
        lambda: from_address(f"{IMAGENET}[:64]", WIDE),
        lambda: {
            "its picture": from_files([SHARED / "deeplabv3_mnv2_pascal" / "bird.png"], WIDE),
            "ImageNet pictures": from_address(f"{IMAGENET}[460:]", WIDE),
        },
        same_answers,
        "pixels",
        63,
        95.0,
    ),
    Labelled(
        "MobileNetV2 1.0",
        "imagenet_mobilenetv2_100_224/model_w8_qdq.onnx",
        f"{IMAGENET}[:100]",
        100,
        {"ImageNet sample, last 400": f"{IMAGENET}[100:]"},
        MOBILENET,
    ),
)


def address_of(model: Labelled | Unlabelled) -> str:
    """Where a model's weights come from."""
    return f"onnx:{SHARED / model.source}" if model.source.endswith(".onnx") else model.source


def settings_of(model: Labelled | Unlabelled, placement: str) -> Settings:
    """The one recipe, for one model."""
    shared = {"source": address_of(model), "timesteps": 1, "levels": model.levels, "placement": placement, "batch_size": 25}
    if isinstance(model, Unlabelled):
        return Settings(**shared)
    return Settings(
        **shared,
        weights=model.weights,
        dataset=model.calibration,
        data_root=SHARED,
        output_dir=WORK / model.name.replace(" ", "_"),
        calibration_samples=model.samples,
        samples=8,  # what counts is measured on the test sets, by `evaluate`
        preprocessing=model.preprocessing,
    )


def diagnosis(snn: Program, ann: Program, x: Tensor) -> dict[str, Any] | None:
    """The population that loses most against what feeds it, on these samples, and the last one's ratio."""
    found = fidelity(snn, run([Fuse()], ann, Context()), ((part,) for part in x.split(8)), 1)
    bad = worst(found)
    if bad is None:
        return None
    place = [row.node for row in found].index(bad.node) + 1
    told = {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(bad).items()}
    return told | {"place": f"{place} of {len(found)}", "last_sqnr_db": round(found[-1].sqnr_db, 2)}


def judged_labelled(model: Labelled, placement: str) -> dict[str, Any]:
    """What a classifier does on its test sets."""
    settings = settings_of(model, placement)
    began = time.perf_counter()
    convert(settings)
    seconds = time.perf_counter() - began
    found = {place: evaluate(settings.output_dir, address, data_root=SHARED) for place, address in model.tests.items()}
    shutil.rmtree(settings.output_dir / "phases", ignore_errors=True)
    snn = SpikingModel.open(settings.output_dir)
    ann = load_program(settings.output_dir / "ann")
    return {"tests": found, "worst": diagnosis(snn.program, ann, _sample(model, ann)), "seconds": seconds}


def _sample(model: Labelled, ann: Program) -> Tensor:
    """The first 32 samples of a classifier's first test set."""
    data = load_data(next(iter(model.tests.values())), "test", ann.settings, Settings(data_root=SHARED), 32)
    return torch.stack([data[place][0] for place in range(len(data))])


def judged_unlabelled(model: Unlabelled, placement: str) -> dict[str, Any]:
    """How many answers of the SNN, and of the control, are the ANN's."""
    ann, calibration = load(address_of(model)), model.calibration()

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for part in calibration.split(25):
            yield (part,)

    context, settings = Context(stream), settings_of(model, placement)
    began = time.perf_counter()
    first, second = passes_of(settings)
    snn = run([*first, *second], ann, context)
    seconds = time.perf_counter() - began
    control = control_of(ann, context, levels=model.levels, timesteps=1, per_channel=True, percentile=99.9, samples=256)
    tests = model.test()
    modules = {"ann": ann.module(), "snn": executable(snn, 1), "control": executable(control, 1)}
    found = {place: _compared(model, modules, x) for place, x in tests.items()}
    x = torch.cat([part[:16] for part in tests.values()])[:32]
    return {"tests": found, "worst": diagnosis(snn, ann, x), "seconds": seconds, "calibration": len(calibration)}


def _compared(model: Unlabelled, modules: dict[str, Any], x: Tensor) -> dict[str, Any]:
    measures = {"": model.same} if model.near is None else {"": model.same, " near": model.near}
    totals = {name + measure: np.zeros(3, int) for name in ("snn", "control") for measure in measures}
    with torch.inference_mode():
        for part in x.split(10):
            exact = modules["ann"](part)
            for name in ("snn", "control"):
                given = modules[name](part)
                for measure, same in measures.items():
                    totals[name + measure] += same(exact, given)
    return {name: total.tolist() for name, total in totals.items()} | {"samples": len(x)}


def kept(model: Labelled | Unlabelled, placement: str, keep: bool) -> dict[str, Any]:
    """What a model does, from an earlier run where that is asked for."""
    path = WORK / f"model_{model.name.replace(' ', '_')}_{placement}.json"
    if keep and path.exists():
        return json.loads(path.read_text())
    found = judged_labelled(model, placement) if isinstance(model, Labelled) else judged_unlabelled(model, placement)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def labelled_rows(model: Labelled, found: dict[str, Any], placement: str, command: str) -> list[Row]:
    """Accuracy and agreement on every test set."""
    made: list[Row] = []
    for place, metrics in found["tests"].items():
        accuracy = {key: round(100 * value, 2) for key, value in metrics["accuracy"].items()}
        beside = {"ann": accuracy["ann"], "control": accuracy["control"], "mcnemar_p": metrics["mcnemar"]["p"]}
        beside |= {
            "images": metrics["samples"],
            "placement": placement,
            "calibration_images": model.samples,
            "worst_population": found["worst"],
        }
        holds = accuracy["ann"] - accuracy["snn"] <= model.at_most + 1e-9
        told, name = f"at most {model.at_most} under the ANN", f"{model.name} N={model.levels} T=1"
        made.append(Row(f"{name} accuracy, {place}", accuracy["snn"], "%", command, beside, None, told, holds))
        agreement = round(100 * metrics["agreement"], 2)
        made.append(Row(f"{name} agreement, {place}", agreement, "%", command, {"images": metrics["samples"]}))
    return made


def share(counts: list[int]) -> float:
    """The same answers as a share of those of the network that gives more, in percent."""
    return round(100 * counts[0] / max(*counts[1:], 1), 2)


def unlabelled_rows(model: Unlabelled, found: dict[str, Any], placement: str, command: str) -> list[Row]:
    """Agreement on every group of samples and, where there are several, on all together, which is what the target is for."""
    tests = dict(found["tests"])
    if len(tests) > 1:
        parts = list(tests.values())
        summed = {name: np.sum([part[name] for part in parts], 0).tolist() for name in parts[0] if name != "samples"}
        tests["all"] = summed | {"samples": sum(part["samples"] for part in parts)}
    made: list[Row] = []
    for place, counts in tests.items():
        whole = place == list(tests)[-1]
        same, of_ann, of_snn = counts["snn"]
        beside = {"control": share(counts["control"]), "images": counts["samples"], "placement": placement}
        beside |= {f"same_{model.of}": same, f"ann_{model.of}": of_ann, f"snn_{model.of}": of_snn}
        beside |= {"calibration_samples": found["calibration"], "worst_population": found["worst"]} if whole else {}
        value, told = share(counts["snn"]), f"at least {model.at_least} % the same as the ANN's"
        name = f"{model.name} N={model.levels} T=1 {model.of} as the ANN's, {place}"
        made.append(Row(name, value, "%", command, beside, None, told if whole else None, value >= model.at_least if whole else None))
        if whole and "snn near" in counts:
            beside = {"control": share(counts["control near"]), "of": "the boxes of both networks; the other's may be less sure"}
            made.append(Row(f"{name}, confidence within {LENIENT}", share(counts["snn near"]), "%", command, beside))
    return made


def main() -> None:
    """Run what was asked for and write benchmarks/results/models.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="models whose name holds this text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--placement", default="density", choices=("uniform", "density"))
    parser.add_argument("--keep", action="store_true", help="read finished models again instead of repeating them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    made: list[Row] = []
    for model in MODELS:
        if options.only and options.only not in model.name:
            continue
        found, command = kept(model, options.placement, options.keep), f"python benchmarks/models.py --only '{model.name}'"
        rows = labelled_rows if isinstance(model, Labelled) else unlabelled_rows
        new = rows(model, found, options.placement, command)
        made += new
        sys.stdout.write("\n".join(f"{row.name}: {row.value} {row.control} holds={row.holds}" for row in new) + "\n")
        sys.stdout.flush()
        write("models", made, part=bool(options.only))


if __name__ == "__main__":
    main()
