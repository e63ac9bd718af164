"""The public names are this list; `convert` and `report` stay functions whatever is imported."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import spikeloom

NAMES = [
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
PACKAGES = [
    "backend",
    "calibrate",
    "capture",
    "cli",
    "config",
    "convert",
    "datasets",
    "ir",
    "kernels",
    "neuron",
    "pipeline",
    "plan",
    "plasticity",
    "report",
    "simulate",
    "train",
    "zoo",
]


def test_the_public_names_are_these() -> None:
    assert spikeloom.__all__ == NAMES
    assert dir(spikeloom) == sorted(NAMES)
    for name in NAMES:
        assert getattr(spikeloom, name) is not None


def test_each_name_is_what_it_says() -> None:
    from spikeloom import errors, pipeline, simulate
    from spikeloom.convert import SpikingAttention

    assert spikeloom.convert is pipeline.convert_model
    assert spikeloom.report is pipeline.report_model
    assert spikeloom.load is pipeline.load_model
    assert spikeloom.check is pipeline.check
    assert spikeloom.Settings is pipeline.Settings
    assert spikeloom.CheckResult is pipeline.CheckResult
    assert spikeloom.SpikingAttention is SpikingAttention
    assert spikeloom.SpikingModel is simulate.SpikingModel
    assert spikeloom.UserError is errors.UserError
    assert spikeloom.SpikeloomError is errors.SpikeloomError


@pytest.mark.parametrize("first", [*PACKAGES])
def test_packages_never_stand_over_the_functions_of_their_name(first: str) -> None:
    module = importlib.import_module(f"spikeloom.{first}")
    assert module is sys.modules[f"spikeloom.{first}"]
    assert callable(spikeloom.convert)
    assert callable(spikeloom.report)
    assert spikeloom.convert.__module__ == "spikeloom.pipeline.library"
    assert spikeloom.report.__module__ == "spikeloom.pipeline.library"


def test_the_packages_themselves_are_still_importable() -> None:
    from spikeloom.convert import Spike
    from spikeloom.report import Story

    assert Spike.__module__ == "spikeloom.convert.spike"
    assert Story.__module__.startswith("spikeloom.report")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'konvert'"):
        spikeloom.konvert  # noqa: B018


def test_importing_spikeloom_imports_nothing_heavy_and_the_order_of_imports_does_not_matter() -> None:
    script = (
        "import sys, spikeloom; assert not {'torch', 'numpy', 'transformers'} & set(sys.modules), 'heavy'; "
        "import spikeloom.convert, spikeloom.report; from spikeloom import convert, report; "
        "assert callable(convert) and callable(report); "
        "assert type(sys.modules['spikeloom.convert']).__name__ == 'module'; print(spikeloom.__version__)"
    )
    source = Path(spikeloom.__file__).resolve().parents[1]
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(source), "PATH": ""}
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == spikeloom.__version__
