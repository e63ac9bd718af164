"""Progress: bars on a terminal, lines elsewhere, nothing where JSON is asked for."""

import io
import itertools
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from spikeloom.cli.progress import Bars, Lines, nothing, remaining, shown, split


def test_a_phase_is_what_stands_before_the_colon() -> None:
    assert split("training the ANN: epoch 3/20, accuracy 45.0%") == ("training the ANN", "epoch 3/20, accuracy 45.0%")
    assert split("evaluating") == ("evaluating", "")


@pytest.mark.parametrize(("done", "total", "said"), [(1, 4, ", 0:03:00 left"), (0, 4, ""), (4, 4, ""), (5, 0, "")])
def test_the_time_that_is_left(done: int, total: int, said: str) -> None:
    assert remaining(done, total, 60.0) == said


def test_lines_come_when_a_phase_begins_and_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = itertools.chain([0.0, 4.0, 11.0, 12.0, 22.0, 23.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = Lines()
    for done in range(5):
        lines(f"training: epoch {done}", 10 + done * 10, 100)
    lines("evaluating", 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "training ...",
        "training: epoch 2, 30/100, 0:00:38 left",  # 20 of 90 in 11 s
        "training: epoch 4, 50/100, 0:00:28 left",  # 40 of 90 in 22 s
        "evaluating ...",
    ]


def test_a_bar_for_every_phase() -> None:
    stream = io.StringIO()
    progress = Progress(console=Console(file=stream, force_terminal=True, width=100))
    bars = Bars(progress)
    for done in range(3):
        bars(f"training: epoch {done} [x]", done, 10)
    bars("observing", 7, 0)
    bars("observing", 8, 0)
    assert [(task.description, task.completed, task.total, task.finished) for task in progress.tasks] == [
        ("training", 2, 2, True),
        ("observing", 8, None, False),
    ]
    assert progress.tasks[0].fields["detail"] == "epoch 2 [x]"
    bars.finish()
    assert progress.tasks[1].finished


def test_without_a_terminal_there_are_lines_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=False) as report:
        assert isinstance(report, Lines)
    with shown(quiet=True) as report:
        assert report is nothing
        report("evaluating", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_are_bars_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with shown(quiet=True) as report:
        assert isinstance(report, Bars)
        report("evaluating: [bold]", 1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluating" in err
    assert "[bold]" in err
