"""
The reference: the ANN with the layers that a spiking program has, which calibration works towards (`ir.Context.reference`).

Nothing of it is stored: what was done to the captured ANN before its weights were rounded and its activations became neurons is in the
program's records, costs little, and is done again.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from spikeloom.compress import settled
from spikeloom.ir import Context, Pass, Program, run, silent
from spikeloom.plan import Fuse, Plan, Rotate

PREPARING: Mapping[str, type[Pass]] = {"Plan": Plan, "Fuse": Fuse, "Rotate": Rotate}


def reference_of(program: Program, ann: Program, context: Context) -> Program:
    """The captured ANN after the passes that prepared it for `program`, as its records tell them."""
    told = [record for record in program.records if record.name in PREPARING]
    passes = [PREPARING[record.name](**{key: _tupled(value) for key, value in record.options.items()}) for record in told]
    return run(passes, ann, dataclasses.replace(context, progress=silent))


def towards(program: Program, ann: Program, context: Context) -> Context:
    """The context in which `program` is brought closer to its ANN, its weights staying on their grids and its pruned ones zero."""
    return dataclasses.replace(context, reference=reference_of(program, ann, context), settle=settled)


def _tupled(value: Any) -> Any:
    """An option as a pass has it: tuples for JSON's lists."""
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value
