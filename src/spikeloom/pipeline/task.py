"""
A task: what a network is for, as one value. How its data are read, how much of them runs at once, and what its networks are judged by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from spikeloom.datasets.splits import Wanted
from spikeloom.ir import Program
from spikeloom.pipeline.evaluation import Tally
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.samples import Samples
from spikeloom.pipeline.settings import Settings

Facts = Mapping[str, Any]
"""What is known of a model: the settings of its source or program."""


@final
@dataclass(frozen=True)
class Task:
    """
    unit: what its samples are called.
    profiled: on how many of them spikes, operations and fidelity are measured.
    exits: whether a sample may stop early, once its answer is sure enough.
    facts: what is kept with the program of how its data were read.
    check: raises a UserError, before any work, where model, data and settings do not fit.
    samples: those of an address that serve as a split, for a program, at most so many.
    at_once: how many samples run at once, for a program, the batch size that was asked for, and T.
    tally: what judges the networks, for labels of so many classes; with a margin samples stop early.
    """

    unit: str
    profiled: int
    exits: bool
    facts: Callable[[Facts, Settings], dict[str, Any]]
    check: Callable[[Facts, Settings], None]
    samples: Callable[[str, Wanted, Program, Settings, int | None], Samples]
    at_once: Callable[[Program, int, int], int]
    tally: Callable[[Networks, int | None, float | None], Tally]
