"""
Save and load: a program is a folder of JSON and safetensors, written whole or not at all, and loading runs nothing of it.

    program.json       dialect, inputs, graph (operations by allow-listed name), plan, grids of weights, digests of the other files
    model.safetensors  the tensors, or shards of them (`shards`)
    config.json        settings: source, preprocessing, class names
    records.json       what every pass did

Source: safetensors (https://huggingface.co/docs/safetensors); names resolve through the rule tables alone.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import fx

from spikeloom.errors import ProgramError, ResourceError, VerifyError
from spikeloom.ir.codec import decode, encode
from spikeloom.ir.program import PlanRow, Program, Record, TensorSpec
from spikeloom.ir.quantised import apart, together
from spikeloom.ir.rules import Dialect, name_of, resolve
from spikeloom.ir.shards import WHOLE, read_tensors, write_tensors
from spikeloom.ir.verify import verify

FORMAT = 1
PLAIN = ("config.json", "records.json")
_SHARD = re.compile(r"model(-\d{5})?\.safetensors")
_DISTRUST = "nothing was run; do not trust this folder"


def graph_rows(graph: fx.Graph) -> list[dict[str, Any]]:
    """The graph as JSON rows in execution order."""
    rows: list[dict[str, Any]] = []
    for node in graph.nodes:
        row: dict[str, Any] = {
            "name": node.name,
            "op": node.op,
            "target": name_of(node.target) if node.op == "call_function" else str(node.target),
        }
        row |= {"args": encode(list(node.args)), "kwargs": {key: encode(value) for key, value in node.kwargs.items()}}
        if node.meta.get("spec") is not None:
            row["spec"] = [list(node.meta["spec"][0]), node.meta["spec"][1]]
        if node.meta.get("note"):
            row["note"] = node.meta["note"]
        rows.append(row)
    return rows


def graph_of(rows: list[Any]) -> fx.Graph:
    """The graph behind its JSON rows; ProgramError for an operation outside the allow-list, or a name that is no plain name."""
    graph, nodes = fx.Graph(), dict[str, fx.Node]()
    for row in rows:
        args, kwargs = tuple(decode(row["args"], nodes)), {key: decode(value, nodes) for key, value in row["kwargs"].items()}
        if not all(key.isidentifier() for key in kwargs):
            raise ProgramError("a keyword that is none", found=list(kwargs), todo=_DISTRUST)
        node = graph.create_node(row["op"], _target(row), args, kwargs, name=row["name"])
        if node.name != row["name"]:
            raise ProgramError("two nodes with one name", found=row["name"])
        node.meta["note"] = dict(row.get("note", {}))
        if "spec" in row:
            node.meta["spec"] = (tuple(row["spec"][0]), row["spec"][1])
        nodes[row["name"]] = node
    if [place for place, row in enumerate(rows) if row["op"] == "output"] != [len(rows) - 1]:
        raise ProgramError("a graph ends with its one output", found=[row["op"] for row in rows][-3:])
    return graph


def _target(row: Mapping[str, Any]) -> Any:
    """What a row's node stands for. torch.fx writes the names of inputs and constants into source code: none may leave its quotes."""
    name = row["target"]
    match row["op"]:
        case "call_function":
            found = resolve(name)
            if found is None:
                raise ProgramError("an operation outside the allow-list", found=name, todo=_DISTRUST)
            return found
        case "placeholder":
            plain = name == row["name"]
        case "get_attr":
            plain = isinstance(name, str) and name.isprintable() and not {'"', "\\"} & set(name)
        case "output":
            plain = name == "output"
        case _:
            raise ProgramError("a node of a kind no program has", found=row["op"])
    if not plain:
        raise ProgramError("a name that is no plain name", found=repr(name), todo=_DISTRUST)
    return name


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def body_digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of what program.json says, but for its own digest, in hex."""
    others = {name: value for name, value in body["digests"].items() if name != "program.json"}
    return hashlib.sha256(json.dumps({**body, "digests": others}).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all (a temporary file, flushed, then renamed over)."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; ResourceError when the disk refuses, with nothing left behind."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResourceError(
            f"cannot write {path}", found=error.strerror or str(error), todo="free some disk space or choose another folder"
        ) from error


def save(program: Program, folder: Path, extra: Mapping[str, Program] | None = None, *, shard_bytes: int | None = None) -> None:
    """Save a program as `folder`, replacing an earlier one there only once the new one is whole.

    `extra` programs (the ANN, the control) go into subfolders of those names. More tensors than `shard_bytes` (by default
    `shards.SHARD_BYTES`) are shared out to files of so many bytes, of which none needs to be in memory whole when the program is loaded.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        _write(program, temporary, shard_bytes)
        for name, other in (extra or {}).items():
            _write(other, temporary / name, shard_bytes)
        _swap(temporary, folder)
    except (OSError, SafetensorError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise ResourceError(
            f"cannot save the program to {folder}", found=found, todo="free some disk space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(program: Program, folder: Path, shard_bytes: int | None) -> None:
    folder.mkdir(parents=True)
    flat, grids = apart(program.tensors)
    files = write_tensors(flat, folder, shard_bytes)
    (folder / "config.json").write_text(json.dumps(dict(program.settings), indent=1))
    (folder / "records.json").write_text(json.dumps([dataclasses.asdict(record) for record in program.records], indent=1))
    body: dict[str, Any] = {
        "format": FORMAT,
        "dialect": program.dialect,
        "inputs": [dataclasses.asdict(spec) for spec in program.inputs],
        "plan": [dataclasses.asdict(row) for row in program.plan],
        "digests": {name: digest(folder / name) for name in (*files, *PLAIN)},
        "graph": graph_rows(program.graph),
    } | ({"grids": grids} if grids else {})
    body["digests"]["program.json"] = body_digest(body)
    (folder / "program.json").write_text(json.dumps(body, indent=1))


def _swap(temporary: Path, folder: Path) -> None:
    """Put a finished folder in another's place. Files of the old folder that a program does not own stay."""
    if not folder.exists():
        temporary.rename(folder)
        return
    stale = [path for path in folder.iterdir() if _SHARD.fullmatch(path.name) and not (temporary / path.name).exists()]
    for item in sorted(temporary.iterdir(), key=lambda path: path.name == "program.json"):
        target = folder / item.name
        if target.is_dir():
            shutil.rmtree(target)
        item.replace(target)
    for path in stale:
        path.unlink()


def load(folder: Path) -> Program:
    """The program saved in `folder`, verified. Nothing from the folder is executed.

    Raises ProgramError where a file is missing, truncated, altered, of another format, or names what no program has.
    """
    body = _read_json(folder / "program.json")
    try:
        if body["format"] != FORMAT:
            raise ProgramError(f"{folder} was saved in another format", found=body["format"], allowed=FORMAT)
        _check_digests(folder, body)
        program = Program(
            graph=graph_of(body["graph"]),
            tensors=together(read_tensors(folder, shards_of(body), _dtypes(body)), body.get("grids", {})),
            dialect=Dialect(body["dialect"]),
            inputs=tuple(TensorSpec(**_with_tuple(_with_tuple(spec, "shape"), "lengths")) for spec in body["inputs"]),
            plan=tuple(PlanRow(**row) for row in body["plan"]),
            records=tuple(Record(**_with_tuple(row, "papers")) for row in _read_json(folder / "records.json")),
            settings=_read_json(folder / "config.json"),
        )
        _check_inputs(program)
        program.graph.lint()
        verify(program)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OSError, SafetensorError, VerifyError) as error:
        raise ProgramError(
            f"{folder} does not hold a valid program", found=f"{type(error).__name__}: {error}", todo="convert the model again"
        ) from error
    return program


def shards_of(body: Mapping[str, Any]) -> list[str]:
    """The files that hold a saved program's tensors, in order."""
    return sorted(name for name in body["digests"] if _SHARD.fullmatch(name))


def _dtypes(body: Mapping[str, Any]) -> dict[str, str]:
    """The dtype that the graph knows each of its constants by."""
    return {str(row["target"]): str(row["spec"][1]) for row in body["graph"] if row["op"] == "get_attr" and "spec" in row}


def _with_tuple(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A JSON object with one of its lists as a tuple."""
    return {**row, key: tuple(row[key])}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProgramError(
            f"{path.parent} is not a saved program", found=f"no {path.name}", todo="give a folder that `convert` wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ProgramError(f"{path} is truncated or altered", found=str(error), todo="convert the model again") from error


def _check_digests(folder: Path, body: Mapping[str, Any]) -> None:
    for name in ("program.json", *(shards_of(body) or [WHOLE]), *PLAIN):
        path = folder / name
        if not path.is_file():
            raise ProgramError(f"{folder} is not a whole program", found=f"no {name}", todo="convert the model again")
        if body["digests"][name] != (body_digest(body) if name == "program.json" else digest(path)):
            raise ProgramError(
                f"{path} is truncated or altered", found="its SHA-256 differs from the one saved", todo="convert the model again"
            )


def _check_inputs(program: Program) -> None:
    declared, found = [spec.name for spec in program.inputs], [node.name for node in program.graph.nodes if node.op == "placeholder"]
    if declared != found:
        raise ProgramError("the graph takes other inputs than the program declares", found=found, allowed=declared)
