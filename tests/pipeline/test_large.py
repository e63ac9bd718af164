"""Large models: weights in half precision and in shards, values on disk, corrected weights written at once; the result is the same."""

from pathlib import Path

import pytest
import torch
from tests.pipeline.readers import VOCABULARY, llama, written

from spikeloom.calibrate import Compensate
from spikeloom.capture import load, resolve
from spikeloom.ir import Context, Handle, Program, on_disk, passes, run, shards
from spikeloom.pipeline import Settings, convert, load_model
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.texts import structure
from spikeloom.simulate import frontier


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny Llama in half precision, in several shards, in `llama`, and a text beside it."""
    from transformers import AutoModelForCausalLM

    made = tmp_path_factory.mktemp("large")
    llama(made / "whole")
    model = AutoModelForCausalLM.from_pretrained(made / "whole", dtype=torch.bfloat16)
    llama(made / "llama")
    (made / "llama" / "model.safetensors").unlink()
    model.save_pretrained(made / "llama", max_shard_size="4KB")
    assert len(list((made / "llama").glob("*.safetensors"))) > 1
    written(made / "book.txt")
    return made


def everything_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every program is too large to be copied, and every saved one is in shards."""
    monkeypatch.setattr(passes, "LARGE_BYTES", 0)
    monkeypatch.setattr(shards, "SHARD_BYTES", 2048)


def context_of(ann: Program) -> Context:
    tokens = torch.randint(VOCABULARY, (16, 12), generator=torch.Generator().manual_seed(0))
    return Context(lambda: [structure(ann, part, None) for part in tokens.split(4)])


def test_weights_in_half_precision_stay_so_and_count_as_float32(folder: Path) -> None:
    ann = load(f"hf:{folder / 'llama'}")
    halves = {name: tensor for name, tensor in ann.tensors.items() if isinstance(tensor, Handle)}
    assert len(halves) > 10
    assert {tensor.stored.dtype for tensor in halves.values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in ann.tensors.values() if tensor.is_floating_point()} == {torch.float32}


def test_a_model_in_memory_shares_its_half_precision_weights_with_the_program(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "llama", dtype=torch.bfloat16)
    held = {parameter.data_ptr() for parameter in model.parameters()}
    found = [tensor.stored.data_ptr() for tensor in resolve(model).program().tensors.values() if isinstance(tensor, Handle)]
    assert len(found) > 10
    assert set(found) <= held


@pytest.mark.slow
def test_values_on_disk_and_weights_written_at_once_change_no_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = load(f"hf:{folder / 'llama'}")
    first, _ = passes_of(Settings(timesteps=1, placement="density", levels=7))
    spiking = run(first, ann, context_of(ann))
    plain = run([Compensate()], spiking, context_of(ann))
    everything_large(monkeypatch)
    waiting: list[int] = []
    monkeypatch.setattr(frontier, "on_disk", lambda value, folder: (waiting.append(value.nbytes), on_disk(value, folder))[1])
    spilled = run([Compensate(memory_bytes=80_000)], spiking, context_of(ann))
    assert sum(waiting) > 80_000
    assert [name for name, tensor in spilled.tensors.items() if isinstance(tensor, Handle) and name not in spiking.tensors]
    for name, tensor in plain.tensors.items():
        assert torch.equal(tensor + 0, spilled.tensors[name] + 0), name


@pytest.mark.slow
def test_a_conversion_in_shards_shares_them_and_its_network_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        source=f"hf:{folder / 'llama'}", dataset=f"text:{folder / 'book.txt'}", timesteps=1, levels=7, length=12, calibration_samples=8
    )
    settings = Settings(**{**vars(settings), "output_dir": tmp_path / "whole"})
    whole = convert(settings)
    everything_large(monkeypatch)
    sharded = convert(Settings(**{**vars(settings), "output_dir": tmp_path / "sharded"}))
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1
    ann = {path.stat().st_ino for path in (tmp_path / "sharded" / "ann").glob("*.safetensors")}
    control = {path.stat().st_ino for path in (tmp_path / "sharded" / "control").glob("*.safetensors")}
    assert ann & control
    tokens = torch.randint(VOCABULARY, (3, 9))
    for name in ("whole", "sharded"):
        torch.testing.assert_close(load_model(tmp_path / name)(tokens), whole.snn(tokens), atol=1e-5, rtol=1e-4)
    assert sharded.metrics["perplexity"]["ann"] == pytest.approx(whole.metrics["perplexity"]["ann"], rel=1e-5)
