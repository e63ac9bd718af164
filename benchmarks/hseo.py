"""
HSEO against random search, CMA-ES, Bayesian optimisation (TPE) and the closed form alone, on networks whose thresholds were balanced.

    python benchmarks/hseo.py [--only TASK] [--seeds 5] [--keep]

Needs ../shared/data (cifar10, cifar10_resnet20, stories260k, text) and optuna (`pip install 'spikeloom[evo]'`). All methods start from the
closed form, in the same space and bounds, with the same number of evaluations on the same calibration samples (a gradient step or a
refitting sweep counts as three), and are judged on samples that nobody has seen. Every seed draws its own calibration samples, the same
for all methods; the test is a paired t-test over seeds, one-sided. Conversions are made once and kept under artifacts/hseo; runs that are
finished are kept beside them and read again with --keep.
"""

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.evolve import Bench, Evolve, Search
from spikeloom.evolve.evolution import SIGMA
from spikeloom.evolve.executor import opened
from spikeloom.ir import Context, Program, load
from spikeloom.pipeline import Settings, convert
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate.tokenizer import located

WORK = ROOT / "artifacts" / "hseo"
METHODS = ("closed form", "random search", "CMA-ES", "TPE", "HSEO")


@dataclass(frozen=True)
class Task:
    """A network, how it is converted, and how it is searched: so many calibration samples a search, so many unseen ones to judge by,
    groups of channels, and the budget: a population of so many, so many generations."""

    name: str
    folder: str
    settings: Settings
    calibration: int
    unseen: int
    groups: int
    population: int
    generations: int
    decay: float | None = None

    @property
    def evaluations(self) -> int:
        """The budget."""
        return self.population * self.generations


def _pictures(folder: str, samples: int, **changed: Any) -> Settings:
    return Settings(
        source="zoo:cifar-resnet20",
        weights=SHARED / "cifar10_resnet20" / "model.safetensors",
        dataset="cifar10",
        data_root=SHARED,
        output_dir=WORK / folder,
        compensate=False,
        calibration_samples=samples,
        samples=64,
        **changed,
    )


LIF = _pictures("lif0", 256, method="lif", timesteps=8, levels=1, tau_mem_ms=-1.0 / math.log(0.95))
SFN = _pictures("sfn0", 512, method="scale_and_fire", timesteps=1, levels=7)
TEXT = Settings(
    source=f"hf:{SHARED / 'stories260k'}",
    dataset=f"text:{SHARED / 'text' / 'tinystories_2300.txt'}",
    output_dir=WORK / "text0",
    timesteps=1,
    levels=7,
    placement="density",
    compensate=False,
    calibration_samples=64,
    samples=8,
    length=128,
)
TASKS = (
    Task("ResNet-20 N=7 T=1", "sfn0", SFN, 64, 384, 8, 20, 4),
    Task("stories260k N=7 T=1", "text0", TEXT, 8, 32, 2, 20, 4),
    Task("ResNet-20 LIF T=8 decay 0.95", "lif0", LIF, 64, 384, 8, 20, 4, decay=0.95),
)


def converted(task: Task) -> tuple[Program, Program]:
    """The network and its ANN; converted where it is not kept."""
    folder = WORK / task.folder
    if not (folder / "program.json").exists():
        convert(task.settings)
    program = load(folder)
    return (located(program, folder) if task.folder.startswith("text") else program), load(folder / "ann")


def samples(task: Task, program: Program, split: Any, first: int, count: int) -> tuple[Tensor, ...]:
    """So many samples of a split, from one on."""
    data = task_of(program.settings).samples(task.settings.dataset, split, program, task.settings, first + count)
    every = tuple(torch.cat(parts) for parts in zip(*(inputs for inputs, _ in data.read(64, None)), strict=True))
    return tuple(value[first : first + count] for value in every)


def benches(task: Task, seed: int) -> tuple[Bench, Bench, Evolve]:
    """The bench to search on, the one to judge by, and the search's settings."""
    program, ann = converted(task)
    evolve = Evolve(
        timesteps=task.settings.timesteps,
        population_size=task.population,
        generations=task.generations,
        groups=task.groups,
        decay=task.decay,
        samples=10**6,
        batch_size=32,
    )
    seen = samples(task, program, "calibration", task.settings.calibration_samples + seed * task.calibration, task.calibration)
    unseen, found = samples(task, program, "test", 0, task.unseen), list[Bench]()
    for name, inputs in (("seen", seen), ("unseen", unseen)):
        context = Context(lambda inputs=inputs: iter([inputs]), reference=ann, seed=seed)
        found.append(evolve.bench(WORK / "benches" / f"{task.folder}-{name}", program, context, evolve.checked(context)[1]))
    return found[0], found[1], evolve


Method = Callable[[Bench, Task, Evolve, int], np.ndarray]


def closed_form(bench: Bench, task: Task, evolve: Evolve, seed: int) -> np.ndarray:
    """The program as given."""
    return np.zeros(bench.space.size)


def random_search(bench: Bench, task: Task, evolve: Evolve, seed: int) -> np.ndarray:
    """The best of normal draws around the start, as wide as CMA-ES begins, inside the bounds."""
    generator, best = np.random.default_rng(seed), (math.inf, np.zeros(bench.space.size))
    for number in range(task.evaluations):
        genes = SIGMA * generator.standard_normal(bench.space.size) if number else np.zeros(bench.space.size)
        genes = genes.clip(bench.space.bounds[:, 0], bench.space.bounds[:, 1])
        best = min(best, (bench.outcome(genes).divergence, genes), key=lambda pair: pair[0])
    return best[1]


def cma_es(bench: Bench, task: Task, evolve: Evolve, seed: int) -> np.ndarray:
    """The best that CMA-ES (separable, for so many genes) finds; the start is its first mean and is evaluated too."""
    from cmaes import CMA, SepCMA

    made = CMA if bench.space.size <= 64 else SepCMA
    room = np.stack([np.minimum(bench.space.bounds[:, 0], -1e-9), bench.space.bounds[:, 1]], axis=1)
    optimizer = made(mean=np.zeros(bench.space.size), sigma=SIGMA, bounds=room, seed=seed, population_size=task.population)
    best = (bench.outcome(np.zeros(bench.space.size)).divergence, np.zeros(bench.space.size))
    for _ in range(task.generations):
        told = [(genes, bench.outcome(genes).divergence) for genes in (optimizer.ask() for _ in range(task.population))]
        best = min([best, *((value, genes) for genes, value in told)], key=lambda pair: pair[0])
        optimizer.tell(told)
    return best[1]


def tpe(bench: Bench, task: Task, evolve: Evolve, seed: int) -> np.ndarray:
    """The best that optuna's TPE finds, the start its first trial; its ranges are two of CMA-ES's first deviations on either side."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    low, high = bench.space.bounds.clip(-2 * SIGMA, 2 * SIGMA).T
    names = [str(place) for place in range(bench.space.size)]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict.fromkeys(names, 0.0))

    def objective(trial: Any) -> float:
        genes = [trial.suggest_float(name, low[k], high[k]) if low[k] < high[k] else 0.0 for k, name in enumerate(names)]
        return bench.outcome(np.array(genes)).divergence

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(objective, n_trials=task.evaluations)
    return np.array([study.best_params.get(name, 0.0) for name in names])


def hseo(bench: Bench, task: Task, evolve: Evolve, seed: int) -> np.ndarray:
    """What the search gives back."""
    plan, _ = evolve.checked(Context(seed=seed))
    with opened("loky", 1) as executor:
        search = Search(bench, plan, executor)
        search.run()
    if search.evaluations > task.evaluations + 1:
        raise SystemExit(f"HSEO spent {search.evaluations} evaluations of {task.evaluations}")
    return search.best.genes


RUN: dict[str, Method] = {"closed form": closed_form, "random search": random_search, "CMA-ES": cma_es, "TPE": tpe, "HSEO": hseo}


def judged(task: Task, seed: int, keep: bool) -> dict[str, Any]:
    """Every method's divergence on seen and on unseen samples, and its seconds."""
    kept = WORK / "runs" / f"{task.folder}-{seed}.json"
    if keep and kept.exists():
        return json.loads(kept.read_text())
    seen, unseen, evolve = benches(task, seed)
    found: dict[str, Any] = {"genes": seen.space.size}
    for method in METHODS:
        began = time.perf_counter()
        genes = RUN[method](seen, task, evolve, seed)
        seconds = time.perf_counter() - began
        here, there = seen.outcome(genes), unseen.outcome(genes)
        found[method] = {"seen": here.divergence, "unseen": there.divergence, "agreement": there.accuracy, "seconds": round(seconds, 1)}
        sys.stdout.write(f"{task.name} seed {seed} {method}: {found[method]}\n")
        sys.stdout.flush()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def p_less(ours: list[float], theirs: list[float]) -> float:
    """One-sided paired t-test over seeds: the chance of so much less, were there no difference."""
    from scipy.stats import ttest_rel

    return float(ttest_rel(ours, theirs, alternative="less").pvalue)


def rows_of(task: Task, seeds: int, keep: bool) -> list[Row]:
    """The task's row: HSEO's mean, everyone's mean and spread beside it, and the p-values."""
    runs = [judged(task, seed, keep) for seed in range(seeds)]
    values = {method: [run[method]["unseen"] for run in runs] for method in METHODS}
    table = {
        method: {
            "mean": round(float(np.mean(values[method])), 4),
            "spread": round(float(np.std(values[method], ddof=1)), 4) if seeds > 1 else None,
            "agreement": round(float(np.mean([run[method]["agreement"] for run in runs])), 4),
            "seen": round(float(np.mean([run[method]["seen"] for run in runs])), 4),
        }
        for method in METHODS
    }
    p = {method: p_less(values["HSEO"], values[method]) for method in METHODS if method != "HSEO"} if seeds > 1 else {}
    facts = {"p_one_sided_paired_t": {name: round(value, 5) for name, value in p.items()}, "seeds": seeds, "genes": runs[0]["genes"]}
    facts |= {"evaluations": task.evaluations, "calibration_samples": task.calibration, "unseen_samples": task.unseen}
    holds = bool(p) and all(value < 0.05 for value in p.values())
    command, told = f"python benchmarks/hseo.py --only '{task.name}'", "least of all, p < 0.05 against each"
    return [
        Row(
            f"{task.name}: divergence from the ANN on unseen samples, HSEO",
            table["HSEO"]["mean"],
            "nats",
            command,
            table | facts,
            None,
            told,
            holds,
        )
    ]


def cost(images: int = 512) -> list[Row]:
    """What a default HSEO run costs, in evaluation passes of its images for each generation."""
    task = TASKS[0]
    program, ann = converted(task)
    inputs = samples(task, program, "calibration", task.settings.calibration_samples, images)
    context = Context(lambda: iter([inputs]), reference=ann)
    evolve = Evolve(samples=images)
    plan, limits = evolve.checked(context)
    bench = evolve.bench(WORK / "benches" / "cost", program, context, limits)
    with opened("loky", 1) as executor:
        search, passes, spent = Search(bench, plan, executor), list[float](), 0.0
        while search.generation < 2:  # every generation costs the same
            began = time.perf_counter()
            bench.outcome(np.zeros(bench.space.size))
            passes.append(time.perf_counter() - began)
            began = time.perf_counter()
            search.step()
            spent += time.perf_counter() - began
    ratio = round(spent / search.generation / float(np.mean(passes)), 2)
    facts = {"pass_s": round(float(np.mean(passes)), 2), "generation_s": round(spent / search.generation, 2), "images": images}
    return [
        Row(
            "HSEO, default, ResNet-20: one generation / one pass",
            ratio,
            "x",
            "python benchmarks/hseo.py --only cost",
            facts,
            None,
            "at most 40",
            ratio <= 40,
        )
    ]


def main() -> None:
    """Run what was asked for and write benchmarks/results/hseo.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="tasks whose name holds this text; also: cost")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="read finished runs again instead of repeating them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    parts: dict[str, Callable[[], list[Row]]] = {"cost": cost}
    parts |= {task.name: lambda task=task: rows_of(task, options.seeds, options.keep) for task in TASKS}
    for name, part in parts.items():
        if options.only and options.only not in name:
            continue
        made = part()
        sys.stdout.write("\n".join(f"{row.name}: {row.value} {row.control} holds={row.holds}" for row in made) + "\n")
        sys.stdout.flush()
        write("hseo", made, part=True)


if __name__ == "__main__":
    main()
