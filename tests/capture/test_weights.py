"""State dicts: what is read, what fits, and what is refused without running anything of it."""

import os
import pickle
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikeloom.capture import check_finite, load_weights, read_state_dict
from spikeloom.errors import NumericError, SourceError


def net(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


class Payload:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_safetensors_and_torch_files_give_the_same_tensors(tmp_path: Path) -> None:
    state = net().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save(state, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "b.pth", "c.pt"):
        assert equal(read_state_dict(tmp_path / name), dict(state))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict", "model"])
def test_prefixes_and_checkpoints_are_seen_through(tmp_path: Path, prefix: str, container: str | None) -> None:
    source, target = net(), net()
    state: Any = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({container: state, "epoch": 3, "optimizer": {"lr": 0.1}} if container else state, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert equal(dict(target.state_dict()), dict(source.state_dict()))


def test_a_prefix_that_the_model_itself_has_stays(tmp_path: Path) -> None:
    source, target = (nn.ModuleDict({"model": net()}) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert equal(dict(target.state_dict()), dict(source.state_dict()))


def test_a_missing_batch_counter_is_no_mismatch(tmp_path: Path) -> None:
    state = {key: value for key, value in net().state_dict().items() if "num_batches" not in key}
    save_file(state, tmp_path / "w.safetensors")
    load_weights(net(), tmp_path / "w.safetensors")


def test_every_mismatch_is_in_one_error(tmp_path: Path) -> None:
    state = {**net(5).state_dict(), "extra": torch.ones(1)}
    del state["0.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(SourceError) as caught:
        load_weights(net(), tmp_path / "w.safetensors")
    said = str(caught.value)
    assert "1 missing: 0.bias" in said
    assert "1 unexpected: extra" in said
    assert "2 of another shape: 3.weight (file [5, 8], model [3, 8]), 3.bias (file [5], model [3])" in said
    assert "--train" in said


def test_only_the_first_eight_of_a_long_mismatch_are_named(tmp_path: Path) -> None:
    save_file({"nothing": torch.ones(1)}, tmp_path / "w.safetensors")
    deep = nn.Sequential(*(nn.Linear(1, 1) for _ in range(20)))
    with pytest.raises(SourceError, match=r"40 missing: (\d+\.\w+, ){8}…"):
        load_weights(deep, tmp_path / "w.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, bad: float) -> None:
    state = net().state_dict()
    state["0.weight"][0, 0, 0, 1] = bad
    state["3.bias"][:] = bad
    save_file(state, tmp_path / "w.safetensors")
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(NumericError, match=r"0\.weight \(1 of 18\), 3\.bias \(3 of 3\)"):
        load_weights(model, tmp_path / "w.safetensors")
    assert equal(dict(model.state_dict()), before)


def test_finite_tensors_and_integers_pass() -> None:
    check_finite({**net().state_dict(), "count": torch.tensor(3)}, "here")


def test_a_pickle_that_holds_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    torch.save({"state_dict": Payload(marker)}, path)
    with pytest.raises(SourceError, match=r"(?s)holds more than tensors.*mkdir.*save_file"):
        read_state_dict(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the payload is live: torch itself runs it
    assert marker.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    path, marker = tmp_path / "w.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Payload(marker), protocol))
    with pytest.raises(SourceError):
        read_state_dict(path)
    assert not marker.exists()


def test_a_whole_pickled_module_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "w.pth")
    with pytest.raises(SourceError, match=r"(?s)holds more than tensors.*state_dict\(\)"):
        read_state_dict(tmp_path / "w.pth")


def _safetensors(path: Path) -> None:
    save_file(net().state_dict(), path)


def _torch(path: Path) -> None:
    torch.save(net().state_dict(), path)


@pytest.mark.parametrize("write", [_safetensors, _torch])
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_file_is_one_error(tmp_path: Path, write: Any, share: float) -> None:
    path = tmp_path / "w"
    write(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SourceError, match="damaged"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a weights file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "not a weights file"),
        (b"hello, this is text", "not a weights file"),
        (bytes([200, 0, 0, 0, 0, 0, 0, 0]) + b"{not json", "damaged"),
        (b"PK\x03\x04" + bytes(40), "damaged"),
        (b"\x80\x02garbage", "damaged"),
    ],
)
def test_what_is_no_weights_file_is_one_error(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        read_state_dict(path)


def test_a_file_without_tensors_by_name_is_one_error(tmp_path: Path) -> None:
    for index, value in enumerate(([torch.ones(2)], {"epoch": 3}, torch.ones(2))):
        torch.save(value, tmp_path / f"{index}.pth")
        with pytest.raises(SourceError, match="holds no tensors by name"):
            read_state_dict(tmp_path / f"{index}.pth")


def test_a_folder_and_a_missing_file_are_one_error_each(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SourceError, match=r"(?s)is a folder.*model\.safetensors"):
        read_state_dict(tmp_path)
    with pytest.raises(SourceError, match=re.escape(str(tmp_path / "none.pth"))):
        read_state_dict(tmp_path / "none.pth")


def test_an_exported_program_is_sent_to_its_own_address(tmp_path: Path) -> None:
    exported = torch.export.export(net().eval(), (torch.randn(2, 1, 4, 4),))
    torch.export.save(exported, tmp_path / "m.pt2")
    with pytest.raises(SourceError, match=r"pt2:.*m\.pt2"):
        read_state_dict(tmp_path / "m.pt2")


@pytest.mark.parametrize("write", [_safetensors, _torch])
def test_a_damaged_file_loads_or_is_one_error_never_a_crash(tmp_path: Path, write: Any) -> None:
    generator, path, refused = random.Random(0), tmp_path / "w", 0
    write(path)
    whole = path.read_bytes()
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(3):
            data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(data)
        try:
            read_state_dict(path)
        except SourceError:
            refused += 1
    assert refused > 10
