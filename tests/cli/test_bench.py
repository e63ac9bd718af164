"""`spikeloom bench`: runs the benchmarks of a checkout, and says where there is none."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikeloom.cli import app, bench
from spikeloom.errors import ConfigError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two benchmarks that note that they ran; the working directory is inside it."""
    (tmp_path / "src" / "spikeloom").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("coverage", "runtime"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text(f"import pathlib; pathlib.Path('ran').open('a').write('{name} ')")
    monkeypatch.chdir(tmp_path / "benchmarks" / "results")
    return tmp_path


def run(*names: str) -> Any:
    return CliRunner().invoke(app, ["bench", *names])


def test_all_run_in_order_from_the_root(root: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.stderr
    assert (root / "ran").read_text() == "coverage runtime "
    assert result.stdout.splitlines() == ["benchmark coverage", "benchmark runtime"]


def test_the_tables_are_made_of_what_all_others_measured(root: Path) -> None:
    for name in ("tables", "vision"):
        (root / "benchmarks" / f"{name}.py").touch()
    assert list(bench.benchmarks_of(root)) == ["coverage", "runtime", "vision", "tables"]


def test_those_that_are_named_run(root: Path) -> None:
    assert run("runtime").exit_code == 0
    assert (root / "ran").read_text() == "runtime "


def test_transformers_is_another_name_of_vision(root: Path) -> None:
    (root / "benchmarks" / "runtime.py").rename(root / "benchmarks" / "vision.py")
    assert run("transformers").stdout.splitlines() == ["benchmark vision"]
    assert "another name of" in run("--help").stdout


def test_one_that_fails_does_not_stop_the_others(root: Path) -> None:
    (root / "benchmarks" / "coverage.py").write_text("raise SystemExit(4)")
    result = run()
    assert result.exit_code == 1
    assert (root / "ran").read_text() == "runtime "
    assert "failed: coverage" in result.stderr


def test_a_name_that_nothing_has_is_refused_before_any_run(root: Path) -> None:
    result = run("coverage", "runtme")
    assert result.exit_code == 2
    assert "allowed: coverage, runtime" in result.stderr
    assert "did you mean runtime?" in result.stderr
    assert not (root / "ran").exists()


def test_outside_a_checkout_one_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "spikeloom" / "cli" / "bench.py"))
    with pytest.raises(ConfigError, match="clone"):
        bench.checkout(tmp_path)
