"""Parts of larger models, by their address: towers, encoders, and what is beneath a head."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeloom.capture import resolve
from spikeloom.errors import SourceError, UnsupportedError

transformers = pytest.importorskip("transformers")

TEXT: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 29}
TEXT |= {"max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SEEN = {**{key: TEXT[key] for key in list(TEXT)[:4]}, "image_size": 16, "patch_size": 8}
DISTIL = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "vocab_size": 29, "max_position_embeddings": 32}
T5 = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 24, "vocab_size": 29}
READING = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 24}
WRITING = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24}
BART = {**READING, **WRITING, "d_model": 16, "vocab_size": 29, "max_position_embeddings": 32}
SOUND = {**BART, "num_mel_bins": 6, "max_source_positions": 10, "pad_token_id": 0, "decoder_start_token_id": 1}
TOKENS = torch.randint(3, 29, (2, 11), generator=torch.Generator().manual_seed(0))


def saved(name: str, options: dict[str, Any], folder: Path) -> Any:
    """A small random model of transformers, in eval mode, that is saved in a folder."""
    chosen = getattr(transformers, name)
    torch.manual_seed(0)
    model = chosen(chosen.config_class(**options)).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("name", "options", "part", "read"),
    [
        ("BertForMaskedLM", TEXT, "", lambda model: model.bert),
        ("DistilBertForSequenceClassification", DISTIL, "", lambda model: model.distilbert),
        ("CLIPModel", {"text_config": TEXT, "vision_config": SEEN}, "#text", lambda model: model.text_model),
        ("SiglipModel", {"text_config": TEXT, "vision_config": SEEN}, "#text", lambda model: model.text_model),
        ("T5ForConditionalGeneration", T5, "#encoder", lambda model: model.encoder),
        ("BartModel", BART, "#encoder", lambda model: model.encoder),
    ],
)
@torch.no_grad()
def test_the_part_that_reads_texts_gives_what_it_gives_in_the_model(
    name: str, options: dict[str, Any], part: str, read: Any, tmp_path: Path
) -> None:
    wanted = read(saved(name, options, tmp_path))(input_ids=TOKENS).last_hidden_state
    source = resolve(f"hf:{tmp_path}{part}")
    assert source.settings["task"] == "feature-extraction"
    assert source.settings["source"] == f"hf:{tmp_path}{part}"
    assert source.settings["weights"].startswith(f"{tmp_path} (")
    assert name in source.settings["weights"]
    rest = list(source.args[1:])
    torch.testing.assert_close(source.model(TOKENS, *rest), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "part", "shape"),
    [
        ("CLIPModel", {"text_config": TEXT, "vision_config": SEEN}, "#vision", [3, 16, 16]),
        ("WhisperModel", SOUND, "#encoder", [6, 20]),
    ],
)
def test_the_part_that_sees_or_hears_says_what_it_takes(
    name: str, options: dict[str, Any], part: str, shape: list[int], tmp_path: Path
) -> None:
    saved(name, options, tmp_path)
    assert resolve(f"hf:{tmp_path}{part}").settings["input_shape"] == shape


@pytest.mark.parametrize(
    ("name", "options", "ways"),
    [
        ("CLIPModel", {"text_config": TEXT, "vision_config": SEEN}, "hf:{0}#text or hf:{0}#vision"),
        ("T5ForConditionalGeneration", T5, "hf:{0}#encoder"),
        ("WhisperModel", SOUND, "hf:{0}#encoder"),
    ],
)
def test_a_model_of_several_parts_says_how_to_name_one(name: str, options: dict[str, Any], ways: str, tmp_path: Path) -> None:
    model = saved(name, options, tmp_path)
    with pytest.raises(UnsupportedError, match="not captured as a whole yet") as told:
        resolve(f"hf:{tmp_path}")
    assert f"name the part: {ways.format(tmp_path)}" in str(told.value)
    with pytest.raises(SourceError, match=r"(?s)no part of that name.*#tail"):
        resolve(f"hf:{tmp_path}#tail")
    example = TOKENS if model.main_input_name == "input_ids" else torch.randn(2, 6, 20)
    with pytest.raises(UnsupportedError, match="give the part: model"):
        resolve(model, example=example)


def test_a_model_without_parts_has_none_to_name(tmp_path: Path) -> None:
    saved("BertModel", TEXT, tmp_path)
    with pytest.raises(SourceError, match="it is one whole"):
        resolve(f"hf:{tmp_path}#encoder")


def test_a_folder_may_have_the_mark_in_its_name(tmp_path: Path) -> None:
    folder: Path = tmp_path / "no#1"
    saved("BertModel", TEXT, folder)
    values: Tensor = resolve(f"hf:{folder}").args[0]
    assert values.shape == (2, 11)
