"""
The boundary: what every error becomes on the way out. No traceback without --debug.

    0     done
    1     a bug of ours
    2     something the user can mend
    3     `check`: an operation is unsupported
    130   stopped by Ctrl-C
    141   the reader of our output went away
"""

import errno
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from spikeloom.cli.console import complain
from spikeloom.errors import UserError

BUG, STOPPED, UNREAD, UNSUPPORTED = 1, 130, 141, 3

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})
"""What a file system says that is nobody's bug: full, read-only, forbidden."""


def guarded(stopped: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of commands that have a parameter `debug`: errors become one message and an exit code. `stopped` is said after Ctrl-C."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            debug = bool(kwargs.get("debug"))
            logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
            try:
                command(*args, **kwargs)
                sys.stdout.flush()
            except typer.Exit:
                raise
            except BaseException as error:
                code = explained(error, stopped, debug=debug)
                if code is None:
                    raise
                raise typer.Exit(code) from error

        return run

    return decorate


def explained(error: BaseException, stopped: str = "", *, debug: bool = False) -> int | None:
    """The exit code of an error that was told on stderr; None for one that is not ours to tell (SystemExit)."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return UNREAD
    if debug and isinstance(error, Exception):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        complain(f"stopped{stopped}")
        return STOPPED
    if isinstance(error, UserError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.errno in REFUSALS:
        complain(f"the file system refused\n  found: {error}\n  what to do: make room or choose another place")
        return UserError.exit_code
    if isinstance(error, MemoryError):
        complain("there is not enough memory\n  what to do: take smaller batches (evaluation.batch_size, --batch-size) or fewer samples")
        return UserError.exit_code
    if isinstance(error, Exception):
        see = "report it with the traceback above" if debug else "run it again with --debug for the traceback, and report it"
        complain(f"this is a bug in Spikeloom\n  found: {type(error).__name__}: {error}\n  what to do: {see}")
        return BUG
    return None
