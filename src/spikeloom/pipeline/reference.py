"""
The reference: the ANN with the layers that a spiking program has, which calibration works towards (`ir.Context.reference`).

Nothing of it is stored: what was done to the captured ANN before its weights were rounded and its activations became neurons is in the
program's records, costs little, and is done again.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import Quantise, settled
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Pass, Program, Record, run, silent
from spikeloom.plan import Fuse, Plan, Rotate

PREPARING: Mapping[str, type[Pass]] = {"Plan": Plan, "Fuse": Fuse, "Rotate": Rotate}
"""What is done to an ANN before it is converted; it stays the same function."""
CONVERTING: Mapping[str, type[Pass]] = {
    **PREPARING,
    "Quantise": Quantise,
    "Unfold": Unfold,
    "Spike": Spike,
    "Balance": Balance,
    "Compensate": Compensate,
}
"""The whole road from an ANN to a spiking program."""


def repeated_passes(records: Iterable[Record], known: Mapping[str, type[Pass]]) -> list[Pass]:
    """The passes that records tell of, those that are known, as they were."""
    told = [record for record in records if record.name in known]
    return [known[record.name](**{key: _tupled(value) for key, value in record.options.items()}) for record in told]


def reference_of(program: Program, ann: Program, context: Context) -> Program:
    """The captured ANN after the passes that prepared it for `program`, as its records tell them."""
    return run(repeated_passes(program.records, PREPARING), ann, dataclasses.replace(context, progress=silent))


def towards(program: Program, ann: Program, context: Context) -> Context:
    """The context in which `program` is brought closer to its ANN, its weights staying on their grids and its pruned ones zero."""
    return dataclasses.replace(context, reference=reference_of(program, ann, context), settle=settled)


def _tupled(value: Any) -> Any:
    """An option as a pass has it: tuples for JSON's lists."""
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
