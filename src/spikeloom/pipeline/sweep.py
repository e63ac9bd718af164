"""
A sweep: the measure of a network over N levels × T steps, beside the ANN and the control of as many levels.

Each N is a conversion of its own from the captured ANN. A Scale-and-Fire network is calibrated for single steps, so that one run of
the longest T tells what every shorter one gives: its answer after t steps is that of a run of t steps. Every N leaves its rows in a
file of its own, which a resumed sweep reads back. Conversions are independent, and run through joblib: its backend is chosen there.

IF and LIF neurons are calibrated for all their steps together: there each T is a conversion of its own.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from joblib import Parallel, delayed

from spikeloom.errors import ConfigError, DataError, NumericError
from spikeloom.ir import Program, Progress, load, silent, write_json
from spikeloom.pipeline.evaluation import agreement, evaluate
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.samples import Samples, behind
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import Counter, SpikingModel, energy

log = logging.getLogger(__name__)

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
    check_grid(settings)


def check_grid(settings: Settings) -> None:
    """Raises ConfigError where there is nothing to sweep over."""
    for name, values in (("sweep.over_levels", settings.sweep_levels), ("sweep.over_timesteps", settings.sweep_timesteps)):
        if not values or min(values) < 1:
            raise ConfigError(f"{name} holds no numbers to sweep over", found=list(values), allowed="whole numbers from 1 on")


def sweep(settings: Settings, ann: Path, place: Path, convert: Convert, progress: Progress, *, held_out: bool = False) -> list[Row]:
    """The rows of all N × T for the ANN saved in `ann`, those of each conversion kept in `place`. They are measured on test samples; where
    `held_out`, on training samples that calibration has not seen, with the energy of each; networks in which nothing fires have no row."""
    made = runs_of(settings)
    alone, done = settings.sweep_jobs == 1, 0
    progress("sweeping over levels", 0, len(made))
    tasks = [
        delayed(swept)(run, n, ann, place / f"{name}.json", convert, _told(progress, index, n, len(made)) if alone else silent, held_out)
        for index, (name, n, run) in enumerate(made)
    ]
    rows, results = list[Row](), Parallel(n_jobs=settings.sweep_jobs, return_as="generator_unordered")(tasks)
    for found in cast(Iterator[list[Row]], results):
        done, rows = done + 1, rows + found
        progress("sweeping over levels", done, len(made))
    return sorted(rows, key=lambda row: (row["levels"], row["timesteps"]))


def runs_of(settings: Settings) -> list[tuple[str, int, Settings]]:
    """The conversions of a sweep: what each is called, its N, and its settings with the steps it is measured at."""
    if settings.method == "scale_and_fire":
        return [(f"levels_{n}", n, settings) for n in sorted(set(settings.sweep_levels))]
    steps = sorted(set(settings.sweep_timesteps))
    return [(f"steps_{t}", 1, dataclasses.replace(settings, sweep_timesteps=(t,))) for t in steps]


def _told(progress: Progress, index: int, levels: int, total: int) -> Progress:
    """What one of several conversions reports, as a detail of all of them."""

    def tell(what: str, done: int, count: int) -> None:
        progress(f"sweeping over levels: N = {levels}, {what}" + (f" {done}/{count}" if count else ""), index, total)

    return tell


def swept(
    settings: Settings, levels: int, ann: Path, kept: Path, convert: Convert, progress: Progress, held_out: bool = False
) -> list[Row]:
    """The rows of one N: read back where they were made from the same ANN for the same settings, else measured and kept."""
    steps = sorted(set(settings.sweep_timesteps))
    asked = dataclasses.replace(settings, levels=levels, timesteps=steps[-1])
    key = _key(asked, ann, held_out)
    if kept.is_file() and (found := json.loads(kept.read_text())).get("key") == key:
        return found["rows"]
    program = load(ann)
    try:
        snn = convert(program, asked, progress)
    except NumericError as error:
        if not held_out:
            raise
        log.warning("N = %d, T up to %d is nothing to choose: %s", levels, steps[-1], error)
        write_json(kept, {"key": key, "rows": []})
        return []
    task, done = task_of(program.settings), 0
    data = held_out_samples(snn.program, asked) if held_out else task.samples(asked.dataset, "test", snn.program, asked, asked.samples)

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress("evaluating", done, data.count)

    tally = task.tally(Networks(snn, steps[-1], steps), data.classes, None)
    size = task.at_once(snn.program, asked.batch_size, steps[-1])
    found = evaluate(tally, data.read(size, None), tick)
    beside = {"levels": levels, "control_agreement": agreement(found.answers, "control"), "samples": found.samples}
    rows = [{**row, **beside} for row in found.curve]
    if held_out:
        rows = [{**row, "energy_pj": energy_at(snn.program, row["timesteps"], data, min(size, 32))} for row in rows]
    write_json(kept, {"key": key, "rows": rows})
    return rows


def held_out_samples(program: Program, settings: Settings) -> Samples:
    """As many training samples as calibration sees, behind those. Raises DataError where there are none."""
    seen, task = settings.calibration_samples, task_of(program.settings)
    data = task.samples(settings.dataset, "calibration", program, settings, 2 * seen)
    if data.count <= seen:
        todo = "give fewer --calibration-samples, or levels and steps of your own"
        raise DataError("no training samples are left to choose levels and steps on", found=f"{data.count}, all for calibration", todo=todo)
    return behind(data, seen)


def energy_at(program: Program, timesteps: int, data: Samples, size: int) -> float:
    """pJ an inference at T steps, by the first samples."""
    counter = Counter(program, timesteps)
    for inputs, _ in data.read(size, task_of(program.settings).profiled):
        counter.add(inputs)
    network = f"SNN ({program.settings.get('encoding', 'graded')})"
    return next(row.total_pj for row in energy(counter.counts()) if row.network == network)


def _key(settings: Settings, ann: Path, held_out: bool) -> str:
    """What the rows of one N depend on: the settings, but for where they go and who makes them, and the ANN."""
    told = dataclasses.asdict(settings)
    for name in ("output_dir", "resume", "sweep", "sweep_levels", "sweep_jobs"):
        told.pop(name)
    digests = json.loads((ann / "program.json").read_text())["digests"]
    return hashlib.sha256(json.dumps([told, digests, held_out], sort_keys=True, default=str).encode()).hexdigest()
