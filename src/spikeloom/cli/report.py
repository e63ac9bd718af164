"""`spikeloom report`: the page of a converted network, made again from what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, say
from spikeloom.cli.options import EXIT_CODES, Debug, Json

EXAMPLE = f"Example: spikeloom report artifacts/resnet18\n\n{EXIT_CODES}"


@guarded()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that convert wrote.")], as_json: Json = False, debug: Debug = False
) -> None:
    """Write report.html again from a folder's story.json; nothing is measured."""
    from spikeloom import pipeline

    page = pipeline.report(folder)
    if as_json:
        emit({"report": str(page)})
    else:
        say(str(page))
