"""Save and load: the same program comes back, and an old folder stays until the new one is whole."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ir.networks import Wired, awake, captured, conv
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.convert import Spike
from spikeloom.errors import ResourceError
from spikeloom.ir import Context, Program, Record, load, note, save, shards, store, text, write_bytes, write_json
from spikeloom.plan import plan

BLOCKS = ("relu", "gelu", "norm", "pool", "grouped", "residual", "doubled", "clipped")


class Stack(nn.Module):
    """A small network put together from named blocks, then a classifier."""

    def __init__(self, names: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.names = names
        self.first, self.same, self.grouped = conv(1, channels), conv(channels, channels, 1), conv(channels, channels, groups=channels)
        self.norm, self.head = nn.BatchNorm2d(channels), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        for name in self.names:
            y = self.block(name, y)
        return y, self.head(y.flatten(1))

    def block(self, name: str, y: Tensor) -> Tensor:
        match name:
            case "relu" | "norm" | "grouped":
                return self.norm(y) if name == "norm" else self.grouped(y) if name == "grouped" else y.relu()
            case "gelu":
                return nn.functional.gelu(y, approximate="tanh")
            case "pool":
                return nn.functional.max_pool2d(y, 2, stride=1)
            case "residual":
                return y + self.same(y)
            case "doubled":
                return torch.cat([y[:, 1:], -y[:, :1]], dim=1) * 2.5
            case _:
                return y.clamp(max=float("inf"))


def assert_same(found: Program, wanted: Program, x: Tensor) -> None:
    """Text, metadata and outputs are the same, bit for bit."""
    assert text(found) == text(wanted)
    assert (found.inputs, found.plan, found.settings, found.dialect) == (wanted.inputs, wanted.plan, wanted.settings, wanted.dialect)
    assert [vars(record) for record in found.records] == [vars(record) for record in wanted.records]
    assert all(torch.equal(found.module()(x)[k], wanted.module()(x)[k]) for k in range(2))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4).map(tuple), channels=st.integers(2, 4))
def test_a_loaded_program_is_the_saved_one(names: tuple[str, ...], channels: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, x = Stack(names, channels), torch.randn(3, 1, 6, 6)
    with torch.no_grad():
        model(x)
    program = captured(awake(model), 2, 1, 6, 6)
    facts = {"source": "zoo:ü", "classes": ["a", "b"], "mean": [0.5, None], "deep": {"yes": True}}
    program = program.replaced(plan=plan(program), settings=facts)
    program = program.recorded(Record("Test", {"a": 1}, {"b": [0.5, "c"]}, ("a paper",), 0.25))
    folder = tmp_path_factory.mktemp("saved") / "deep" / "folder"
    save(program, folder)
    assert_same(load(folder), program, x)
    assert {path.name for path in folder.iterdir()} == {"program.json", "model.safetensors", "config.json", "records.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.fixture(scope="module")
def program() -> Program:
    return captured(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), 2, 3)


@pytest.fixture(scope="module")
def other() -> Program:
    return captured(nn.Linear(3, 5), 2, 3)


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_spiking_program_keeps_its_notes_and_its_thresholds_that_are_not_there_yet(program: Program, tmp_path: Path) -> None:
    spiking = Spike()(program, Context())
    save(spiking, tmp_path / "snn")
    found = load(tmp_path / "snn")
    assert text(found) == text(spiking)
    assert [note(node) for node in found.graph.nodes] == [note(node) for node in spiking.graph.nodes]
    assert bool(found.tensors["spike_relu.step"].isnan().all())
    assert found.records[0].options == spiking.records[0].options


def test_tensors_that_share_memory_are_saved_each_whole(program: Program, tmp_path: Path) -> None:
    shared = torch.arange(4.0).reshape(2, 2)
    tensors = {**program.tensors, "2.weight": shared.t(), "2.bias": shared[0], "0.bias": shared[0]}
    save(program.replaced(tensors=tensors), tmp_path / "shared")
    found = load(tmp_path / "shared").tensors
    assert torch.equal(found["2.weight"], shared.t())
    assert torch.equal(found["2.bias"], shared[0])
    assert torch.equal(found["0.bias"], shared[0])


def test_saving_over_a_folder_replaces_the_program_and_leaves_other_files_alone(program: Program, other: Program, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    save(program, folder, {"ann": program})
    (folder / "report.html").write_text("mine")
    save(other, folder, {"ann": other})
    assert text(load(folder)) == text(load(folder / "ann")) == text(other)
    assert (folder / "report.html").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("when", ["weights", "graph", "swap"])
def test_a_full_disk_is_one_error_and_the_old_folder_stays_as_it_was(
    when: str, program: Program, other: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "program"
    save(program, folder, {"ann": program})
    before = files(folder)
    write_text = Path.write_text
    if when == "weights":
        monkeypatch.setattr(shards, "save_file", full_disk)
    elif when == "graph":
        monkeypatch.setattr(Path, "write_text", lambda path, data: full_disk() if path.name == "program.json" else write_text(path, data))
    else:
        monkeypatch.setattr(store, "_swap", full_disk)
    with pytest.raises(ResourceError, match=r"(?s)cannot save the program to .*No space left on device.*free some disk space"):
        save(other, folder, {"ann": other})
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["program"]
    monkeypatch.undo()
    assert text(load(folder)) == text(program)


def test_a_full_disk_leaves_nothing_where_nothing_was(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "save_file", full_disk)
    with pytest.raises(ResourceError):
        save(program, tmp_path / "program")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_a_folder_is_a_resource_error(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    for place in (tmp_path / "file", tmp_path / "file" / "program"):
        with pytest.raises(ResourceError, match="cannot save the program"):
            save(program, place)
    assert files(tmp_path) == {"file": b"here"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "metrics.json"
    write_json(path, {"accuracy": 0.5})
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    monkeypatch.setattr(store.os, "fsync", full_disk)
    with pytest.raises(ResourceError, match=r"(?s)cannot write .*metrics.json.*No space left"):
        write_bytes(path, b"half")
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    assert [item.name for item in path.parent.iterdir()] == ["metrics.json"]


def test_a_program_on_disk_is_plain_json_and_safetensors(program: Program, tmp_path: Path) -> None:
    save(Spike()(program, Context()), tmp_path / "snn")
    body = json.loads((tmp_path / "snn" / "program.json").read_text())
    assert body["format"] == 1
    assert body["dialect"] == "snn"
    assert [row["target"] for row in body["graph"] if row["op"] == "call_function"] == [
        "aten.linear.default",
        "spikeloom.population",
        "aten.linear.default",
    ]
    assert not any(marker in (tmp_path / "snn" / "model.safetensors").read_bytes() for marker in (b"pickle", b"\x80\x04", b"PK\x03\x04"))


def test_a_network_in_double_precision_with_an_integer_input_comes_back(tmp_path: Path) -> None:
    model = Wired(lambda x, embed, linear: linear(embed(x)).mean(1), nn.Embedding(5, 3, dtype=torch.float64), nn.Linear(3, 2).double())
    x = torch.tensor([[0, 1, 4], [2, 2, 3]])
    program = capture(model, (x,))
    save(program, tmp_path / "program")
    found = load(tmp_path / "program")
    assert found.inputs[0].dtype == "int64"
    assert torch.equal(found.module()(x), program.module()(x))
    assert found.module()(x).dtype is torch.float64
