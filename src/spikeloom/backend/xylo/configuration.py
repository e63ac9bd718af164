"""
The files: `specification.npz`, the arguments of rockpool's `config_from_specification` by name, and `schedule.json`, how a sample is sent
in and where its answer is read.
"""

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.xylo.chips import CHIPS, INPUT_EVENTS
from spikeloom.backend.xylo.options import XyloOptions
from spikeloom.backend.xylo.placing import Placement, bands_and_frames
from spikeloom.backend.xylo.simulator import Specification
from spikeloom.errors import ProgramError
from spikeloom.ir.hardware import Netlist

FORMAT = 1


def specification(placed: Placement) -> Specification:
    """The vendor's arguments: membranes forget at once, currents halve."""
    hidden, out = len(placed.threshold), len(placed.threshold_out)
    return Specification(
        placed.weights_in,
        placed.weights_rec,
        placed.weights_out,
        dash_mem=np.zeros(hidden, np.int64),
        dash_mem_out=np.zeros(out, np.int64),
        dash_syn=np.ones(hidden, np.int64),
        dash_syn_out=np.ones(out, np.int64),
        threshold=placed.threshold,
        threshold_out=placed.threshold_out,
        bias_hidden=placed.bias_hidden,
        bias_out=placed.bias_out,
        weight_shift_in=placed.shift,
        weight_shift_rec=placed.shift,
        weight_shift_out=placed.shift,
    )


def files(placed: Placement, netlist: Netlist, options: XyloOptions) -> dict[str, bytes]:
    """Both files. The same placement gives the same bytes."""
    kept = io.BytesIO()
    np.savez_compressed(kept, allow_pickle=False, **_arrays(specification(placed)))
    told = {
        "format": FORMAT,
        "chip": CHIPS[options.chip].title,
        "channels": len(placed.weights_in),
        "clocks": [{"channel": channel, "tick": tick, "events": INPUT_EVENTS} for channel, tick in placed.clocks],
        "frames": placed.frames,
        "ticks": placed.ticks,
        "output_mode": placed.read,
        "read_at_tick": placed.ticks - 1,
        "way": placed.way,
        "input_step": netlist.source.step,
        "output_shape": list(netlist.wires[netlist.output].shape),
        "output_unit": netlist.unit,
    }
    return {"specification.npz": kept.getvalue(), "schedule.json": (json.dumps(told, indent=1) + "\n").encode()}


def load(folder: Path) -> tuple[Specification, Mapping[str, Any]]:
    """What the two files hold. Raises ProgramError where they are missing or damaged."""
    try:
        told = json.loads((folder / "schedule.json").read_text())
        with np.load(io.BytesIO((folder / "specification.npz").read_bytes()), allow_pickle=False) as arrays:
            named = {name: arrays[name].astype(np.int64) for name in arrays.files}
        shifts = {name: int(value) for name, value in named.items() if name.startswith("weight_shift")}
        return Specification(**named | shifts), told  # pyright: ignore[reportArgumentType]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ProgramError("no Xylo configuration can be read", found=f"{folder}: {error}", todo="compile the network again") from error


def raster(inputs: Int[ndarray, "b ..."], told: Mapping[str, Any]) -> Int[ndarray, "b t i"]:
    """Events of samples [B, n] or [B, (1,) bands, frames], one frame a tick, then silence until the answer is read; and the
    channels that bring biases."""
    bands, frames = bands_and_frames(inputs.shape[1:])
    events = np.zeros((len(inputs), told["ticks"], told["channels"]), np.int64)
    for clock in told["clocks"]:
        events[:, clock["tick"], clock["channel"]] = clock["events"]
    events[:, :frames, :bands] = np.swapaxes(inputs.reshape(len(inputs), bands, frames), 1, 2)
    return events


def _arrays(spec: Specification) -> dict[str, Any]:
    kept = dict[str, Any]()
    for field in dataclasses.fields(spec):
        narrow = np.int8 if field.name.startswith(("weight", "dash")) else np.int16
        kept[field.name] = np.asarray(getattr(spec, field.name)).astype(narrow)
    return kept
