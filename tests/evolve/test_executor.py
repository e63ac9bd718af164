"""The executor: results in order, a worker that dies costs a retry, one that always dies is one clear error."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from spikeloom.errors import ConfigError, ResourceError
from spikeloom.evolve.executor import RETRIES, check_executor, opened

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (pip install 'spikeloom[dist]')")
needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")


def square(x: int) -> int:
    return x * x


def square_once_killed(x: int, folder: str) -> int:
    """Kills its own process the first time it is called with 3."""
    mark = Path(folder) / "killed"
    if x == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def killed(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def wrong(x: int) -> int:
    raise ValueError(f"no {x}")


@pytest.mark.parametrize(("backend", "workers"), [("loky", 1), ("loky", 2), ("threading", 2)])
def test_results_come_in_order(backend: str, workers: int) -> None:
    with opened(backend, workers) as executor:
        assert executor.map(square, [(x,) for x in range(7)]) == [x * x for x in range(7)]
        assert executor.map(square, []) == []


def test_a_killed_worker_costs_a_retry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened("loky", 2) as executor:
        assert executor.map(square_once_killed, [(x, str(tmp_path)) for x in range(6)]) == [x * x for x in range(6)]
    assert (tmp_path / "killed").exists()
    assert "a worker died" in caplog.text


def test_workers_that_go_on_dying_are_one_clear_error() -> None:
    with opened("loky", 2) as executor, pytest.raises(ResourceError, match=f"died {RETRIES + 1} times"):
        executor.map(killed, [(1,), (2,)])


def test_an_error_of_the_function_is_not_a_dead_worker() -> None:
    with opened("loky", 2) as executor, pytest.raises(ValueError, match="no 1"):
        executor.map(wrong, [(1,)])


def test_executors_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="loky, threading, ray, dask"):
        check_executor("spark", 2)
    with pytest.raises(ConfigError, match="1 or more"):
        check_executor("loky", 0)


def test_a_missing_library_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("spikeloom.evolve.executor.importlib.import_module", absent)
    with pytest.raises(ResourceError, match=r"spikeloom\[dist\]"), opened("ray", 2):
        pass


@needs_dask
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dask_gives_the_same_results(tmp_path: Path) -> None:
    with opened("dask", 2) as executor:
        assert executor.map(square, [(x,) for x in range(5)]) == [x * x for x in range(5)]


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same_results_and_survives_a_killed_worker(tmp_path: Path) -> None:
    with opened("ray", 2) as executor:
        assert executor.map(square, [(x,) for x in range(5)]) == [x * x for x in range(5)]
        assert executor.map(square_once_killed, [(x, str(tmp_path)) for x in range(6)]) == [x * x for x in range(6)]
