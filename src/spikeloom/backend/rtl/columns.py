"""
How parameters are kept: as constants where all channels share them, as rising steps where they are equally far apart, else in memory.

    shared     the same row for every channel: constants by level
    rising     first[c] + gap[c]·j: two numbers for each channel, and an adder
    stored     a number for each channel and level, in a memory of words (group of channels, level)
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.plan import Layout, Neurons, Node, Rescale, Stage, Sum, bits_of


@final
@dataclass(frozen=True, eq=False)
class Column:
    """Numbers [C, K]; `kind` is how they are kept."""

    values: Int[ndarray, "c k"]

    @property
    def kind(self) -> Literal["shared", "rising", "stored"]:
        """The cheapest way to keep them."""
        if bool((self.values == self.values[:1]).all()):
            return "shared"
        gaps = np.diff(self.values, axis=1)
        return "rising" if bool((gaps == gaps[:, :1]).all()) else "stored"

    @property
    def bits(self) -> int:
        """The width that holds all of them."""
        return width_of(self.values)

    @property
    def gap(self) -> Int[ndarray, " c"]:
        """The step of rising ones (0 where there is one number)."""
        return self.values[:, 1] - self.values[:, 0] if self.values.shape[1] > 1 else np.zeros(len(self.values), np.int64)


def width_of(values: Int[ndarray, "..."]) -> int:
    """The width of two's complement that holds numbers."""
    return bits_of(int(values.min()), int(values.max()))


def ladder_of(neurons: Neurons) -> dict[str, Column]:
    """What is compared, sent and taken at each threshold, [C, K]."""
    found = {"threshold": Column(neurons.thresholds), "height": Column(neurons.heights[:, 1:])}
    if takes(neurons):
        found["taken"] = Column(neurons.taken[:, 1:])
    return found


def takes(neurons: Neurons) -> bool:
    """Whether something leaves the membrane by subtraction."""
    return neurons.membrane is not None and neurons.membrane.reset == "subtract"


def decayed(neurons: Neurons, v: Int[ndarray, " c"]) -> Int[ndarray, " c"]:
    """(a·v) of equation (1), [C]."""
    membrane = neurons.membrane
    return v if membrane is None else (neurons.each(membrane.decay) * v) >> membrane.decay_shift


def fields_of(stage: Stage) -> dict[str, Int[ndarray, " c"]]:
    """Every number that a channel has of its own, by name: those all channels share are made constants."""
    found = {f"start{place}": bank.start for place, bank in enumerate(stage.banks)}
    if stage.neurons is not None:
        found |= _neural(stage, stage.neurons)
    return found | _tree(stage.tree, "node")


def _neural(stage: Stage, neurons: Neurons) -> dict[str, Int[ndarray, " c"]]:
    found, membrane = {"height": neurons.heights[:, 0]}, neurons.membrane
    for name, column in ladder_of(neurons).items():
        if column.kind == "rising":
            found |= {f"{name}_first": column.values[:, 0], f"{name}_gap": column.gap}
    if membrane is None:
        return found
    found |= {"taken": neurons.taken[:, 0]} if takes(neurons) else {"silent": neurons.silent}
    found |= {"decay": neurons.each(membrane.decay)} if membrane.decays else {}
    initial, leak = neurons.each(membrane.initial), neurons.each(membrane.leak)
    if neurons.where == "memory":
        return found | {"leak": leak, "initial": initial}
    carried = stage.banks[0].start - leak  # the accumulator takes bias and leak with it
    return found | {"start0": decayed(neurons, initial) + carried, "carried": carried}


def _tree(node: Node, name: str) -> dict[str, Int[ndarray, " c"]]:
    found = dict[str, Int[ndarray, " c"]]()
    if isinstance(node, Sum):
        found[f"{name}_bias"] = node.bias
        for place, (part, gain) in enumerate(zip(node.parts, node.gains, strict=True)):
            found |= {f"{name}_gain{place}": gain} | _tree(part, f"{name}_{place}")
    if isinstance(node, Rescale):
        found |= {f"{name}_multiplier": node.multiplier} | _tree(node.part, f"{name}_0")
    return found


def words_of(fields: dict[str, Int[ndarray, " c"]], widths: dict[str, int], layout: Layout) -> list[int]:
    """A word for each group of channels: every lane's fields, each of its width, first lane and field lowest."""
    words = list[int]()
    for group in range(layout.groups):
        word, at = 0, 0
        for channel in range(group * layout.lanes, (group + 1) * layout.lanes):
            for name, values in fields.items():
                number = int(values[channel]) if channel < layout.channels else 0
                word |= (number & ((1 << widths[name]) - 1)) << at
                at += widths[name]
        words.append(word)
    return words


def own_fields(stage: Stage) -> dict[str, Int[ndarray, " c"]]:
    """Those of `fields_of` that channels do not share: what parameter memory holds."""
    return {name: values for name, values in fields_of(stage).items() if bool((values != values[:1]).any())}


def ladder_words(neurons: Neurons, layout: Layout) -> tuple[list[int], int]:
    """(words of the stored columns by group and level, their width); none where nothing is stored."""
    kept = {name: column for name, column in ladder_of(neurons).items() if column.kind == "stored"}
    if not kept:
        return [], 0
    widths = {name: column.bits for name, column in kept.items()}
    levels = range(neurons.levels)
    by_level = [words_of({name: column.values[:, level] for name, column in kept.items()}, widths, layout) for level in levels]
    return [by_level[level][group] for group in range(layout.groups) for level in levels], layout.lanes * sum(widths.values())


def packed(rows: Int[ndarray, "r lanes"], bits: int) -> list[int]:
    """Words of `bits` for each lane, the first lane lowest."""
    mask, found = (1 << bits) - 1, list[int]()
    for row in rows.tolist():
        word = 0
        for lane, number in enumerate(row):
            word |= (number & mask) << (lane * bits)
        found.append(word)
    return found
