"""
The executor: many evaluations at once, on one machine or on a cluster, with the same answers whatever runs them.

    loky         processes of this machine (the default); with one worker everything runs in this process
    threading    threads of this machine
    ray, dask    a cluster, by joblib's backend of that name: the one this process is connected to, else a local one

A worker that dies costs the evaluations it had not given back: those are run again, at most `RETRIES` times. What an evaluation gives
depends on its arguments alone, so a second run gives the same.

Sources: joblib (https://joblib.readthedocs.io), Ray (https://docs.ray.io), Dask (https://docs.dask.org).
"""

import importlib
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, final

import joblib

from spikeloom.errors import ConfigError, ResourceError

log = logging.getLogger(__name__)

BACKENDS = ("loky", "threading", "ray", "dask")
RETRIES = 3
_OF_DEAD_WORKERS = frozenset(
    {
        "TerminatedWorkerError",
        "BrokenProcessPool",
        "ActorDiedError",
        "ActorUnavailableError",
        "RayActorError",
        "WorkerCrashedError",
        "NodeDiedError",
        "KilledWorker",
        "CommClosedError",
    }
)
"""What joblib, Ray and Dask raise for a worker that is gone, by name: their packages need not be there."""


def check_executor(backend: str, workers: int) -> None:
    """Raises ConfigError for an executor that is none, or for no worker."""
    if backend not in BACKENDS:
        raise ConfigError("unknown executor", found=backend, allowed=", ".join(BACKENDS))
    if workers < 1:
        raise ConfigError("the number of workers is out of range", found=workers, allowed="1 or more")


@final
class Executor:
    """Runs calls of one function; use `opened` to get one."""

    def __init__(self, backend: str, workers: int) -> None:
        self.backend, self.workers = backend, workers

    def map(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The results of all calls, in their order. Raises ResourceError where workers go on dying."""
        if self.workers == 1 and self.backend in ("loky", "threading"):
            return [function(*arguments) for arguments in calls]
        results = dict[int, Any]()
        for attempt in range(RETRIES + 1):
            missing = [place for place in range(len(calls)) if place not in results]
            if not missing:
                break
            died = self._round(function, calls, missing, results)
            if died is not None and attempt == RETRIES:
                raise ResourceError(
                    f"workers of the executor {self.backend!r} died {RETRIES + 1} times",
                    found=str(died).splitlines()[0][:200],
                    todo="give the search fewer workers or more memory",
                ) from died
        return [results[place] for place in range(len(calls))]

    def _round(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], missing: list[int], results: dict[int, Any]
    ) -> Exception | None:
        """One try at what is missing; what came back is in `results`, and the error of a worker that died is returned."""
        tasks = [joblib.delayed(_numbered)(place, function, calls[place]) for place in missing]
        ordered = self.backend == "ray"  # its backend has no generators
        try:
            options: dict[str, Any] = {"batch_size": 1, "return_as": "list" if ordered else "generator_unordered"}
            parallel: Any = joblib.Parallel(n_jobs=self.workers, **options)
            for place, result in parallel(tasks):
                results[place] = result
        except Exception as error:
            if not _of_dead_worker(error):
                raise
            log.warning(
                "a worker died (%s): %d of %d evaluations run again", type(error).__name__, len(missing) - len(results), len(missing)
            )
            return error
        return None


def _numbered(place: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return place, function(*arguments)


def _of_dead_worker(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that a worker is gone."""
    while error is not None:
        if any(kind.__name__ in _OF_DEAD_WORKERS for kind in type(error).__mro__):
            return True
        error = error.__cause__
    return False


@contextmanager
def opened(backend: str, workers: int) -> Generator[Executor]:
    """An executor for the time of the block. Raises ResourceError where Ray or Dask is asked for and not installed."""
    check_executor(backend, workers)
    if backend in ("ray", "dask"):
        with {"ray": _ray, "dask": _dask}[backend](workers), joblib.parallel_config(backend=backend, n_jobs=workers):
            yield Executor(backend, workers)
        return
    inner = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with joblib.parallel_config(backend=backend, n_jobs=workers, **inner):
        yield Executor(backend, workers)


@contextmanager
def _ray(workers: int) -> Generator[None]:
    """Ray as it is connected, else a local one that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray, own = _optional("ray"), False
    if not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        own = True
    importlib.import_module("ray.util.joblib").register_ray()
    try:
        yield
    finally:
        if own:
            ray.shutdown()


@contextmanager
def _dask(workers: int) -> Generator[None]:
    """The Dask client this process has, else a local cluster that ends with the block."""
    distributed = _optional("distributed")
    try:
        distributed.get_client()
    except ValueError:
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster),
        ):
            yield
        return
    yield


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ResourceError(
            f"the executor needs the package {name!r}", found="it is not installed", todo="pip install 'spikeloom[dist]', or use loky"
        ) from error
