"""
A YAML document with the place of every key and value, for errors that name the line.

Read by PyYAML's safe loader; two things differ from it: a key that stands twice in one mapping is an error (PyYAML keeps the last one), and
1e-3 is a number (PyYAML takes it for text), as in YAML 1.2.

Source: YAML 1.2.2 (https://yaml.org/spec/1.2.2/), §3.2.1.3 and §10.3.2.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml

from spikeloom.config.problems import Position, Problem, place, shown
from spikeloom.errors import ConfigError


@final
class _Loader(yaml.SafeLoader):
    """The safe loader, to which 1e-3 is a number."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))


@final
@dataclass(frozen=True)
class Document:
    """What a file says: its mapping, and the tree of nodes that knows the places; `root` is None for an empty file."""

    path: Path
    values: dict[str, Any]
    root: yaml.Node | None

    def position(self, keys: Sequence[str | int], *, of_key: bool = False) -> Position:
        """Where the value (or the key) at a path of keys stands; where the last key on the way that the file has does."""
        found, node = (1, 1), self.root
        for key in keys:
            pair = entry(node, key)
            if pair is None:
                break
            found, node = position_of(pair[0] if of_key else pair[1]), pair[1]
        return found


def position_of(node: yaml.Node) -> Position:
    """Where a node begins."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def entry(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The (key, value) nodes under `key` of a mapping or sequence node; None where it has none."""
    if isinstance(node, yaml.MappingNode):
        return next((pair for pair in node.value if pair[0].value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    return None


def duplicates(root: yaml.Node) -> list[Problem]:
    """One problem for every key that stands a second time in its mapping."""
    found: list[Problem] = []
    waiting, met = [("", root)], set[int]()
    while waiting:
        path, node = waiting.pop()
        if id(node) in met or isinstance(node, yaml.ScalarNode):
            continue
        met.add(id(node))
        first: dict[str, yaml.Node] = {}
        for key, value in node.value if isinstance(node, yaml.MappingNode) else enumerate(node.value):
            name = str(key.value) if isinstance(key, yaml.Node) else str(key)
            full = f"{path}.{name}" if path else name
            if isinstance(key, yaml.Node) and first.setdefault(name, key) is not key:
                also = f"also in {place(position_of(first[name]))}"
                found.append(Problem(place(position_of(key)), full, "stands twice", found=also, allowed="once"))
            waiting.append((full, value))
    return found


def read_document(path: Path) -> Document:
    """The document in a file. ConfigError: no such file, no YAML, keys twice, or something else than keys with values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else f"not UTF-8: {error.reason}"
        raise ConfigError(f"the configuration {path} cannot be read", found=found, todo="give the path of a YAML file") from error
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        twice = duplicates(root) if root is not None else []
        values = loader.construct_document(root) if root is not None and not twice else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", {place((mark.line + 1, mark.column + 1))}" if mark is not None else ""
        raise ConfigError(f"{path}{where}: this is no YAML that can be read", found=error.problem or error.context) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: this is no YAML that can be read", found=str(error).splitlines()[0]) from error
    finally:
        if loader is not None:
            loader.dispose()
    if twice:
        raise Problem.error(str(path), twice)
    values = {} if values is None else values
    strange = [key for key in values if not isinstance(key, str)] if isinstance(values, dict) else [values]
    if strange:
        raise ConfigError(f"{path} is not a configuration", found=shown(strange[0]), allowed="keys with values, such as `dataset: digits`")
    return Document(path, values, root)
