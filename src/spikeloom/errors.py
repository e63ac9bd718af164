"""
Errors, two kinds: the user's and ours.

    SpikeloomError
    ├── UserError             something the user can mend; the command line prints it as one message, exit code 2
    │   ├── SourceError       a model address, its weights, or what they hold
    │   ├── DataError         a data address, a picture, a label, a loader
    │   ├── ConfigError       a key or value of the YAML or of the command line
    │   ├── UnsupportedError  an operation no dialect takes
    │   ├── ProgramError      a saved program that is tampered with, truncated or of another version
    │   ├── VerifyError       a program that breaks its dialect's rules
    │   ├── NumericError      NaN or infinite weights or activations, dead layers, shapes that disagree
    │   └── ResourceError     disk full, out of memory, a missing optional library
    └── InternalError         a bug of ours; the message asks for a report
"""

from typing import final


class SpikeloomError(Exception):
    """The root of every error that Spikeloom raises on purpose."""


class UserError(SpikeloomError):
    """An error the user can mend: says what is wrong, what was found, what is allowed, and what to do next."""

    exit_code = 2

    def __init__(self, problem: str, *, found: object = None, allowed: object = None, todo: str | None = None) -> None:
        self.problem, self.found, self.allowed, self.todo = problem, found, allowed, todo
        super().__init__(self.render())

    def render(self) -> str:
        """The message in full, one line a part: problem, found, allowed, what to do."""
        parts = [self.problem]
        if self.found is not None:
            parts.append(f"found: {self.found}")
        if self.allowed is not None:
            parts.append(f"allowed: {self.allowed}")
        if self.todo is not None:
            parts.append(f"what to do: {self.todo}")
        return "\n  ".join(parts)


@final
class SourceError(UserError):
    """A model address that leads nowhere, or weights that do not fit the model."""


@final
class DataError(UserError):
    """A data address that leads nowhere, or samples that are not what the model takes."""


@final
class ConfigError(UserError):
    """A configuration key or value that is unknown or out of range."""


@final
class UnsupportedError(UserError):
    """An operation that has no place in the dialect asked for."""


@final
class ProgramError(UserError):
    """A saved program that cannot be trusted: truncated, altered, or written by another version."""


@final
class VerifyError(UserError):
    """A program that breaks a rule of its dialect."""


@final
class NumericError(UserError):
    """Numbers that cannot be used: NaN, infinities, shapes that disagree, populations that never fire."""


@final
class ResourceError(UserError):
    """The machine lacks something: disk, memory, an optional library."""


@final
class InternalError(SpikeloomError):
    """A bug in Spikeloom. The message says what invariant broke; please report it."""
