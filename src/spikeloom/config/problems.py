"""
Problems of a configuration: each names its key, what was found, what is allowed and its line; all of them make one error.

What is allowed is read from the models' JSON schema, so that it is written down once.
"""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from spikeloom.errors import ConfigError

Schema = Mapping[str, Any]
Position = tuple[int, int]
"""Line and column, both counted from 1."""


@final
@dataclass(frozen=True)
class Problem:
    """One thing wrong: where ('line 3, column 12', '--levels' or ''), the key's full path, what is wrong with it."""

    where: str
    key: str
    what: str
    found: str | None = None
    allowed: str | None = None

    @property
    def headline(self) -> str:
        """Where it is and what it is, on one line."""
        return ": ".join(filter(None, (self.where, f"{self.key} {self.what}")))

    @property
    def block(self) -> str:
        """The problem as an entry of a list of problems."""
        said = (("found", self.found), ("allowed", self.allowed))
        return "\n      ".join([self.headline, *(f"{word}: {text}" for word, text in said if text is not None)])

    @staticmethod
    def error(name: str, problems: Sequence["Problem"], todo: str | None = None) -> ConfigError:
        """The one error of all problems of the configuration called `name` ('' for none)."""
        if len(problems) == 1:
            (only,) = problems
            headline = ", ".join(filter(None, (name, only.headline)))
            return ConfigError(headline, found=only.found, allowed=only.allowed, todo=todo)
        title = f"{name or 'the configuration'} has {len(problems)} problems"
        return ConfigError("\n    ".join([title, *(problem.block for problem in problems)]), todo=todo)


def place(position: Position) -> str:
    """A position in words."""
    return f"line {position[0]}, column {position[1]}"


def shown(value: object) -> str:
    """A value as YAML would have it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Path):
        return str(value)
    return "a section" if isinstance(value, Mapping) else reprlib.repr(list(value) if isinstance(value, tuple) else value)


def resolved(schema: Schema, root: Schema) -> Schema:
    """A part of a schema with its reference followed; an optional section is the section."""
    parts = [part for part in schema.get("anyOf", ()) if "$ref" in part]
    reference = schema.get("$ref") or (parts[0]["$ref"] if parts else None)
    return schema if reference is None else root["$defs"][str(reference).rpartition("/")[2]]


def section(root: Schema, path: Sequence[str | int]) -> Schema:
    """The schema of what lies at a path, or of the last on the way that has one (a list's entries have none)."""
    here = root
    for key in path:
        if key not in here.get("properties", {}):
            break
        here = resolved(here["properties"][key], root)
    return here


def allowed(schema: Schema) -> str:
    """The values that a part of a schema takes, in words."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "anyOf" in schema:
        return ", or ".join(allowed(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum") or [schema["const"]]))
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    number = {"integer": "a whole number", "number": "a number"}.get(str(schema.get("type")))
    if number is None:
        return {"boolean": "true or false", "null": "null", "string": "text"}[str(schema["type"])]
    return " ".join([number, *_bounds(schema)])


def _bounds(schema: Schema) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"from {low} to {high}"
    elif low is not None:
        yield f"from {low} on"
    elif "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']}" + (f", at most {high}" if high is not None else "")


def leaves(root: Schema, schema: Schema | None = None, path: str = "") -> Iterator[str]:
    """The full path of every key."""
    for name, part in (root if schema is None else schema).get("properties", {}).items():
        full = f"{path}.{name}" if path else name
        yield full
        yield from leaves(root, resolved(part, root), full)


def meant(root: Schema, path: Sequence[str | int]) -> str:
    """', did you mean …?' for a key that does not exist: a like one in its section, else one of that name elsewhere; else ''."""
    name, siblings = str(path[-1]), list(section(root, path[:-1]).get("properties", {}))
    elsewhere = {full.rpartition(".")[2]: full for full in leaves(root)}
    near = difflib.get_close_matches(name, siblings, n=1)
    near = near or [elsewhere[close] for close in difflib.get_close_matches(name, list(elsewhere), n=1, cutoff=0.8)]
    return did_you_mean(near)


def did_you_mean(near: Sequence[str]) -> str:
    """', did you mean …?' for the first of what is near; else ''."""
    return f", did you mean {near[0]}?" if near else ""
