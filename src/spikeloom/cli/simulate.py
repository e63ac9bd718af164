"""`spikeloom simulate`: a recording of events through a network in whole numbers, event by event."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output
from spikeloom.cli.options import DATASETS, EXIT_CODES, DataRoot, Debug, Json, option
from spikeloom.cli.progress import shown

EXAMPLE = f"Example: spikeloom simulate artifacts/compiled_c --events recording.npz --spikes spikes.csv\n\n{EXIT_CODES}"


@guarded()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that compile or convert wrote.")],
    events: Annotated[Path, option("FILE", "Events of a camera, or spikes by address: .npz, .csv, .aedat4.")],
    recording: Annotated[int, typer.Option(min=0, metavar="R", help="Which of the recordings in the file.")] = 0,
    order: Annotated[str, option("WORD", "layers: a layer after the other. queue: an event after the other. The same spikes.")] = "layers",
    window_us: Annotated[
        int | None, option("US", "How long a tick lasts, whose counts the network sees; by default a T-th of the recording.")
    ] = None,
    spikes: Annotated[Path | None, option("FILE", "Write every spike that populations send: .npz or .csv.")] = None,
    dataset: Annotated[str | None, option("NAME", f"{DATASETS} For the input's range, where DIR was not compiled.")] = None,
    data_root: DataRoot = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a network in whole numbers on a recording, event by event: work only where spikes are."""
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        found = pipeline.simulate_events(
            folder,
            events,
            recording=recording,
            order=order,
            window_us=window_us,
            output=spikes,
            dataset=dataset,
            data_root=data_root,
            progress=progress,
        )
    if as_json:
        emit(dict(found.told))
        return
    output().print(summary(events, dict(found.told)))


def summary(file: Path, told: dict[str, Any]) -> Any:
    """What went in, what came out, and what it cost."""
    from rich.table import Table

    table = Table(title=f"{file}: recording {told['recording']} of {told['recordings']}", title_justify="left", show_header=False)
    label = "" if told["label"] is None else f" (label {told['label']})"
    table.add_row("answer", f"class {told['class']}{label}")
    cut = f", {told['cut_off']:,} cut off by the input's range" if told["cut_off"] else ""
    late = f", {told['late']:,} after the last tick left out" if told["late"] else ""
    table.add_row("events in", f"{told['events_in']:,} over {told['ticks']} ticks{cut}{late}")
    table.add_row("spikes sent", f"{told['spikes']:,} by {told['neurons']:,} neurons")
    table.add_row("synaptic operations", f"{told['synaptic_operations']:,}")
    table.add_row("neurons updated", f"{told['neuron_updates']:,}")
    return table
