"""
One process that measures architecture after architecture, so that the libraries are imported once; one that takes too long or
takes the process down costs its own row only.
"""

import contextlib
import multiprocessing
import warnings
from multiprocessing.connection import Connection
from typing import Any

from covered.architectures import Architecture
from covered.measurement import Finding


class Worker:
    """Measures in a process of its own, started when needed; `stop` ends it."""

    def __init__(self, threads: int, limit_seconds: float) -> None:
        self.threads, self.limit_seconds = threads, limit_seconds
        self.process: Any = None
        self.pipe: Connection | None = None

    def measure(self, architecture: Architecture) -> Finding:
        """The finding of one architecture, one that says so where it took too long or ended the process."""
        pipe = self._running()
        pipe.send(architecture)
        try:
            if pipe.poll(self.limit_seconds):
                return pipe.recv()
            return self._lost(architecture, f"took longer than {self.limit_seconds:.0f} s")
        except EOFError:
            return self._lost(architecture, "the process ended")

    def _running(self) -> Connection:
        if self.pipe is None:
            self.pipe, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, self.threads), daemon=True)
            self.process.start()
            theirs.close()
        return self.pipe

    def _lost(self, architecture: Architecture, why: str) -> Finding:
        self.stop()
        return Finding(architecture.address, "not measured", why)

    def stop(self) -> None:
        """The process is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = self.pipe = None


def serve(pipe: Connection, threads: int) -> None:
    """Answers every architecture that comes with its finding, until the other end closes."""
    import torch

    from spikeloom.capture.shim import shim_torchvision

    shim_torchvision()
    import transformers

    from covered.measurement import measure

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(measure(pipe.recv()))
