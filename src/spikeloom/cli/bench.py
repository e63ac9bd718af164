"""`spikeloom bench`: runs the benchmarks of a checkout; each writes its numbers to benchmarks/results."""

import difflib
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import complain, say
from spikeloom.cli.options import Debug
from spikeloom.errors import ConfigError

ALIASES = {"transformers": "vision"}
"""Benchmarks under the name of what they measure too, where a file of that name would shadow a library."""
EXAMPLE = (
    "Example: spikeloom bench runtime coverage\n\n`transformers` is another name of `vision`.\n\n"
    "Exit codes: 0 all ran, 1 one failed, 2 something you can mend, 130 stopped."
)


def checkout(start: Path) -> Path:
    """The checkout that a folder lies in, or this package does. ConfigError where there is none."""
    installed = Path(__file__).resolve().parents[3]
    for folder in (start, *start.parents, installed):
        if (folder / "benchmarks").is_dir() and (folder / "src" / "spikeloom").is_dir():
            return folder
    raise ConfigError(
        "benchmarks come with the source, not with the installed package",
        found=f"no benchmarks/ beside src/spikeloom in {start} or above it",
        todo="run this in a clone of Spikeloom's repository",
    )


def benchmarks_of(root: Path) -> dict[str, Path]:
    """The benchmarks of a checkout by name, the tables of their numbers last."""
    paths = sorted((root / "benchmarks").glob("*.py"), key=lambda path: (path.stem == "tables", path.stem))
    return {path.stem: path for path in paths}


def chosen(known: dict[str, Path], names: list[str]) -> list[Path]:
    """The benchmarks of these names, all of them for none. ConfigError for a name that no benchmark has."""
    names = [ALIASES.get(name, name) for name in names]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            todo = f"did you mean {near[0]}?" if near else None
            raise ConfigError(f"there is no benchmark called {name!r}", allowed=", ".join(known) or "none", todo=todo)
    return [known[name] for name in names or known]


@guarded()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all by default.")] = None,
    debug: Debug = False,
) -> None:
    """Run the benchmarks of a checkout, one after another."""
    root = checkout(Path.cwd())
    known = benchmarks_of(root)
    failed: list[str] = []
    for path in chosen(known, names or []):
        say(f"benchmark {path.stem}")
        if subprocess.run([sys.executable, str(path)], cwd=root, check=False).returncode:
            failed.append(path.stem)
    if failed:
        complain(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)
