"""`spikeloom check`: what every operation of a model will become, before any work."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from spikeloom.cli.boundary import UNSUPPORTED, guarded
from spikeloom.cli.console import complain, emit, output, say
from spikeloom.cli.options import EXIT_CODES, SOURCES, AllowPickle, Debug, InputShape, Json, Weights, flag, shape_of
from spikeloom.cli.progress import shown
from spikeloom.errors import UnsupportedError

if TYPE_CHECKING:
    import spikeloom.ir
    import spikeloom.pipeline

EXAMPLE = f"Example: spikeloom check zoo:cifar-resnet20 --random-weights\n\n{EXIT_CODES[:-1]}, 3 something is unsupported."
COLOURS = {"exact": "green", "approximate": "cyan", "floating": "yellow", "unsupported": "bold red"}


def counts(rows: Sequence["spikeloom.ir.PlanRow"]) -> dict[str, int]:
    """How many operations have each status."""
    found = Counter(row.status for row in rows)
    return {status: found[status] for status in COLOURS}


def table(rows: Sequence["spikeloom.ir.PlanRow"]) -> Table:
    """A row for every operation; a column of reasons or advice only where there are any."""
    columns: dict[str, list[str | Text]] = {
        "node": [row.node for row in rows],
        "operation": [row.operation.removeprefix("aten.").removesuffix(".default") for row in rows],
        "becomes": [row.becomes for row in rows],
        "status": [Text(row.status, COLOURS[row.status]) for row in rows],
        "why": [row.reason for row in rows],
        "what to do": [row.todo for row in rows],
        "parameters": [f"{row.parameters:,}" if row.parameters else "" for row in rows],
        "MACs": [f"{row.macs:,}" if row.macs else "" for row in rows],
    }
    made = Table(box=box.SIMPLE_HEAD)
    kept = {name: cells for name, cells in columns.items() if any(map(str, cells)) or name == "node"}
    for name in kept:
        made.add_column(name, justify="right" if name in ("parameters", "MACs") else "left", overflow="fold")
    for cells in zip(*kept.values(), strict=True):
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return made


def as_data(found: "spikeloom.pipeline.CheckResult") -> dict[str, Any]:
    """The whole result as JSON."""
    return {
        **found.settings,
        "convertible": found.convertible,
        "counts": counts(found.rows),
        "spike_share": found.spike_share,
        "macs": found.macs,
        "parameters": found.parameters,
        "rows": [dataclasses.asdict(row) for row in found.rows],
    }


def verdict(found: "spikeloom.pipeline.CheckResult") -> str:
    """The result in a few lines."""
    number = ", ".join(f"{count} {status}" for status, count in counts(found.rows).items())
    return (
        f"{found.settings.get('source', 'model')}: {len(found.rows)} operations: {number}\n"
        f"{found.spike_share:.1%} of {found.macs:,} MACs spike-driven, {found.parameters:,} parameters\n"
        + ("can be converted" if found.convertible else "cannot be converted as it is: see the unsupported operations")
    )


@guarded()
def check(
    source: Annotated[str, typer.Argument(help=SOURCES)],
    weights: Weights = None,
    classes: Annotated[int | None, typer.Option(min=1, metavar="K", help="Build the architecture for so many classes.")] = None,
    input_shape: InputShape = None,
    random_weights: Annotated[bool, flag("--random-weights", "Do not look for weights: the plan does not depend on them.")] = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what every operation of a model will become: exact, approximate, floating or unsupported, before any work."""
    shape = shape_of(input_shape)
    with shown(quiet=as_json) as progress:
        progress("capturing", 0, 0)
        from spikeloom import pipeline

        options: dict[str, Any] = {"weights": weights, "classes": classes, "input_shape": shape, "allow_pickle": allow_pickle}
        try:
            found = pipeline.check(source, random_weights=random_weights, **options)
        except UnsupportedError as error:
            complain(str(error))
            raise typer.Exit(UNSUPPORTED) from error
    if as_json:
        emit(as_data(found))
    else:
        output().print(table(found.rows))
        say(verdict(found))
    if not found.convertible:
        raise typer.Exit(UNSUPPORTED)
