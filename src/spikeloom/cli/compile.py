"""`spikeloom compile`: a saved network as files for a target; `--list-targets`, `--replay`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import DATASETS, EXIT_CODES, DataRoot, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

CHANGED = 1
ALIKE, HINT = 0.99, " (a network that is converted with --whole-numbers loses nothing here)"
EXAMPLE = (
    "Example: spikeloom compile artifacts/converted_snn --target c --option kernels=event --output-dir artifacts/digits_c\n\n"
    f"{EXIT_CODES[:-1]}. With --replay, 1 also says that the files would be others."
)


@guarded()
def compile_network(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder that convert or train wrote; with --replay one that compile wrote.")
    ] = None,
    target: Annotated[str | None, option("NAME", "What to compile for: --list-targets shows them.")] = None,
    options: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the target; repeatable.")] = None,
    output_dir: Annotated[Path | None, option("DIR", "Where the files go; by default artifacts/compiled_<target>.")] = None,
    dataset: Annotated[str | None, option("NAME", f"{DATASETS} By default the one it was converted for.")] = None,
    data_root: DataRoot = None,
    samples: Annotated[int, typer.Option(min=1, metavar="K", help="Test samples on which whole numbers are compared with floating.")] = 512,
    vectors: Annotated[int, typer.Option(min=1, metavar="V", help="Golden vectors that are shipped and run.")] = 16,
    no_verify: Annotated[bool, flag("--no-verify", "Do not run what was written on the golden vectors.")] = False,
    list_targets: Annotated[bool, flag("--list-targets", "Say what each target takes, and its options.")] = False,
    replay: Annotated[bool, flag("--replay", "Whether compiling it again gives the same bytes, and DIR still answers.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compile a saved spiking network for hardware: integers only, compared with the integer reference bit for bit."""
    if list_targets:
        shown_targets(as_json)
        return
    if folder is None:
        raise ConfigError("no network was named", todo=EXAMPLE.split("\n")[0])
    if replay:
        replayed(folder, as_json, verify=not no_verify)
        return
    if target is None:
        from spikeloom.backend import TARGETS

        raise ConfigError("no target was named", allowed=", ".join(TARGETS), todo="give --target; --list-targets says what each takes")
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        made = pipeline.compile_folder(
            folder,
            target,
            output_dir or Path(f"artifacts/compiled_{target}"),
            pairs(options or []),
            dataset=dataset,
            data_root=data_root,
            samples=samples,
            vectors=vectors,
            verify=not no_verify,
            progress=progress,
        )
    if as_json:
        emit({"folder": str(made.folder), **{key: value for key, value in made.told.items() if key != "files"}})
        return
    output().print(summary(made.folder, made.told))


def pairs(words: list[str]) -> dict[str, str]:
    """key=value words. Raises ConfigError for a word that is none."""
    found = dict[str, str]()
    for word in words:
        key, given, value = word.partition("=")
        if not (key and given):
            raise ConfigError("an option is no pair", found=word, allowed="--option key=value")
        found[key.strip()] = value.strip()
    return found


def summary(folder: Path, told: dict[str, Any]) -> Any:
    """A table of what was compiled and how it compared."""
    from rich.table import Table

    table = Table(title=f"{told['target']}: {folder}", title_justify="left", show_header=False)
    rows: list[tuple[str, str]] = [("neurons, weights, T", f"{told['neurons']:,}, {told['weights']:,}, {told['timesteps']}")]
    if "accuracy" in told:
        whole, floating = told["accuracy"], told["accuracy_floating"]
        rows.append(("accuracy in whole numbers", f"{whole:.2%} (floating {floating:.2%}, {told['samples']:,} samples)"))
    rows.append(("agreement with the floating network", f"{told['agreement']:.2%}{'' if told['agreement'] >= ALIKE else HINT}"))
    rows += [(key.replace("_", " "), _words(value)) for key, value in told["report"].items()]
    verified = told.get("verified")
    if verified is not None:
        equal = f"{verified.get('samples')} golden vectors equal: {verified.get('how')}"
        rows.append(("verified", equal if verified["ran"] else f"not run: {verified['why']}"))
    for row in rows:
        table.add_row(*row)
    return table


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return f"{len(value)} rows" if len(value) > 8 else "; ".join(_words(each) for each in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def shown_targets(as_json: bool) -> None:
    """What each target takes."""
    from spikeloom.backend import TARGETS

    rows: dict[str, Any] = {}
    for name, each in TARGETS.items():
        rows[name] = {"title": each.title, "takes": dict(each.takes), "options": option_rows(each.options)}
    if as_json:
        emit(rows)
        return
    for name, row in rows.items():
        say(f"{name}: {row['title']}")
        for part, words in row["takes"].items():
            say(f"    {part:<14} {words}")
        for key, told in row["options"].items():
            say(f"    --option {key}={told['default']}   {told['description']}")
        say("")


def option_rows(options: Any) -> dict[str, dict[str, str]]:
    """Each option's default, type and description."""
    found = dict[str, dict[str, str]]()
    for name, field in options.model_fields.items():
        found[name] = {"default": str(field.default), "type": str(field.annotation), "description": field.description or ""}
    return found


def replayed(folder: Path, as_json: bool, *, verify: bool) -> None:
    """Says whether the same bytes would be written today, and are still there; exit code 1 where not."""
    with shown(quiet=as_json) as progress:
        progress("compiling again", 0, 0)
        from spikeloom import pipeline

        found = pipeline.replay(folder, verify=verify)
    if as_json:
        emit(found)
    else:
        parts = [f"{word}: {', '.join(found[word])}" for word in ("changed", "new", "gone") if found[word]]
        say(f"{folder}: the same bytes" if found["same"] else f"{folder}: other bytes\n  " + "\n  ".join(parts))
        if found["altered"]:
            say(f"  not what was written any more: {', '.join(found['altered'])}")
        if not found.get("verified", {"ran": True})["ran"]:
            say(f"  the golden vectors were not run: {found['verified']['why']}")
        if not found["lowered"]:
            say(f"  from its own netlist, not lowered again: {found['not_lowered']}")
    if not found["same"] or found["altered"]:
        raise typer.Exit(CHANGED)
