"""
The reference: the ANN with the layers that a spiking program has, which calibration works towards (`ir.Context.reference`).

Nothing of it is stored: what was done to the captured ANN before its weights were rounded and its activations became neurons is in the
program's records, costs little, and is done again.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from spikeloom.calibrate import Balance, Compensate
from spikeloom.compress import settled
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Pass, Program, Record, calls, run, silent, weighted, weights_of
from spikeloom.plan import Fuse, Plan, Rotate

PREPARING: Mapping[str, type[Pass]] = {"Plan": Plan, "Fuse": Fuse, "Rotate": Rotate}
"""What is done to an ANN before it is converted; it stays the same function."""
SPIKING: Mapping[str, type[Pass]] = {"Unfold": Unfold, "Spike": Spike, "Balance": Balance}
"""What makes it spike."""
CORRECTING: Mapping[str, type[Pass]] = {"Compensate": Compensate}
CONVERTING: Mapping[str, type[Pass]] = {**PREPARING, **SPIKING, **CORRECTING}
"""The whole road from an ANN to a spiking program, compression apart."""


def repeated_passes(records: Iterable[Record], known: Mapping[str, type[Pass]]) -> list[Pass]:
    """The passes that records tell of, those that are known, as they were."""
    told = [record for record in records if record.name in known]
    return [known[record.name](**{key: _tupled(value) for key, value in record.options.items()}) for record in told]


def reference_of(program: Program, ann: Program, context: Context) -> Program:
    """The captured ANN after the passes that prepared it for `program`, as its records tell them."""
    return run(repeated_passes(program.records, PREPARING), ann, dataclasses.replace(context, progress=silent))


def towards(program: Program, ann: Program, context: Context) -> Context:
    """The context in which `program` is brought closer to its ANN, its weights staying on their grids and its pruned ones zero. One that
    has lost channels has layers that no ANN has: it is held to what it is itself with its functions exact."""
    reference = reference_of(program, ann, context)
    return dataclasses.replace(context, reference=reference if alike(program, reference) else None, settle=settled)


def alike(program: Program, reference: Program) -> bool:
    """Whether the layers of the same names have weights of the same shapes."""
    shapes = [
        {node.name: weights_of(node, each.tensors)[0].shape for node in calls(each.graph) if weighted(node)}
        for each in (program, reference)
    ]
    return all(shapes[1].get(name, shape) == shape for name, shape in shapes[0].items())


def _tupled(value: Any) -> Any:
    """An option as a pass has it: tuples for JSON's lists."""
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
