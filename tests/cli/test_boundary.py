"""The boundary: every error becomes one message on stderr and a stable exit code; no traceback without --debug."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spikeloom.cli.boundary import explained, guarded
from spikeloom.errors import InternalError, SourceError


def told(error: BaseException, capsys: pytest.CaptureFixture[str], *, debug: bool = False) -> tuple[int | None, str]:
    """The exit code and stderr of an error; stdout stays empty."""
    code = explained(error, "; go on", debug=debug)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


def test_a_users_error_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    error = SourceError("no such model [bold]x[/]", found="y" * 300, todo="give --weights")
    assert told(error, capsys) == (2, f"error: no such model [bold]x[/]\n  found: {'y' * 300}\n  what to do: give --weights\n")


@pytest.mark.parametrize("error", [InternalError("an invariant broke"), ZeroDivisionError("an invariant broke")])
def test_a_bug_says_how_to_see_the_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = told(error, capsys)
    assert code == 1
    assert f"{type(error).__name__}: an invariant broke" in message
    assert "--debug" in message
    assert "Traceback" not in message


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("here")
    except ZeroDivisionError as error:
        code, message = told(error, capsys, debug=True)
    assert code == 1
    assert "Traceback" in message
    assert "test_boundary.py" in message


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(KeyboardInterrupt(), capsys) == (130, "error: stopped; go on\n")


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.bin"), 2, "x.bin"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x"),
        (MemoryError(), 2, "batch"),
        (OSError(errno.EBADF, "Bad file descriptor"), 1, "bug"),
    ],
)
def test_what_the_machine_lacks_is_no_bug(error: Exception, code: int, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, message = told(error, capsys)
    assert found == code
    assert word in message


def test_leaving_on_purpose_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(SystemExit(5), capsys) == (None, "")
    app = typer.Typer()

    @app.command()
    @guarded()
    def leave(debug: bool = False) -> None:
        """Leave."""
        raise typer.Exit(3)

    assert CliRunner().invoke(app).exit_code == 3


def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "src" / "spikeloom").mkdir(parents=True)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "nothing.py").touch()
    reader, writer = os.pipe()
    os.close(reader)
    program = "from spikeloom.cli import main; main(['bench'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("level", "debug", "shown"), [("info", False, False), ("info", True, True), ("error", False, True)])
def test_logging_is_quiet_without_debug(level: str, debug: bool, shown: bool) -> None:
    program = f"""
import logging
from spikeloom.cli.boundary import guarded

@guarded()
def command(debug):
    logging.getLogger("x").{level}("said")

command(debug={debug})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ("said" in done.stderr, done.stdout) == (shown, "")
