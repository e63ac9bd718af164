"""
Event-driven simulation of a network in whole numbers: a recording in, spikes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from spikeloom.backend.folder import COMPILED
from spikeloom.backend.lower import lower, obstacles, refuse
from spikeloom.datasets.events import ADDRESS, frames, read_events, write_events
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Progress, silent
from spikeloom.ir.hardware import Netlist, load_netlist
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.compilation import NO_NETLIST
from spikeloom.pipeline.input_range import input_range
from spikeloom.pipeline.settings import Settings
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.event_driven import EventNetwork, EventRun
from spikeloom.simulate.event_stream import Events, events_from


class Stream(NamedTuple):
    """An input stream, how many events of the recording were cut off by the input's range, and how many came after the last tick."""

    events: Events
    cut_off: int = 0
    late: int = 0


@final
@dataclass(frozen=True)
class Simulation:
    """What one recording gave: the answer on the ANN's scale, and what the run counted."""

    answer: Float[ndarray, "..."]
    run: EventRun
    told: Mapping[str, Any]


def simulate_events(
    folder: Path,
    events: Path,
    *,
    recording: int = 0,
    order: str = "layers",
    window_us: int | None = None,
    output: Path | None = None,
    dataset: str | None = None,
    data_root: Path | None = None,
    progress: Progress = silent,
) -> Simulation:
    """A recording of a file through the network of a folder (what `compile` or `convert` wrote), event by event.

    Camera events become counts: a tick lasts `window_us`, or the recording is shared out over the network's T ticks, each of which sees the
    counts of its own window (convert the network on frames of such windows). Counts beyond the input's range are cut off, and events after
    the last tick are left out: both are told. Spikes by address are taken as they are. The spikes that populations send go to `output`.
    Raises DataError for a stream that the network cannot take, ProgramError where the folder holds no network.
    """
    progress("reading", 0, 0)
    netlist = netlist_of_folder(folder, dataset, data_root)
    recordings = read_events(events)
    given = stream_for(netlist, recordings.recording(recording), window_us)
    progress("running", 0, 0)
    run = EventNetwork(netlist).run(given.events, order)
    answer = run.output * (netlist.unit / netlist.timesteps)
    if output is not None:
        write_events(output, run.events)
    label = None if recordings.labels is None else int(recordings.labels[recording])
    told = {
        "recording": recording,
        "recordings": len(recordings),
        "ticks": netlist.timesteps,
        "events_in": len(given.events),
        "cut_off": given.cut_off,
        "late": given.late,
        "spikes": len(run.events),
        "synaptic_operations": run.synaptic_operations,
        "neuron_updates": run.updates,
        "neurons": netlist.neurons,
        "class": int(answer.reshape(-1).argmax()),
        "label": label,
        "answer": answer.reshape(-1).tolist(),
        "operations": dict(run.operations),
    }
    return Simulation(answer, run, told)


def netlist_of_folder(folder: Path, dataset: str | None, data_root: Path | None) -> Netlist:
    """The netlist of a compiled folder, or of a spiking network, lowered now. Raises ProgramError where the folder holds neither."""
    if (folder / COMPILED).is_file():
        return load_netlist(folder)
    snn = SpikingModel.open(folder)
    refuse(NO_NETLIST, obstacles(snn.program, snn.timesteps))
    address = dataset or str(snn.program.settings.get("dataset", "digits"))
    settings = Settings(dataset=address, data_root=data_root, timesteps=snn.timesteps)
    return lower(snn.program, snn.timesteps, input_range(snn.program, calibration_stream(snn.program, address, settings, 512)()))


def stream_for(netlist: Netlist, events: Events, window_us: int | None = None) -> Stream:
    """A recording as the network's input stream. Raises DataError where its pixels are not the input's, ConfigError for a window that is
    none."""
    if window_us is not None and window_us < 1:
        raise ConfigError("a tick cannot last so long", found=f"{window_us} µs", allowed="1 or more")
    if events.dtype == ADDRESS:
        return Stream(events)
    wire = netlist.wires[netlist.source.name]
    if len(wire.shape) != 3 or wire.shape[0] != 2:
        raise DataError("a camera's events need an input of two polarities", found=wire.shape, allowed="[2, height, width]")
    counts = frames(events, (wire.shape[1], wire.shape[2]), netlist.timesteps, window_us)
    levels = np.rint(counts / netlist.source.step).astype(np.int64)
    kept = levels.clip(wire.low, wire.high)
    cut = int(((levels - kept) * netlist.source.step).round().sum())
    return Stream(events_from(kept), cut, len(events) - int(counts.sum()))
