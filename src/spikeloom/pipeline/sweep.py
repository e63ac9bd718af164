"""
A sweep: the measure of a network over N levels × T steps, beside the ANN and the control of as many levels.

Each N is a conversion of its own from the captured ANN. A Scale-and-Fire network is calibrated for single steps, so that one run of
the longest T tells what every shorter one gives: its answer after t steps is that of a run of t steps. Every N leaves its rows in a
file of its own, which a resumed sweep reads back. Conversions are independent, and run through joblib: its backend is chosen there.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from joblib import Parallel, delayed

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, Progress, load, silent, write_json
from spikeloom.pipeline.evaluation import agreement, evaluate
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel

Row = dict[str, Any]
Convert = Callable[[Program, Settings, Progress], SpikingModel]
"""What makes a network of a captured ANN; a function of a module, so that other processes find it."""


def check_sweep(settings: Settings) -> None:
    """Raises ConfigError, before any work, for a sweep that cannot be made."""
    if not settings.sweep:
        return
    if settings.method != "scale_and_fire":
        todo = "leave out --sweep; `spikeloom evaluate DIR --timesteps T` measures other numbers of steps"
        raise ConfigError("a neuron of this method has one level", found=settings.method, allowed="scale_and_fire", todo=todo)
    for name, values in (("sweep.over_levels", settings.sweep_levels), ("sweep.over_timesteps", settings.sweep_timesteps)):
        if not values or min(values) < 1:
            raise ConfigError(f"{name} holds no numbers to sweep over", found=list(values), allowed="whole numbers from 1 on")


def sweep(settings: Settings, ann: Path, place: Path, convert: Convert, progress: Progress) -> list[Row]:
    """The rows of all N × T for the ANN saved in `ann`, each N's kept in `place`."""
    levels = sorted(set(settings.sweep_levels))
    alone, done = settings.sweep_jobs == 1, 0
    progress("sweeping over levels", 0, len(levels))
    tasks = [
        delayed(swept)(settings, n, ann, place / f"levels_{n}.json", convert, _told(progress, index, n, len(levels)) if alone else silent)
        for index, n in enumerate(levels)
    ]
    rows, results = list[Row](), Parallel(n_jobs=settings.sweep_jobs, return_as="generator_unordered")(tasks)
    for found in cast(Iterator[list[Row]], results):
        done, rows = done + 1, rows + found
        progress("sweeping over levels", done, len(levels))
    return sorted(rows, key=lambda row: (row["levels"], row["timesteps"]))


def _told(progress: Progress, index: int, levels: int, total: int) -> Progress:
    """What one of several conversions reports, as a detail of all of them."""

    def tell(what: str, done: int, count: int) -> None:
        progress(f"sweeping over levels: N = {levels}, {what}" + (f" {done}/{count}" if count else ""), index, total)

    return tell


def swept(settings: Settings, levels: int, ann: Path, kept: Path, convert: Convert, progress: Progress) -> list[Row]:
    """The rows of one N: read back where they were made from the same ANN for the same settings, else measured and kept."""
    steps = sorted(set(settings.sweep_timesteps))
    asked = dataclasses.replace(settings, levels=levels, timesteps=steps[-1])
    key = _key(asked, ann)
    if kept.is_file() and (found := json.loads(kept.read_text())).get("key") == key:
        return found["rows"]
    program = load(ann)
    snn = convert(program, asked, progress)
    task, done = task_of(program.settings), 0
    data = task.samples(asked.dataset, "test", snn.program, asked, asked.samples)

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress("evaluating", done, data.count)

    tally = task.tally(Networks(snn, steps[-1], steps), data.classes, None)
    found = evaluate(tally, data.read(task.at_once(snn.program, asked.batch_size, steps[-1]), None), tick)
    beside = {"levels": levels, "control_agreement": agreement(found.answers, "control"), "samples": found.samples}
    rows = [{**row, **beside} for row in found.curve]
    write_json(kept, {"key": key, "rows": rows})
    return rows


def _key(settings: Settings, ann: Path) -> str:
    """What the rows of one N depend on: the settings, but for where they go and who makes them, and the ANN."""
    told = dataclasses.asdict(settings)
    for name in ("output_dir", "resume", "sweep", "sweep_levels", "sweep_jobs"):
        told.pop(name)
    digests = json.loads((ann / "program.json").read_text())["digests"]
    return hashlib.sha256(json.dumps([told, digests], sort_keys=True, default=str).encode()).hexdigest()
