"""`spikeloom logic`: a logic-gated network written out as threshold gates or Boolean equations, and checked against the network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import complain, emit, say
from spikeloom.cli.options import EXIT_CODES, Debug, Json, flag
from spikeloom.cli.progress import shown
from spikeloom.errors import ResourceError

if TYPE_CHECKING:
    from spikeloom.logic import Equations, GateList, Verdict

DIFFERENT = 1
EXAMPLE = (
    f"Example: spikeloom logic artifacts/digits --output gates.txt --check\n\n{EXIT_CODES[:-1]}. "
    "With --check, 1 also says that they differ: a counterexample is printed."
)


@guarded()
def logic(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A logic-gated program: what `convert --method logic_gated` wrote.")],
    file: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it there: .json as JSON, else as text.")] = None,
    equations: Annotated[bool, flag("--equations", "Minimised Boolean equations instead of threshold gates.")] = False,
    check: Annotated[
        bool, flag("--check", "Compare with the network for every input: by trying all, or by SAT where they are too many.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a logic-gated network out as threshold gates or Boolean equations, as an FPGA takes them."""
    with shown(quiet=as_json or (file is None and not check)) as progress:
        progress("reading", 0, 0)
        from spikeloom import ir
        from spikeloom import logic as networks

        program = ir.load(folder)
        progress("unrolling", 0, 0)
        gates = networks.written(program)
        made = networks.equations_of(gates) if equations else gates
        verdict = None
        if check:
            progress("checking", 0, 0)
            verdict = networks.compared(program, made)
    data, told = networks.as_data(made), facts(made, verdict)
    if file is not None:
        store(file, json.dumps(data) + "\n" if file.suffix == ".json" else networks.as_text(made))
    if as_json:
        emit({**told, "file": str(file)} if file is not None else {**data, **told})
    elif file is not None:
        say(summary(file, told))
    else:
        say(networks.as_text(made) + (f"# {checked(told)}" if verdict else ""))
    if verdict is not None and not verdict.equal:
        complain(checked(told))
        raise typer.Exit(DIFFERENT)


def facts(made: "GateList | Equations", verdict: "Verdict | None") -> dict[str, Any]:
    """Counts, and what the check found."""
    from spikeloom.logic import GateList

    if isinstance(made, GateList):
        counts: dict[str, Any] = {"input_bits": len(made.bits), "threshold_gates": len(made.gates), "wires": made.wires}
    else:
        counts = {"input_bits": len(made.bits), "boolean_equations": len(made.equations), "products": made.products}
    if verdict is None:
        return counts
    shown_input = None if verdict.counterexample is None else verdict.counterexample.flatten().tolist()
    found = {"equal": verdict.equal, "way": verdict.way, "tried": verdict.tried, "counterexample": shown_input}
    return {**counts, "check": {**found, "network": verdict.network, "written": verdict.written}}


def checked(told: dict[str, Any]) -> str:
    """What the check found, in a line or two."""
    found = told["check"]
    if found["equal"]:
        return (
            f"equals the network: all {found['tried']:,} inputs tried"
            if found["way"] == "exhaustive"
            else "equals the network: proved by SAT"
        )
    return (
        f"differs from the network\n  found: class {found['written']} where the network answers {found['network']}\n"
        f"  input: {' '.join(f'{value:g}' for value in found['counterexample'])}"
    )


def summary(file: Path, told: dict[str, Any]) -> str:
    """Where it was written, what it holds, and what the check found."""
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in told.items() if name != "check")
    return "\n".join([f"{file}: {counts}", *([checked(told)] if "check" in told and told["check"]["equal"] else [])])


def store(file: Path, text: str) -> None:
    """Write a text. Raises ResourceError where the disk refuses."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResourceError(f"cannot write {file}", found=error.strerror, todo="choose a file in a folder that exists") from error
