"""
Continual learning by local rules: drifted streams, new classes, and chips; against frozen networks and gradient fine-tuning.

    python benchmarks/continual.py [--only drift|classes|skew|device] [--threads 1] [--seeds 3]

`drift`: LeNet on MNIST (weights of others) and on Fashion-MNIST (trained here on 20,000 pictures) at T = 1, N = 15 meets a stream of 2,000
drifted pictures, 5 % of them with labels; `classes`: LeNet trained on classes 0 to 7 meets all ten, 5 % with labels. Both are judged on
1,000 other pictures of the drifted kind, and on 1,000 of the first kind (forgetting; MNIST's weights were trained on them). The local
learner tells contexts apart there, too; beside it the network it saves, with one context's knobs. Gradient fine-tuning (Adam) has the
same labels and more replay (after each batch eight times 16 kept samples; the local rules 8 after each label), at the one of two or three
learning rates that ends best on the drifted test pictures with the first seed, which favours it. `±` is half of a 95 % interval over
seeds (of which pictures have labels, and of replay), by Student's t.
`skew`: LeNet, knowing all ten classes, meets a stream of two of them alone, which is no drift but looks like one to neurons.
`device`: ResNet-20 at T = 1, N = 15 on chips with 20 % mismatch of thresholds and 2 % dead neurons: homeostasis from spikes alone on 512
unlabelled training pictures, shown twice, against closed-form calibration, ECL and HSEO (12 candidates, 6 generations, 256 pictures) on
the same pictures and chips; judged on 1,000 test pictures.
What was run is kept under artifacts/, so that a stopped benchmark goes on.
Needs ../shared/data (mnist, mnist_lenet_snntoolbox, fashion_mnist, cifar10, cifar10_resnet20).
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from scipy.stats import t as student
from torch import Tensor
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.drifts import DRIFTS, drifted
from harness.finetuned import finetuned
from harness.kept import Runs, code_of
from harness.rows import ROOT, SHARED, Row, write
from spikeloom import datasets
from spikeloom.calibrate import Compensate, Device, LearnCompensation
from spikeloom.datasets import Preprocessing
from spikeloom.evolve import Evolve
from spikeloom.ir import Context, Program, load, read, run, save
from spikeloom.pipeline import Settings
from spikeloom.pipeline import convert_model as convert
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.chips import on_chip
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.reference import towards
from spikeloom.simulate import SpikingModel
from spikeloom.train import Contexts, DeltaRule, Homeostasis, LocalRules, begin_learner, train_classifier
from spikeloom.zoo.lenet import lenet

WORK = ROOT / "artifacts" / "benchmarks" / "continual"
COMMAND = "python benchmarks/continual.py --threads 1"
STREAM, UNSEEN, BATCH, TOLD, TAUGHT, SEEDS = 2000, 1000, 32, 0.05, 20_000, 3
RUNS = Runs(
    WORK / "runs",
    code_of(
        [
            *(ROOT / "src" / "spikeloom" / "train").glob("*.py"),
            *(ROOT / "benchmarks" / "harness" / f"{name}.py" for name in ("drifts", "finetuned")),
        ]
    ),
)
RATES = {"readout": (1e-3, 3e-3, 1e-2), "everything": (1e-4, 3e-4)}
CHIP: dict[str, Any] = {"threshold_mismatch": 0.2, "dead": 0.02}
ON_CHIP = LocalRules(Homeostasis("spikes", "neuron", horizon=2048, settle=0), DeltaRule(), Contexts(1))
Predict = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Task:
    """A network and its pictures: unlabelled ones it was calibrated on, the stream, unseen ones to be drifted, unseen ones as they are."""

    name: str
    snn: SpikingModel
    calm: Tensor
    stream: tuple[Tensor, Tensor]
    unseen: tuple[Tensor, Tensor]
    first: tuple[Tensor, Tensor]


def pictures(name: str, first: int, count: int) -> tuple[Tensor, Tensor]:
    """So many training pictures of a set, from one on, and their labels; MNIST is here without its test pictures, so that all are one."""
    data = datasets.load(f"{name}[{first}:{first + count}]", "test" if name == "mnist" else "train", None, SHARED)
    return data.gather(list(range(len(data))))


def taught(name: str, classes: int) -> torch.nn.Module:
    """LeNet after two epochs on the pictures of the first classes."""
    kept, model = WORK / f"lenet-{name}-{classes}.safetensors", lenet(classes)
    if kept.exists():
        model.load_state_dict(load_file(kept))
        return model.eval()
    torch.manual_seed(0)
    x, y = pictures(name, 0, TAUGHT)
    part = TensorDataset(x[y < classes], y[y < classes])
    held = TensorDataset(x[y < classes][:500], y[y < classes][:500])
    model = train_classifier(lenet(classes), part, held, epochs=2, batch_size=128, lr=0.05).model  # pyright: ignore[reportArgumentType]
    save_file(model.state_dict(), kept)
    return model.eval()


def spiking(model: torch.nn.Module, calm: Tensor) -> SpikingModel:
    """Scale-and-Fire, T = 1, N = 15."""
    return convert(model, calm, Settings(timesteps=1, levels=15))


def task(name: str, model: torch.nn.Module, classes: int = 10) -> Task:
    """The network on its set, with pictures none of which it was trained on here."""
    x, y = pictures(name, 0, 1000)
    calm = x[y < classes][:512]
    stream, unseen, first = pictures(name, 30_000, STREAM), pictures(name, 32_000, UNSEEN), pictures(name, 33_000, UNSEEN)
    return Task(name, spiking(model, calm), calm, stream, unseen, first)


def with_labels(x: Tensor, y: Tensor, seed: int, share: float = TOLD) -> Iterator[tuple[Tensor, Tensor]]:
    """The stream in batches; labels are -1 but for a share of the samples."""
    told = torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < share
    return zip(x.split(BATCH), torch.where(told, y, -1).split(BATCH), strict=True)


def accuracy(predict: Predict, x: Tensor, y: Tensor) -> float:
    """In percent."""
    with torch.no_grad():
        found = torch.cat([predict(each) for each in x.split(100)])
    return 100 * float((found == y).float().mean())


def answering(snn: SpikingModel) -> Predict:
    """A network's predictions."""
    return lambda x: snn(x).argmax(1)


Tests = dict[str, tuple[Tensor, Tensor]]


def learnt(here: Task, x: Tensor, rules: LocalRules, seed: int, share: float, tests: Tests) -> dict[str, Any]:
    """What a learner is worth on the way and afterwards, and what the network it gives is."""

    def run() -> dict[str, Any]:
        learner, hits = begin_learner(here.snn, here.calm.split(64), rules, seed=seed), 0
        began = time.process_time()
        truth = here.stream[1].split(BATCH)
        for (images, labels), right in zip(with_labels(x, here.stream[1], seed, share), truth, strict=True):
            hits += int((learner.step(images, labels) == right).sum())
        told: dict[str, Any] = {"stream": 100 * hits / len(x), "cpu_s": time.process_time() - began, "labels": learner.memory.labels}
        told |= {name: accuracy(learner.predict, *test) for name, test in tests.items()}
        network = answering(learner.model())
        return told | {f"{name}, saved": accuracy(network, *test) for name, test in tests.items()}

    return RUNS.kept(f"{named(here, x, tests)} {rules} {seed} {share}", run)


def tuned(here: Task, x: Tensor, what: Any, seed: int, tests: Tests) -> dict[str, Any]:
    """Fine-tuning by gradients at the rate that ends best with the first seed."""

    def run(rate: float, seed: int) -> dict[str, Any]:
        began = time.process_time()
        made = finetuned(here.snn, with_labels(x, here.stream[1], seed), what, rate=rate, classes=10, seed=seed)
        told = {"stream": 100 * float((made.predictions == here.stream[1]).float().mean()), "cpu_s": time.process_time() - began}
        return told | {name: accuracy(made.predict, *test) for name, test in tests.items()} | {"rate": rate}

    def kept(rate: float, seed: int) -> dict[str, Any]:
        return RUNS.kept(f"{named(here, x, tests)} gradient {what} {rate} {seed}", lambda: run(rate, seed))

    best = max(RATES[what], key=lambda rate: kept(rate, 0)["afterwards"])
    return kept(best, seed)


def named(here: Task, x: Tensor, tests: Tests) -> str:
    """What a run is of: network, stream and test pictures, by their sums."""
    parts = [*here.snn.program.tensors.values(), here.calm, x, *(each for test in tests.values() for each in test)]
    return f"{here.name} {' '.join(f'{float(read(part).double().sum()):.6f}' for part in parts)}"


def half(values: list[float]) -> float | None:
    """Half of the 95 % interval of a mean; None of a single value."""
    if len(values) < 2:
        return None
    return round(float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5, 2)


def over_seeds(seeds: int, one: Callable[[int], dict[str, float]]) -> dict[str, Any]:
    """The mean of every number over seeds, rounded; `±` of the accuracy afterwards, and `each` of it, where there are several."""
    found = [one(seed) for seed in range(seeds)]
    means: dict[str, Any] = {key: round(fmean(each[key] for each in found), 4 if key == "rate" else 2) for key in found[0]}
    each = [round(each["afterwards"], 2) for each in found]
    return means | ({"±": half(each), "each": each} if seeds > 1 else {})


def tasks() -> list[Task]:
    """Both networks that know ten classes."""
    model = lenet(10)
    model.load_state_dict(load_file(SHARED / "mnist_lenet_snntoolbox" / "model.safetensors"))
    return [task("mnist", model.eval()), task("fashion_mnist", taught("fashion_mnist", 10))]


def drift(seeds: int) -> list[Row]:
    """Both networks, every drift, every way to adapt."""
    rows: list[Row] = []
    for here in tasks():
        for kind in DRIFTS:
            print(here.name, kind, local_ways(here, kind, seeds)["local"], flush=True)
        found = {kind: one_drift(here, kind, seeds) for kind in DRIFTS}
        for kind, numbers in found.items():
            name = f"LeNet {here.name}, {kind}: accuracy after the stream, local rules with {TOLD:.0%} of labels"
            rows.append(Row(name, round(numbers["local"]["afterwards"], 1), "%", f"{COMMAND} --only drift", numbers))
            print(rows[-1].name, rows[-1].value, numbers, flush=True)
        rows += summary(here.name, found)
    return rows


def one_drift(here: Task, kind: str, seeds: int) -> dict[str, dict[str, Any]]:
    """One drift of one network."""
    x, tests = drifted(here.stream[0], kind, 1), tests_of(here, kind)
    frozen = {name: round(accuracy(answering(here.snn), *test), 2) for name, test in tests.items()}
    found = {"frozen": frozen, **local_ways(here, kind, seeds)}
    for what in RATES:
        found[f"gradient, {what}"] = over_seeds(seeds, lambda seed, w=what: tuned(here, x, w, seed, tests))
    return found


def tests_of(here: Task, kind: str) -> Tests:
    """Unseen pictures, drifted, and of the first kind."""
    return {"afterwards": (drifted(here.unseen[0], kind, 2), here.unseen[1]), "first kind": here.first}


def local_ways(here: Task, kind: str, seeds: int) -> dict[str, dict[str, Any]]:
    """Local rules without labels, with few, and parts of them."""
    x, tests = drifted(here.stream[0], kind, 1), tests_of(here, kind)
    plain = dataclasses.replace(DeltaRule(), shielded=False, rate=0.1)
    ways: dict[str, LocalRules] = {
        "local": LocalRules(),
        "readout alone": LocalRules(homeostasis=None),
        "plain delta rule alone": LocalRules(homeostasis=None, readout=plain),
    }
    found = {"without labels": over_seeds(1, lambda seed: learnt(here, x, LocalRules(), seed, 0.0, tests))}
    return found | {name: over_seeds(seeds, lambda seed, r=rules: learnt(here, x, r, seed, TOLD, tests)) for name, rules in ways.items()}


def summary(name: str, found: dict[str, dict[str, dict[str, Any]]]) -> list[Row]:
    """Means over drifts; what local rules are ahead of fine-tuning, seed by seed."""
    ways = next(iter(found.values()))
    mean = {key: {way: round(fmean(each[way][key] for each in found.values()), 1) for way in ways} for key in ("afterwards", "first kind")}
    after, first, command = mean["afterwards"], mean["first kind"], f"{COMMAND} --only drift"
    lost = round(first["frozen"] - first["local"], 1)
    shown = ("frozen", "without labels", "gradient, readout", "gradient, everything")
    by_seed = {
        way: [fmean(column) for column in zip(*(each[way]["each"] for each in found.values()), strict=True)]
        for way in ways
        if "each" in ways[way]
    }
    ahead = [a - b for a, b in zip(by_seed["local"], by_seed["gradient, everything"], strict=True)]
    losing = [kind for kind, each in found.items() if each["local"]["afterwards"] < each["gradient, everything"]["afterwards"]]
    told = {
        "ahead of gradient, everything": [round(fmean(ahead), 1), half(ahead)],
        "behind it on": losing,
        "local ±": half(by_seed["local"]),
    }
    return [
        Row(
            f"LeNet {name}, {len(found)} drifts: accuracy after the stream, local rules with {TOLD:.0%} of labels",
            after["local"],
            "%",
            command,
            {way: after[way] for way in shown} | told,
            {way: value for way, value in after.items() if way not in shown},
            "at least gradient fine-tuning of everything",
            after["local"] >= after["gradient, everything"],
        ),
        Row(
            f"LeNet {name}, {len(found)} drifts: accuracy on pictures of the first kind that is lost by then",
            lost,
            "points",
            command,
            {way: round(first["frozen"] - first[way], 1) for way in shown},
            None,
            "at most 1",
            lost <= 1,
        ),
    ]


def classes(seeds: int) -> list[Row]:
    """Networks that know eight classes meet ten."""
    return [row for name in ("mnist", "fashion_mnist") for row in new_classes(task(name, taught(name, 8), 8), seeds)]


def new_classes(here: Task, seeds: int) -> list[Row]:
    """One of them."""
    x, y = (torch.cat([a, b]) for a, b in zip(here.unseen, here.first, strict=True))
    tests = {"afterwards": (x, y), "new": (x[y >= 8], y[y >= 8]), "old": (x[y < 8], y[y < 8])}
    rules, stream = LocalRules(readout=DeltaRule(classes=10)), here.stream[0]
    found = {"frozen": {key: round(accuracy(answering(here.snn), *test), 2) for key, test in tests.items()}}
    found["local"] = over_seeds(seeds, lambda seed: learnt(here, stream, rules, seed, TOLD, tests))
    for what in RATES:
        found[f"gradient, {what}"] = over_seeds(seeds, lambda seed, w=what: tuned(here, stream, w, seed, tests))
    print(here.name, found, flush=True)
    brief = {way: numbers["afterwards"] for way, numbers in found.items() if way != "local"} | {"local ±": found["local"]["±"]}
    title, local, command = f"LeNet {here.name} of 8 classes after {STREAM} pictures of 10", found["local"], f"{COMMAND} --only classes"
    target, holds = "within 2 of gradient, readout", local["afterwards"] >= brief["gradient, readout"] - 2
    lost = {way: round(found["frozen"]["old"] - numbers["old"], 1) for way, numbers in found.items() if way != "frozen"}
    new = {f"on the 2 new, {way}": numbers["new"] for way, numbers in found.items() if way != "frozen"}
    return [
        Row(f"{title}: accuracy, local rules", round(local["afterwards"], 1), "%", command, brief, found, target, holds),
        Row(f"{title}: accuracy lost on the 8", lost.pop("local"), "points", command, lost | new),
    ]


def skew(seeds: int) -> list[Row]:
    """Streams of two classes, whose pictures are as they always were."""
    return [skewed(here, seeds) for here in tasks()]


def skewed(here: Task, seeds: int) -> Row:
    """One of them."""
    (x, y), (test, truth) = here.stream, (torch.cat([a, b]) for a, b in zip(here.unseen, here.first, strict=True))
    here = dataclasses.replace(here, stream=(x[y < 2].repeat(3, 1, 1, 1), y[y < 2].repeat(3)))
    tests = {"afterwards": (test[truth < 2], truth[truth < 2]), "all ten": (test, truth)}
    found: dict[str, Any] = {"frozen": {key: round(accuracy(answering(here.snn), *each), 2) for key, each in tests.items()}}
    found["without labels"] = over_seeds(1, lambda seed: learnt(here, here.stream[0], LocalRules(), seed, 0.0, tests))
    found["local"] = over_seeds(seeds, lambda seed: learnt(here, here.stream[0], LocalRules(), seed, TOLD, tests))
    lost = {way: round(found["frozen"]["afterwards"] - each["afterwards"], 1) for way, each in found.items() if way != "frozen"}
    title = f"LeNet {here.name}, {len(here.stream[0])} pictures of two classes, no drift: accuracy on them that is lost"
    ways = lost | {"±": found["local"]["±"]}
    return Row(
        f"{title}, {TOLD:.0%} of labels", lost["local"], "points", f"{COMMAND} --only skew", ways, found, "at most 1", lost["local"] <= 1
    )


def resnet() -> tuple[Program, Program]:
    """The ANN and the SNN of ResNet-20, without a chip."""
    where, weights = WORK / "resnet", SHARED / "cifar10_resnet20" / "model.safetensors"
    if not where.exists():
        told: dict[str, Any] = {"weights": weights, "dataset": "cifar10", "data_root": SHARED, "output_dir": WORK, "timesteps": 1}
        settings = Settings(source="zoo:cifar-resnet20", **told)
        ann = ingest(settings, WORK / "unused", lambda *_: None)
        first, second = passes_of(settings)
        snn = run([*first, *second], ann, Context(calibration_stream(ann, "cifar10", settings, 512)))
        save(snn.replaced(settings={**snn.settings, "timesteps": 1}), where, {"ann": ann})
    return load(where / "ann"), load(where)


def device(seeds: int) -> list[Row]:
    """Chips, one a seed."""
    ann, snn = resnet()
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in ann.settings["preprocessing"].items()
    }
    calm, labels = datasets.load("cifar10", "calibration", Preprocessing(**known), SHARED, limit=512).gather(list(range(512)))
    test = datasets.load("cifar10", "test", Preprocessing(**known), SHARED, limit=1000).gather(list(range(1000)))
    found = [RUNS.kept(f"chip {draw} {CHIP}", lambda d=draw: one_chip(ann, snn, d, calm, labels, test)) for draw in range(seeds)]
    mean = {key: round(fmean(each[key] for each in found), 1) for key in found[0]}
    whole = round(accuracy(answering(SpikingModel(snn)), *test), 1)
    cost = whole - mean["on the chip"]
    ways = [way for way in mean if "cpu" not in way]
    each = {way: [100 * (chip[way] - chip["on the chip"]) / (whole - chip["on the chip"]) for chip in found] for way in ways}
    back = {way: round(100 * (value - mean["on the chip"]) / cost, 1) for way, value in mean.items() if way in ways}
    title = f"ResNet-20 T=1 on {seeds} chips of 20 % mismatch: of {cost:.1f} points lost, jpeg"
    command, local = f"{COMMAND} --only device", back["homeostasis"]
    others = {way: [back[way], half(each[way])] for way in ("homeostasis", "closed form", "ECL", "HSEO")}
    detail = mean | {"without chip": whole, "chips": found}
    return [
        Row(f"{title}, homeostasis without labels recovers", local, "%", command, others, detail, "more than ECL", local > back["ECL"]),
        Row(f"{title}, with the delta rule on 512 labels", back["homeostasis, delta rule"], "%", command),
        Row(f"{title}, with closed-form calibration after it", back["homeostasis, closed form"], "%", command),
    ]


def one_chip(ann: Program, snn: Program, draw: int, calm: Tensor, labels: Tensor, test: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Every way to bring the network to one chip."""
    chip = on_chip(snn, Device(draw=draw, **CHIP))
    data = Context(lambda: ((each,) for each in calm.split(64)))
    context = dataclasses.replace(towards(snn, ann, data), seed=draw)
    made: dict[str, Callable[[], Program]] = {
        "on the chip": lambda: chip,
        "closed form": lambda: run([Compensate(1)], chip, context),
        "ECL": lambda: run([Compensate(1), LearnCompensation(1)], chip, context),
        "HSEO": lambda: run([Evolve(1, 12, 6, samples=256)], chip, dataclasses.replace(data, reference=ann, seed=draw)),
    }
    found: dict[str, float] = {}
    for way, how in made.items():
        began = time.perf_counter()
        found[way] = accuracy(answering(SpikingModel(how())), *test)
        found[f"{way}, s (cpu shared)"] = round(time.perf_counter() - began, 1)
    learner = begin_learner(SpikingModel(chip), calm.split(64), ON_CHIP, reference=SpikingModel(snn), seed=draw)
    for images in calm.repeat(2, 1, 1, 1).split(16):
        learner.step(images)
    adapted = learner.model()
    found["homeostasis"] = accuracy(answering(adapted), *test)
    found["homeostasis, closed form"] = accuracy(answering(SpikingModel(run([Compensate(1)], adapted.program, context))), *test)
    for images, truth in zip(calm.split(16), labels.split(16), strict=True):
        learner.step(images, truth)
    found["homeostasis, delta rule"] = accuracy(learner.predict, *test)
    print(draw, found, flush=True)
    return found


def main() -> None:
    """Run what was asked for and write benchmarks/results/continual.json."""
    parts = {"skew": skew, "classes": classes, "drift": drift, "device": device}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(parts))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of labels and replay; for device, chips")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("an interval needs two seeds or more")
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    WORK.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        if options.only in (None, name):
            made = part(options.seeds)
            print("\n".join(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}" for row in made), flush=True)
            if options.seeds == SEEDS:
                write("continual", made, part=True)


if __name__ == "__main__":
    main()
