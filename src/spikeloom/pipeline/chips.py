"""
Chips: a network brought to one of them, or made for all of a kind.

    one           the chip is put under the network, which is trained as it runs on it                    (chip in the loop)
    any           every step of the training runs on another chip; what is trained is what all chips of the kind have in common: weights
                  and biases. They are given back to the network on a chip without mismatch                (random chips)

A chip of a kind has what every chip of it has (bits, a forced decay), and what is drawn: mismatch, dead neurons.

Source: training with mismatch drawn anew: Büchel et al. 2021, doi:10.1038/s41598-021-02779-x.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from spikeloom.calibrate import Device
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, Redrawn, run
from spikeloom.pipeline.evaluation import evaluate
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel
from spikeloom.train import FineTune

ANY = "any"
"""The draw that stands for every chip of a kind."""
UNSEEN = (1, 2, 3)
"""The chips a network made for any is judged on: no training draws them."""
JUDGED = 500
"""On how many test samples each of them."""
COMMON = ("weights", "biases")
FIRST = 2**40
"""Chips of training are drawn from here on, and down from here where it judges itself."""


def device_of(chip: Mapping[str, Any], draw: int = 0) -> Device:
    """The chip a section `chip` describes; of any, this one."""
    return Device(**{**chip, "draw": draw if chip.get("draw") == ANY else chip.get("draw", draw)})


def kind_of(device: Device) -> Device:
    """What all chips of a kind have in common: the device without mismatch."""
    return dataclasses.replace(device, threshold_mismatch=0.0, tau_mismatch=0.0, dead=0.0)


def random_chips(device: Device, program: Program) -> Redrawn:
    """For every step of a training another chip of this kind under a program (given without one)."""
    return lambda number: device.drawn(program, FIRST + number)


def off_chip(program: Program, on_chip: Program, trained: Program) -> Program:
    """A program with what training on a chip changed of it, and the record of that."""
    changed = {name: trained.tensors[name] for name in program.tensors if trained.tensors[name] is not on_chip.tensors[name]}
    return program.replaced(tensors={**program.tensors, **changed}, records=(*program.records, trained.records[-1]))


def made_for_any(tune: FineTune, program: Program, device: Device, context: Context) -> Program:
    """The program on a chip without mismatch, after a training each step of which ran on another chip of this kind. Thresholds and
    potentials are not trained: every chip has its own."""
    plain = on_chip(program, kind_of(device))
    first = on_chip(plain, device)
    common = dataclasses.replace(tune, train=tuple(each for each in tune.train if each in COMMON))
    trained = run([common], first, dataclasses.replace(context, redrawn=random_chips(device, plain)))
    return off_chip(plain, first, trained)


def on_unseen(program: Program, device: Device, settings: Settings) -> list[float | None]:
    """What a program is worth on chips that no training drew: its accuracy (without labels nothing) on the first test samples."""
    task, found = task_of(program.settings), list[float | None]()
    data = task.samples(settings.dataset, "test", program, settings, min(settings.samples or JUDGED, JUDGED))
    size = task.at_once(program, settings.batch_size, settings.timesteps)
    for draw in UNSEEN:
        snn = SpikingModel(on_chip(program, dataclasses.replace(device, draw=draw)), timesteps=settings.timesteps)
        tally = task.tally(Networks(snn, settings.timesteps, [settings.timesteps]), data.classes, None)
        found.append(evaluate(tally, data.read(size, None), lambda count: None).measures["accuracy"]["snn"])
    return found


def refuse_second(program: Program) -> None:
    """Raises ConfigError for a program that runs on a chip already."""
    if any(record.name == "Device" and _drawn(record.options) for record in program.records):
        todo = "leave out the chip: it is trained on the one it is on; or begin with the network before it"
        raise ConfigError("the network is on a chip already", found="a second chip", todo=todo)


def _drawn(options: Mapping[str, Any]) -> bool:
    return any(options.get(key) for key in ("threshold_mismatch", "tau_mismatch", "dead"))


def on_chip(program: Program, device: Device) -> Program:
    """The program on a chip."""
    return run([device], program, Context())
