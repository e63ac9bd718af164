"""
The commands together. Whatever needs torch is imported inside a command, so that --help answers at once.
"""

import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from spikeloom import __version__
from spikeloom.cli import adapt, bench, check, compile, convert, evaluate, generate, learn, logic, refine, report, simulate, train

app = typer.Typer(
    name="spikeloom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Weave a trained neural network into a spiking one that keeps its accuracy, and say what that costs.",
    epilog="First check what would become of a network, then convert it, which measures and reports; a language model can generate.\n\n"
    "Example: spikeloom convert   (trains a small CNN on digits, converts it, and reports to artifacts/converted_snn)",
)
app.command(epilog=check.EXAMPLE)(check.check)
app.command(epilog=convert.EXAMPLE)(convert.convert)
app.command(epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command(epilog=refine.COMPRESS)(refine.compress)
app.command(epilog=refine.CALIBRATE)(refine.calibrate)
app.command(epilog=refine.TUNE)(refine.tune)
app.command(epilog=refine.FINETUNE)(refine.finetune)
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=generate.EXAMPLE)(generate.generate)
app.command(epilog=logic.EXAMPLE)(logic.logic)
app.command(epilog=simulate.EXAMPLE)(simulate.simulate)
app.command("compile", epilog=compile.EXAMPLE)(compile.compile_network)
app.command(epilog=adapt.EXAMPLE)(adapt.adapt)
app.command(epilog=learn.EXAMPLE)(learn.learn)
app.command(epilog=report.EXAMPLE)(report.report)
app.command(epilog=bench.EXAMPLE)(bench.bench)


def version(wanted: bool) -> bool:
    """Prints the version and leaves, where that is wanted."""
    if wanted:
        typer.echo(f"spikeloom {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def spikeloom(
    show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Weave a trained neural network into a spiking one that keeps its accuracy, and say what that costs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (by default the process's) and leave with its exit code."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    app(list(arguments) if arguments is not None else None, prog_name="spikeloom")
