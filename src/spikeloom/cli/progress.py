"""
Progress on stderr: a bar for every phase on a terminal, a line now and then elsewhere.

Work reports (what, done, total); what is "phase: detail", the phase being what keeps its bar; a total of 0 means that nobody knows it.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import final

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spikeloom.cli.console import errors

Report = Callable[[str, int, int], None]

EVERY_S = 10.0
"""Where there is no terminal, the seconds between two lines of the same phase."""


def split(what: str) -> tuple[str, str]:
    """The phase, and the detail behind its colon."""
    phase, _, detail = what.partition(":")
    return phase.strip(), detail.strip()


def remaining(done: int, total: int, seconds: float) -> str:
    """', 0:03:20 left' after `seconds` of work; '' where nobody can know."""
    if not 0 < done < total:
        return ""
    return f", {timedelta(seconds=round(seconds * (total - done) / done))} left"


@final
class Bars:
    """A bar for every phase; the last one moves."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.phase = progress, ""
        self.task: TaskID | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        phase, detail = split(what)
        if phase != self.phase or self.task is None:
            self.finish()
            self.phase, self.task = phase, self.progress.add_task(phase, total=total or None, detail="")
        self.progress.update(self.task, completed=done, total=total or None, detail=detail)

    def finish(self) -> None:
        """The bar that moved is full."""
        if self.task is not None:
            done = max(1, int(self.progress.tasks[self.task].completed))
            self.progress.update(self.task, completed=done, total=done)


@final
class Lines:
    """A line when a phase begins, and one every `EVERY_S` seconds."""

    def __init__(self) -> None:
        self.phase, self.began, self.said, self.first = "", 0.0, 0.0, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        (phase, detail), now = split(what), time.monotonic()
        if phase != self.phase:
            self.phase, self.began, self.said, self.first = phase, now, now, done
            self._write(f"{phase} ...")
        elif now - self.said >= EVERY_S:
            self.said = now
            left = remaining(done - self.first, total - self.first, now - self.began)
            self._write(f"{phase}: {', '.join(filter(None, (detail, f'{done}/{total}' if total else str(done))))}{left}")

    def _write(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def nothing(what: str, done: int, total: int) -> None:
    """Shows nothing."""


@contextmanager
def shown(*, quiet: bool) -> Generator[Report]:
    """What work reports to: bars on a terminal; elsewhere lines, or nothing when `quiet`."""
    console = errors()
    if not console.is_terminal:
        yield nothing if quiet else Lines()
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress)
        yield bars
        bars.finish()
