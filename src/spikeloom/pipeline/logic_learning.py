"""
The road of a logic-gated network: data → training under noise → frozen program → measured at every level of noise → report.
"""

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from spikeloom.datasets import matched_filter
from spikeloom.errors import InternalError
from spikeloom.ir import Program, Progress, Record, silent, write_bytes, write_json
from spikeloom.logic import freeze
from spikeloom.pipeline.conversion import check_device
from spikeloom.pipeline.logic_metrics import BAYES, differing, metrics_of
from spikeloom.pipeline.logic_networks import Taught, taught
from spikeloom.pipeline.logic_samples import LogicData, read
from spikeloom.pipeline.logic_settings import LogicSettings
from spikeloom.pipeline.logic_story import logic_card, logic_story_of
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.noise_levels import Answer, UnderNoise, frozen_answer, module_answer, under_noise
from spikeloom.pipeline.publishing import check_folder
from spikeloom.report import write_logic
from spikeloom.simulate import Counter, Counts, SpikingModel

COUNTED, COMPARED = 256, 512
"""Test samples on which operations are counted, and on which the frozen program must answer what the network answers."""
SYMMETRIC = frozenset({"bit_flip", "salt_and_pepper"})
"""Kinds of noise that turn each bit over independently: of these the matched filter is the Bayes limit."""


@final
@dataclass(frozen=True)
class Learning:
    """What a learning left: the folder, its metrics, and the network."""

    folder: Path
    metrics: dict[str, Any]
    snn: SpikingModel


@within_memory()
def learn(settings: LogicSettings, *, progress: Progress = silent) -> Learning:
    """A logic-gated network trained, frozen, measured: program, metrics.json, story.json, report.html and README.md in
    `settings.output_dir`, and checkpoints/ for `settings.resume`, which ends at the same network as an unbroken run.

    Raises a UserError for whatever the user can mend; files of an earlier run stay until the new ones are whole.
    """
    began, settings = time.perf_counter(), settings.resolved()
    check_device(settings.device)
    check_folder(settings.output_dir)
    progress("reading the data", 0, 0)
    data = read(
        settings.dataset,
        as_bits=settings.as_bits,
        test=settings.test_dataset,
        data_root=settings.data_root,
        preprocessing=settings.preprocessing,
        samples=settings.samples,
    )
    networks = taught(settings, data, settings.output_dir / "checkpoints", progress)
    program = frozen(settings, data, networks)
    snn = SpikingModel(program)
    found = measured(settings, data, networks, snn, progress)
    counts = counted(program, data)
    seconds = time.perf_counter() - began
    metrics = metrics_of(settings, program, networks, found, counts, samples=len(data.test), seconds=seconds)
    publish(settings, snn, metrics, found, counts, data)
    return Learning(settings.output_dir, metrics, snn)


def frozen(settings: LogicSettings, data: LogicData, networks: Taught) -> Program:
    """The trained network as a program that counts and compares. InternalError where it answers anything else than the network."""
    network = networks.model("network").to("cpu")
    x, _ = data.test.gather(torch.arange(min(COMPARED, len(data.test))))
    example = x[:2] if len(x) > 1 else x.repeat(2, *(1,) * (x.dim() - 1))
    told = {**data.facts, "source": "logic_gated", "method": "logic_gated", "levels": 1, "encoding": "graded", "timesteps": 1}
    program = freeze(network, example, told)
    wrong = differing(frozen_answer(SpikingModel(program))(x), network, x)
    if wrong:
        raise InternalError(f"the frozen program answers {wrong} of {len(x)} samples otherwise than the network it was made from")
    return program.replaced(records=(*program.records, record_of(settings, networks)))


def record_of(settings: LogicSettings, networks: Taught) -> Record:
    """How the network came to be, kept with the program."""
    options = {key: value for key, value in dataclasses.asdict(settings).items() if isinstance(value, str | int | float | bool | tuple)}
    result = networks.results["network"]
    numbers = {"steps": result.steps, "epochs": len(result.losses), "loss": result.losses[-1], "accuracy": result.accuracies[-1]}
    return Record("LearnLogic", options, numbers, ("arXiv:1605.04711", "arXiv:1602.02830"), result.seconds)


def measured(settings: LogicSettings, data: LogicData, networks: Taught, snn: SpikingModel, progress: Progress) -> UnderNoise:
    """The frozen network, the controls and, where it is known, the Bayes limit, all on the same noisy test samples."""
    answers: dict[str, Answer] = {"network": frozen_answer(snn)}
    answers |= {name: module_answer(networks.model(name), settings.device) for name in networks.results if name != "network"}
    if data.patterns is not None and set(settings.noise_kinds) <= SYMMETRIC:
        answers[BAYES] = partial(matched_filter, data.patterns)
    return under_noise(
        data.test,
        answers,
        kinds=settings.noise_kinds,
        levels=settings.measured_at,
        seed=settings.seed,
        progress=lambda done, total: progress("measuring under noise", done, total),
    )


def counted(program: Program, data: LogicData) -> Counts:
    """Spikes and operations of one inference, over test samples without noise."""
    counter = Counter(program, 1)
    x: Tensor = data.test.gather(torch.arange(min(COUNTED, len(data.test))))[0]
    counter.add((x,))
    return counter.counts()


def publish(
    settings: LogicSettings, snn: SpikingModel, metrics: dict[str, Any], found: UnderNoise, counts: Counts, data: LogicData
) -> None:
    """The program, its metrics, the report with its data, and the card in the output folder."""
    folder, story = settings.output_dir, logic_story_of(settings, snn.program, metrics, found, counts, data)
    snn.save(folder)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "story.json", story.to_json())
    write_logic(story, folder / "report.html")
    write_bytes(folder / "README.md", logic_card(story).encode())
