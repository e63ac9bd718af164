"""What goes wrong outside: one clear error each, and what was there before stays."""

import dataclasses
import errno
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.ir.networks import conv
from tests.pipeline.cases import data, quarters, settings
from torch import Tensor, nn

from spikeloom import zoo
from spikeloom.calibrate.observe import Watch
from spikeloom.errors import DataError, NumericError, ResourceError, SourceError, UnsupportedError, UserError
from spikeloom.ir import shards
from spikeloom.pipeline import Settings, convert, convert_model, evaluate, report_model
from spikeloom.pipeline.memory import within_memory
from spikeloom.simulate import SpikingModel


def weights(folder: Path, change: Callable[[dict[str, Tensor]], None] = lambda state: None) -> Path:
    """A state dict of the digits CNN for ten classes, changed."""
    state = dict(zoo.build("digits-cnn").state_dict())
    change(state)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def network(**layers: nn.Module) -> nn.Module:
    """A tiny convolutional network for [2, 5, 5]."""
    parts = {
        "first": conv(2, 4),
        "relu": nn.ReLU(),
        "second": conv(4, 3),
        "again": nn.ReLU(),
        "flat": nn.Flatten(),
        "head": nn.Linear(75, 3),
    }
    return nn.Sequential(*{**parts, **layers}.values())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and, in `out`, a finished conversion of them; nobody writes into it."""
    folder = tmp_path_factory.mktemp("finished")
    convert(settings(folder, epochs=1))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but those of its phases."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "phases" not in path.parts}


# --- models and data that do not fit ---------------------------------------------------------------------------------------


def test_a_model_of_other_classes_than_the_data_is_one_error_with_both_ways_on(tmp_path: Path) -> None:
    asked = settings(tmp_path, train=False, weights=weights(tmp_path))
    with pytest.raises(DataError, match=r"(?s)classes do not match.*10 outputs, 4 classes.*--weights.*--train"):
        convert(asked)


def test_a_folder_judged_on_data_of_other_classes_says_the_same(finished: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)4 outputs, 10 classes.*--weights.*--train"):
        evaluate(finished / "out", "digits", samples=20)


def test_a_zoo_model_without_weights_says_the_ways_on(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"(?s)without weights.*--weights.*--train"):
        convert(settings(tmp_path, train=False))


@pytest.mark.parametrize("train", [True, False])
def test_pictures_of_another_size_are_one_error(train: bool, tmp_path: Path) -> None:
    given = None if train else weights(tmp_path)
    with pytest.raises(DataError, match=r"(?s)shape.*\(1, 9, 9\).*\(1, 8, 8\)"):
        convert(settings(tmp_path, train=train, weights=given, dataset="digits", preprocessing={"size": [9, 9]}))


def test_calibration_data_of_another_shape_than_the_example_is_one_error() -> None:
    with pytest.raises(DataError, match=r"(?s)shape.*\(2, 6, 6\).*\(2, 5, 5\)"):
        convert_model(network(), [torch.randn(4, 2, 6, 6)], example=torch.randn(2, 2, 5, 5))


@pytest.mark.parametrize(("labels", "says"), [([0, 1, 2, 3, -1], r"found: -1"), ([0, 1, 2, 3, 7], "classes|label")])
def test_a_label_outside_the_range_is_one_error(labels: list[int], says: str, tmp_path: Path) -> None:
    x, _ = quarters(5, 0)
    with pytest.raises(DataError, match=says):
        convert(settings(tmp_path, dataset=data(tmp_path, x_test=x, y_test=np.array(labels))))


def test_a_data_set_without_samples_is_one_error(tmp_path: Path) -> None:
    nothing = {"x_test": np.zeros((0, 8, 8), np.uint8), "y_test": np.zeros(0, np.int64)}
    with pytest.raises(DataError, match="no samples"):
        convert(settings(tmp_path, dataset=data(tmp_path, **nothing)))


@pytest.mark.parametrize("calibration", [[], torch.zeros(0, 2, 5, 5), iter(())], ids=["list", "tensor", "iterator"])
def test_no_calibration_data_are_one_error(calibration: Any) -> None:
    with pytest.raises(DataError, match="empty"):
        convert_model(network(), calibration)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_calibration_data_that_are_not_finite_are_one_error(bad: float) -> None:
    x = torch.randn(8, 2, 5, 5)
    x[5, 0, 0, 0] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        convert_model(network(), x)


# --- endless data ----------------------------------------------------------------------------------------------------------


class Endless:
    """An iterable of batches that never ends, and how many batches were taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            self.taken += 1
            generator = torch.Generator().manual_seed(self.taken)
            yield torch.randn(8, 2, 5, 5, generator=generator), torch.zeros(8)


ASKED = Settings(timesteps=1, calibration_samples=40, batch_size=8)


def test_of_an_endless_iterator_only_the_samples_asked_for_are_taken() -> None:
    endless = Endless()
    snn = convert_model(network(), iter(endless), ASKED)
    assert endless.taken == 5
    assert snn.program.records[-1].numbers["samples"] == 40


def test_of_an_endless_loader_each_reading_takes_the_samples_asked_for() -> None:
    endless, readings = Endless(), list[int]()
    iterate = Endless.__iter__

    class Counted(Endless):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            readings.append(0)
            for batch in iterate(endless):
                readings[-1] += 1
                yield batch

    convert_model(network(), Counted(), ASKED)
    assert len(readings) > 5
    assert max(readings) == 5


def test_an_iterator_that_ends_serves_all_readings() -> None:
    x = torch.randn(24, 2, 5, 5)
    model = network()
    one = convert_model(model, iter(x.split(8)), ASKED)
    all_at_once = convert_model(model, x, ASKED)
    assert all(torch.equal(tensor, all_at_once.program.tensors[name]) for name, tensor in one.program.tensors.items())


# --- weights and activations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(bad: float, tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = bad
    with pytest.raises(NumericError, match=r"(?s)NaN or infinite.*2\.weight"):
        convert_model(model, torch.randn(8, 2, 5, 5))
    given = weights(tmp_path, lambda state: state["3.weight"].view(-1)[0].fill_(bad))
    with pytest.raises(NumericError, match=r"(?s)NaN or infinite.*3\.weight"):
        convert(settings(tmp_path, train=False, weights=given, dataset="digits"))


def test_activations_that_are_not_finite_are_named() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    with pytest.raises(NumericError, match="before %spike_relu is NaN or infinite"):
        convert_model(model, 10 + torch.randn(8, 2, 5, 5))


@pytest.mark.parametrize("compensate", [True, False])
def test_a_layer_in_which_no_neuron_fires_is_named(compensate: bool) -> None:
    model = network()
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.fill_(-0.5)
    with pytest.raises(NumericError, match=r"(?s)no neuron[^\n]*fires.*found: spike_relu_1\n"):
        convert_model(model, torch.randn(8, 2, 5, 5), Settings(timesteps=1, compensate=compensate))


def test_a_network_without_weights_is_named_and_leaves_no_phase_behind(tmp_path: Path) -> None:
    given = weights(tmp_path, lambda state: [value.zero_() for key, value in state.items() if key.endswith(("weight", "bias"))] and None)
    with pytest.raises(NumericError, match="spike_relu, spike_relu_1, spike_relu_2"):
        convert(settings(tmp_path, train=False, weights=given, dataset="digits"))
    assert (tmp_path / "out" / "phases" / "2_spiking" / "phase.json").is_file()
    assert not (tmp_path / "out" / "phases" / "3_compensated").exists()
    assert not (tmp_path / "out" / "program.json").exists()


def test_a_population_that_fires_late_in_the_stream_is_not_silent() -> None:
    x = torch.zeros(64, 2, 5, 5)
    x[50:] = torch.randn(14, 2, 5, 5)
    model = network()
    with torch.no_grad():
        model[0].bias.fill_(-0.1)
        model[2].bias.zero_()
    assert convert_model(model, x, Settings(timesteps=1, batch_size=8)).timesteps == 1


def test_an_operation_that_is_not_converted_is_told_before_any_work(tmp_path: Path) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    with pytest.raises(UnsupportedError, match="cannot be converted"):
        convert_model(Recurrent(), torch.randn(8, 6, 4))


# --- the machine -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Settings:
    """What converts a copy of the finished folder once more."""
    shutil.copytree(finished / "out", tmp_path / "out")
    return settings(tmp_path, epochs=1, dataset=f"npz:{finished / 'quarters.npz'}")


def refuse() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_earlier_folder_whole(again: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, save, saved = again.output_dir, shards.save_file, list[Path]()
    before = tree(folder)

    def full(tensors: Any, path: Path) -> None:
        saved.append(path)
        if len(saved) == 6:  # four phases and the network itself went through, its ANN does not
            refuse()
        save(tensors, path)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "save_file", full)
        with pytest.raises(ResourceError, match=r"(?s)cannot save.*No space left"):
            convert(dataclasses.replace(again, levels=3))
    assert len(saved) == 6
    assert tree(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert SpikingModel.open(folder).program.settings["levels"] == 7


@pytest.mark.parametrize("phase", ["training", "1_ann", "4_control"])
def test_a_disk_that_fills_up_in_a_phase_is_one_error(phase: str, again: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before, save = tree(again.output_dir), shards.save_file
    monkeypatch.setattr(shards, "save_file", lambda tensors, path: refuse() if phase in str(path) else save(tensors, path))
    if phase == "training":
        monkeypatch.setattr("spikeloom.train.checkpoint.os.fsync", lambda _: refuse())
    with pytest.raises(ResourceError, match=r"No space left|disk is full"):
        convert(again)
    assert tree(again.output_dir) == before


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ResourceError, match="cannot write to"):
        convert(settings(tmp_path))


TOO_MUCH = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    MemoryError(),
]


@pytest.mark.parametrize("error", TOO_MUCH, ids=["cuda", "cpu", "cpu, in other words", "python"])
def test_memory_that_runs_out_is_told_with_the_way_out(error: Exception, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    snn = SpikingModel.open(finished / "out")
    monkeypatch.setattr(SpikingModel, "bound", lambda *_: fail)
    for call in (lambda: evaluate(finished / "out"), lambda: report_model(snn, finished / "page.html", torch.rand(4, 1, 8, 8))):
        with pytest.raises(ResourceError, match=r"(?s)memory ran out.*--batch-size"):
            call()
    assert not (finished / "page.html").exists()


def test_a_conversion_that_runs_out_of_memory_leaves_the_earlier_folder_whole(again: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(again.output_dir)

    def fail(*_: Any, **__: Any) -> None:
        raise TOO_MUCH[0]

    monkeypatch.setattr(SpikingModel, "bound", lambda *_: fail)
    with pytest.raises(ResourceError, match=r"(?s)memory ran out.*--batch-size"):
        convert(again)
    assert tree(again.output_dir) == before


def test_memory_that_runs_out_while_calibrating_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise TOO_MUCH[2]

    monkeypatch.setattr(Watch, "run_node", fail)
    with pytest.raises(ResourceError, match="not enough memory"):
        convert_model(network(), torch.randn(8, 2, 5, 5))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes disagree"), within_memory():
        raise RuntimeError("shapes disagree")
    with pytest.raises(UserError, match="allocate memory"), within_memory():
        raise DataError("cannot allocate memory for this label")


def test_a_device_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"(?s)'cuda:77' cannot be used.*--device cpu"):
        convert(settings(tmp_path, device="cuda:77"))
