"""
YAML that a person wrote, read so that every message names the file and the line.

PyYAML's safe loader composes the nodes; a key that stands twice, an unknown key and a value of another form are one ConfigError each.
Source: YAML 1.2.2 (https://yaml.org/spec/1.2.2/), §3.2.1.3.
"""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml

from spikeloom.errors import ConfigError


@final
@dataclass(frozen=True)
class Entry:
    """A value of a document, and where it stands."""

    file: str
    node: yaml.Node

    @property
    def where(self) -> str:
        """File and line, as messages begin."""
        return f"{self.file}, line {self.node.start_mark.line + 1}"

    @property
    def plain(self) -> Any:
        """The value as numbers, texts, lists and mappings."""
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self.node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{self.where}: a value that cannot be read", found=str(error).splitlines()[0]) from error
        finally:
            loader.dispose()

    def fields(self, allowed: Collection[str] | None = None, needed: Collection[str] = ()) -> dict[str, "Entry"]:
        """The values of a mapping by key. Raises ConfigError where it is none, for a key twice, unknown or missing."""
        if not isinstance(self.node, yaml.MappingNode):
            keys = f"the keys {', '.join(allowed)}" if allowed else "names with values"
            raise ConfigError(f"{self.where}: a mapping is wanted", found=self.plain, allowed=keys)
        found: dict[str, Entry] = {}
        for key, value in self.node.value:
            name, where = str(key.value), f"{self.file}, line {key.start_mark.line + 1}"
            if name in found:
                raise ConfigError(f"{where}: a key stands twice", found=name, allowed="once")
            if allowed is not None and name not in allowed:
                near = difflib.get_close_matches(name, list(allowed), n=1)
                todo = f"did you mean {near[0]}?" if near else None
                raise ConfigError(f"{where}: there is no such key", found=name, allowed=", ".join(allowed), todo=todo)
            found[name] = Entry(self.file, value)
        missing = [name for name in needed if name not in found]
        if missing:
            raise ConfigError(f"{self.where}: a key is missing", found=", ".join(found) or "nothing", allowed=f"needed: {missing[0]}")
        return found

    def items(self) -> list["Entry"]:
        """The values of a list. Raises ConfigError where it is none."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise ConfigError(f"{self.where}: a list is wanted", found=self.plain, allowed="entries that begin with '- '")
        return [Entry(self.file, each) for each in self.node.value]

    def text(self) -> str:
        """Raises ConfigError where it is no text."""
        found = self.plain
        if not isinstance(found, str) or not found.strip():
            raise ConfigError(f"{self.where}: text is wanted", found=found)
        return found

    def number(self, low: float = float("-inf")) -> float:
        """Raises ConfigError where it is no finite number, or less than `low`."""
        found = self.plain
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found < float("inf"):
            raise ConfigError(f"{self.where}: a number is wanted", found=found, allowed=f"from {low:g} on" if low > float("-inf") else None)
        return float(found)


def read(path: Path) -> Entry:
    """The document in a file. Raises ConfigError for no such file, or no YAML."""
    try:
        return document(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else f"not UTF-8: {error.reason}"
        raise ConfigError(f"the rules {path} cannot be read", found=found, todo="give the path of a YAML file") from error


def document(text: str, file: str = "the rules") -> Entry:
    """The document in a text; `file` is what messages call it. Raises ConfigError for no YAML, or none at all."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ConfigError(f"{file}{where}: this is no YAML that can be read", found=error.problem or error.context) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: this is no YAML that can be read", found=str(error).splitlines()[0]) from error
    if root is None:
        raise ConfigError(f"{file} is empty", allowed="keys with values, such as rules:")
    return Entry(file, root)
