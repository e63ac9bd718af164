"""
Spikeloom weaves a trained neural network into a spiking one that keeps its accuracy.

    check(model, example)              what every operation will become, before any work
    convert(model, calibration)        → SpikingModel: snn(x), snn.step(x, state), snn.profile(x), snn.save_pretrained(folder)
    compile(snn, folder, data, target) files for C, CUDA, an FPGA, a neuromorphic chip or NIR, in integers, compared bit for bit
    report(snn, path, data)            one page a person can read
    load(folder)                       a saved SpikingModel

Everything is imported when it is first used, so that `import spikeloom` itself is quick. Two public functions share
their names with packages (`convert`, `report`): as attributes the functions win, while `from spikeloom.convert import …`
goes to the package.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom.convert import SpikingAttention
    from spikeloom.errors import SpikeloomError, UserError
    from spikeloom.pipeline import CheckResult, Settings, check
    from spikeloom.pipeline import compile_model as compile
    from spikeloom.pipeline import convert_model as convert
    from spikeloom.pipeline import load_model as load
    from spikeloom.pipeline import report_model as report
    from spikeloom.simulate import SpikingModel

__version__ = "0.1.0"

_PLACES = {
    "CheckResult": ("pipeline", "CheckResult"),
    "Settings": ("pipeline", "Settings"),
    "SpikeloomError": ("errors", "SpikeloomError"),
    "SpikingAttention": ("convert", "SpikingAttention"),
    "SpikingModel": ("simulate", "SpikingModel"),
    "UserError": ("errors", "UserError"),
    "check": ("pipeline", "check"),
    "compile": ("pipeline", "compile_model"),
    "convert": ("pipeline", "convert_model"),
    "load": ("pipeline", "load_model"),
    "report": ("pipeline", "report_model"),
}

__all__ = [
    "CheckResult",
    "Settings",
    "SpikeloomError",
    "SpikingAttention",
    "SpikingModel",
    "UserError",
    "__version__",
    "check",
    "compile",
    "convert",
    "load",
    "report",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")
    package, attribute = _PLACES[name]
    return getattr(import_module(f"spikeloom.{package}"), attribute)


class _Face(ModuleType):
    """Keeps the import system from putting the packages `convert` and `report` over the functions of those names."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return __all__
