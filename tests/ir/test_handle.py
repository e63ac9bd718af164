"""Handles: a graph reads float32 where half of it is kept, rows and views stay handles, and files are shared or gone."""

import os
from pathlib import Path

import pytest
import torch
from tests.ir.networks import captured
from torch import Tensor, fx, nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.errors import ResourceError
from spikeloom.ir import Handle, Program, bytes_of, is_sharded, like, load, mapped, on_disk, save, text, verify

STORED = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).bfloat16()


def handle() -> Handle:
    return Handle(STORED, torch.float32)


def halved(model: nn.Module) -> Program:
    return capture(model.bfloat16(), (torch.randn(2, 4),))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_operations_read_a_handle_in_the_dtype_of_the_graph() -> None:
    x, whole = torch.randn(3, 4), STORED.float()
    assert torch.equal(F.linear(x, handle()), F.linear(x, whole))
    assert torch.equal(handle() + 1, whole + 1)
    assert torch.equal(F.embedding(torch.tensor([5, 0]), handle()), whole[[5, 0]])
    assert handle().nbytes == 2 * bytes_of(handle()) == 96


@pytest.mark.parametrize("move", [lambda w: w.t(), lambda w: w[1:3], lambda w: w.reshape(2, 12), lambda w: w.transpose(0, 1).detach()])
def test_what_moves_numbers_gives_a_handle(move) -> None:  # type: ignore[no-untyped-def]
    found = move(handle())
    assert isinstance(found, Handle)
    assert found.stored.untyped_storage().data_ptr() == STORED.untyped_storage().data_ptr()  # nothing was copied
    assert torch.equal(found + 0, move(STORED.float()))


def test_a_compiled_graph_takes_handles() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.ops.aten.linear.default, (graph.placeholder("x"), graph.get_attr("w"))))
    module, x = fx.GraphModule({"w": handle()}, graph), torch.randn(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(module, backend="aot_eager")(x), F.linear(x, STORED.float()))


def test_a_changed_weight_is_kept_as_its_original_was() -> None:
    changed = like(torch.randn(6, 4), handle())
    assert isinstance(changed, Handle)
    assert changed.stored.dtype is torch.bfloat16
    plain = torch.randn(2)
    assert like(plain, torch.zeros(2)) is plain


def test_a_model_in_half_precision_is_a_float32_program_over_its_own_weights() -> None:
    model, x = network().bfloat16(), torch.randn(5, 4)
    program = halved(model)
    weight = program.tensors["0.weight"]
    assert isinstance(weight, Handle)
    assert weight.stored.data_ptr() == model[0].weight.data_ptr()  # type: ignore[operator, union-attr]
    assert model[0].weight.dtype is torch.bfloat16  # type: ignore[union-attr]  # the model is as it was
    verify(program)
    with torch.no_grad():
        assert torch.equal(program.module()(x), model.float()(x))


def test_weights_that_two_layers_share_stay_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    program = halved(model)
    assert len({tensor.stored.data_ptr() for tensor in program.tensors.values() if isinstance(tensor, Handle)}) == 1


# --- on disk -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [torch.randn(3, 5), torch.randn(4, 6).t(), torch.arange(5), torch.rand(3) > 0.5, STORED, torch.zeros(0, 2)]
)
def test_a_tensor_on_disk_is_the_same_and_leaves_no_file(value: Tensor, tmp_path: Path) -> None:
    assert torch.equal(on_disk(value, tmp_path / "new"), value)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_a_disk_that_refuses_is_one_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(ResourceError, match=r"(?s)cannot write to .*No space left.*TMPDIR"):
        on_disk(torch.ones(3), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [2**20, 64])
def test_a_saved_half_is_a_half_and_reads_as_before(limit: int, tmp_path: Path) -> None:
    program, x = halved(network()), torch.randn(5, 4)
    save(program, tmp_path / "p", shard_bytes=limit)
    assert is_sharded(tmp_path / "p") == (limit == 64)
    assert sum(path.stat().st_size for path in (tmp_path / "p").glob("*.safetensors")) < 3000
    found = load(tmp_path / "p")
    assert text(found) == text(program)
    assert torch.equal(found.module()(x), program.module()(x))


def test_shards_that_did_not_change_are_linked_and_those_that_did_are_written(tmp_path: Path) -> None:
    program = captured(network(), 2, 4)
    save(program, tmp_path / "a", shard_bytes=64)
    first = load(tmp_path / "a")
    assert all(isinstance(tensor, Handle) for tensor in first.tensors.values())
    changed = first.replaced(tensors={**first.tensors, "0.bias": torch.ones(8)})
    save(changed, tmp_path / "b", {"ann": first}, shard_bytes=64)

    def inodes(folder: Path) -> set[int]:
        return {os.stat(path).st_ino for path in folder.glob("*.safetensors")}

    assert inodes(tmp_path / "b" / "ann") == inodes(tmp_path / "a")
    assert len(inodes(tmp_path / "b") & inodes(tmp_path / "a")) >= 1
    assert len(inodes(tmp_path / "b") - inodes(tmp_path / "a")) >= 1
    assert torch.equal(load(tmp_path / "b").tensors["0.bias"] + 0, torch.ones(8))


def test_a_smaller_program_leaves_no_shards_of_the_larger_one_behind(tmp_path: Path) -> None:
    program = captured(network(), 2, 4)
    save(program, tmp_path / "p", shard_bytes=64)
    (tmp_path / "p" / "notes.txt").write_text("mine")
    save(program, tmp_path / "p")
    assert [path.name for path in (tmp_path / "p").glob("*.safetensors")] == ["model.safetensors"]
    assert (tmp_path / "p" / "notes.txt").exists()
    load(tmp_path / "p")


def test_a_shard_that_is_lost_or_altered_is_named(tmp_path: Path) -> None:
    from spikeloom.errors import ProgramError

    save(captured(network(), 2, 4), tmp_path / "p", shard_bytes=64)
    shard = tmp_path / "p" / "model-00002.safetensors"
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(ProgramError, match=r"model-00002\.safetensors is truncated or altered"):
        load(tmp_path / "p")
    shard.unlink()
    with pytest.raises(ProgramError, match=r"no model-00002\.safetensors"):
        load(tmp_path / "p")
