"""Texts: how they are divided, packed, parted and drawn from, and what is said where one cannot be read."""

import importlib
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.pipeline.readers import CONTEXT, VOCABULARY, WORDS, save_tokenizer, story, written

from spikeloom.datasets import Reading, Text, holds_tokens, load, load_text, token_batches
from spikeloom.datasets.documents import divided
from spikeloom.datasets.text import parted
from spikeloom.errors import ConfigError, DataError, ResourceError, UserError

DOCUMENTS = "w0 w1 w2\n\n<|endoftext|>\nw3 w4\n<|endoftext|>\n\n<|endoftext|>\nw5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tokenizer(tmp_path / "model")


def reading(folder: Path | None, length: int | None = 6, **options: object) -> Reading:
    return Reading(folder, length, **{"context": CONTEXT, "vocabulary": VOCABULARY, "bos": 0, **options})  # type: ignore[arg-type]


def file(folder: Path, text: str) -> str:
    path = folder / "book.txt"
    path.write_text(text)
    return f"text:{path}"


def ids(*words: str) -> list[int]:
    return [0 if word == "<s>" else 3 + WORDS.index(word) for word in words]


# --- documents and blocks ------------------------------------------------------------------------------------------------


def test_a_text_is_divided_at_its_lines_and_empty_documents_are_none() -> None:
    found = divided(DOCUMENTS)
    assert found.texts == ("w0 w1 w2", "w3 w4", "w5")
    assert found.divided
    assert divided("a <|endoftext|> b\n").texts == ("a <|endoftext|> b\n",)  # within a line it is text
    assert divided("  \n").texts == ()


def test_documents_begin_with_the_first_token_and_are_packed_into_one_stream(folder: Path, tmp_path: Path) -> None:
    found = load_text(f"{file(tmp_path, DOCUMENTS)}@all", "test", reading(folder, 4))
    stream = ids("<s>", "w0", "w1", "w2", "<s>", "w3", "w4", "<s>", "w5")
    assert found.tokens.tolist() == [stream[:4], stream[4:8]]  # what is left over is dropped
    assert (found.unit, found.lengths, len(found)) == ("blocks", None, 2)


def test_a_text_that_is_not_divided_has_no_first_token(folder: Path, tmp_path: Path) -> None:
    found = load_text(f"{file(tmp_path, story(4))}@all", "test", reading(folder))
    assert found.tokens.shape == (8, 6)
    assert not bool((found.tokens == 0).any())


def test_a_model_without_a_first_token_gets_none(folder: Path, tmp_path: Path) -> None:
    found = load_text(f"{file(tmp_path, DOCUMENTS)}@all", "test", reading(folder, 3, bos=None))
    assert found.tokens.tolist() == [ids("w0", "w1", "w2"), ids("w3", "w4", "w5")]


def test_the_length_is_the_models_or_256(folder: Path) -> None:
    assert reading(folder, None).tokens == CONTEXT
    assert Reading(folder, context=1024).tokens == Reading(folder).tokens == 256
    assert Reading(folder, 7, context=1024).tokens == 7


# --- splits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "tested"), [(2, 1), (9, 1), (10, 1), (14, 1), (16, 2), (871, 87)])
def test_the_last_tenth_is_for_testing_and_neither_part_is_empty(count: int, tested: int) -> None:
    parts = parted(count)
    assert (parts["train"], parts["test"]) == (slice(0, count - tested), slice(count - tested, count))


def test_train_and_test_do_not_overlap_and_make_all(folder: Path, tmp_path: Path) -> None:
    address, how = written(tmp_path / "t.txt"), reading(folder)
    parts = {split: load_text(f"{address}@{split}", "test", how).tokens for split in ("train", "test", "all")}
    assert [len(part) for part in parts.values()] == [108, 12, 120]
    assert torch.equal(torch.cat([parts["train"], parts["test"]]), parts["all"])
    asked = {split: load_text(address, split, how) for split in ("train", "test")}
    assert torch.equal(asked["train"].tokens, parts["train"])
    assert torch.equal(asked["test"].tokens, parts["test"])
    assert asked["test"].split == "test"
    assert "the last 12 of 120 blocks are for testing" in asked["test"].note


def test_calibration_is_drawn_from_the_training_part_by_the_seed(folder: Path, tmp_path: Path) -> None:
    address, how = written(tmp_path / "t.txt"), reading(folder)
    train = {tuple(row) for row in load_text(address, "train", how).tokens.tolist()}
    first, again, other = (load_text(address, "calibration", how, limit=20, seed=seed).tokens for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert {tuple(row) for row in first.tolist()} <= train
    assert len(first) == 20


def test_rows_are_blocks_of_the_part_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    address, how = written(tmp_path / "t.txt"), reading(folder)
    everything = load_text(f"{address}@all", "test", how).tokens
    assert torch.equal(load_text(f"{address}[:5]", "train", how).tokens, everything[:5])
    assert torch.equal(load_text(f"{address}[:5]", "test", how).tokens, everything[108:113])
    assert torch.equal(load_text(f"{address}@all[::40]", "test", how, limit=2).tokens, everything[[0, 40]])


def test_a_column_of_texts_in_parquet_files_has_the_splits_of_its_files(folder: Path, tmp_path: Path) -> None:
    for split, texts in (("train", ["w0 w1 w2", None, "w3 w4"]), ("validation", ["w5 w6 w7"])):
        pq.write_table(pa.table({"text": texts, "id": range(len(texts))}), tmp_path / f"{split}-0.parquet")
    found = {split: load_text(f"hf:{tmp_path}", split, reading(folder, 4)) for split in ("train", "test")}
    assert found["train"].tokens.tolist() == [ids("<s>", "w0", "w1", "w2")]
    assert found["test"].tokens.tolist() == [ids("<s>", "w5", "w6", "w7")]
    assert found["test"].note == "split 'validation' serves as test: there is no other"


def test_one_parquet_file_is_parted_as_a_text_is(folder: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [story(1, seed=seed).strip() for seed in range(20)]}), tmp_path / "train-0.parquet")
    found = [load_text(f"hf:{tmp_path}", split, reading(folder, 13)) for split in ("train", "test")]
    assert [len(text) for text in found] == [18, 2]
    assert bool((found[1].tokens[:, 0] == 0).all())


# --- sentences -----------------------------------------------------------------------------------------------------------


def test_sentences_are_lines_with_the_tokens_around_them_cut_to_the_length(tmp_path: Path) -> None:
    folder = save_tokenizer(tmp_path / "model", around=True)
    address = file(tmp_path, "w0\n\nw1 w2 w3 w4 w5\n<|endoftext|>\nw6 w7\nw8\n")
    found = load_text(f"{address}@all", "test", reading(folder, 5, unit="sentences"))
    assert found.lengths is not None
    rows = [row[:length].tolist() for row, length in zip(found.tokens, found.lengths.tolist(), strict=True)]
    assert rows == [[0, *ids("w0"), 1], [0, *ids("w1", "w2", "w3"), 1], [0, *ids("w6", "w7"), 1], [0, *ids("w8"), 1]]
    assert [batch.tolist() for batch in found.batches(8)] == [[rows[0], rows[3]], [rows[2]], [rows[1]]]
    assert [tuple(batch.shape) for batch in found.batches(8, 2)] == [(1, 3), (1, 5)]


def test_batches_of_blocks_come_in_order_and_no_larger_than_asked_for() -> None:
    tokens = torch.arange(14).view(7, 2)
    parts = list(Text(tokens).batches(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), tokens)
    assert [len(part) for part in Text(tokens).batches(3, 4)] == [3, 1]


# --- what cannot be read -------------------------------------------------------------------------------------------------


def refusal(address: str, how: Reading, kind: type[UserError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        load_text(address, "test", how)
    return str(caught.value)


def test_a_text_shorter_than_a_block_or_than_two_is_one_error(folder: Path, tmp_path: Path) -> None:
    said = refusal(file(tmp_path, "w0 w1 w2"), reading(folder))
    assert "shorter than one block" in said
    assert "3 tokens" in said
    assert "--length" in said
    said = refusal(file(tmp_path, "w0 w1 w2 w3 w4 w5"), reading(folder))
    assert "no blocks to take as test" in said
    assert "@all" in said


@pytest.mark.parametrize("length", [1, 0, -3, CONTEXT + 1])
def test_a_length_the_model_does_not_allow_is_one_error(folder: Path, length: int) -> None:
    with pytest.raises(ConfigError, match=r"(?s)text\.length.*allowed: 2 to 32 tokens"):
        reading(folder, length)


def test_tokens_outside_the_vocabulary_are_one_error(folder: Path, tmp_path: Path) -> None:
    said = refusal(file(tmp_path, story(4)), reading(folder, vocabulary=10))
    assert "does not know" in said
    assert "allowed: 0 to 9" in said


def test_words_the_tokenizer_has_no_token_for_are_one_error(tmp_path: Path) -> None:
    said = refusal(file(tmp_path, "strange words"), reading(save_tokenizer(tmp_path / "model", unknown="<gone>")))
    assert "has no token for" in said


def test_a_file_that_is_none_is_one_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("w0 caf\xe9".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("\n\n")
    for place, words in (("nowhere.txt", "cannot be read"), (".", "cannot be read"), ("latin.txt", "not UTF-8"), ("empty.txt", "is empty")):
        said = refusal(f"text:{tmp_path / place}", reading(folder))
        assert words in said
        assert str(tmp_path) in said


def test_data_without_texts_are_one_error(folder: Path, tmp_path: Path) -> None:
    for address in ("digits", "cifar10", "npz:x.npz"):
        assert "--dataset text:<file>" in refusal(address, reading(folder))
    assert "no such data folder" in refusal(f"hf:{tmp_path / 'nowhere'}", reading(folder))
    pq.write_table(pa.table({"image": [b"x"], "label": [0]}), tmp_path / "train-0.parquet")
    assert "no column of texts" in refusal(f"hf:{tmp_path}", reading(folder))
    pq.write_table(pa.table({"text": [3]}), tmp_path / "train-0.parquet")
    assert "holds no texts" in refusal(f"hf:{tmp_path}", reading(folder))
    with pytest.raises(DataError, match="a text holds no pictures"):
        load(f"text:{tmp_path / 'x.txt'}", "test")


def test_a_missing_or_broken_tokenizer_is_one_error(folder: Path, tmp_path: Path) -> None:
    address = file(tmp_path, story(4))
    assert "without a tokenizer" in refusal(address, reading(None))
    assert str(tmp_path) in refusal(address, reading(tmp_path))
    (folder / "tokenizer.json").write_text("{}")
    assert "is no tokenizer" in refusal(address, reading(folder))


def test_a_missing_library_is_one_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", gone)
    said = refusal(file(tmp_path, story(4)), reading(folder), ResourceError)
    assert "'tokenizers'" in said
    assert "pip install 'spikeloom[hf]'" in said


# --- tokens in memory ----------------------------------------------------------------------------------------------------


def test_tokens_come_in_many_forms() -> None:
    tokens = torch.arange(10).view(5, 2)
    real = torch.ones_like(tokens)
    forms = {
        "text": Text(tokens),
        "tensor": tokens,
        "batches": list(tokens.split(2)),
        "pairs": [(part, part) for part in tokens.split(2)],
        "mappings": [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in tokens.split(2)],
        "one mapping": {"input_ids": tokens},
    }
    for data in forms.values():
        assert holds_tokens(data)
        parts = list(token_batches(data, 3, 2))
        assert torch.equal(torch.cat([part for part, _ in parts]), tokens[:3])
        assert torch.equal(torch.cat([part for _, part in parts]), real[:3])
    for other in (torch.randn(2, 3), torch.zeros(3, dtype=torch.int64), [torch.randn(2, 3)], [], "text:x", [{"pixel_values": tokens}], 3):
        assert not holds_tokens(other)


def test_padding_is_handed_on_and_checked() -> None:
    tokens, real = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]])
    ((_, found),) = token_batches([{"input_ids": tokens, "attention_mask": real}])
    assert torch.equal(found, real)
    with pytest.raises(DataError, match="attention mask has another shape"):
        list(token_batches([{"input_ids": tokens, "attention_mask": real[:, :2]}]))


@pytest.mark.parametrize("data", [[], torch.zeros(0, 3, dtype=torch.int64), [torch.randn(2, 3)], [{"pixel_values": 1}], ["w0 w1"]])
def test_what_holds_no_tokens_is_one_error(data: object) -> None:
    with pytest.raises(DataError, match=r"empty|reads texts"):
        list(token_batches(data))  # type: ignore[arg-type]


def test_a_configuration_of_a_hub_data_set_is_named_after_a_hash(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from spikeloom.datasets import hub

    repository = tmp_path / "repository"
    for name, word in (("small", "w1"), ("large", "w2")):
        (repository / name).mkdir(parents=True)
        pq.write_table(pa.table({"text": [f"{word} " * 30]}), repository / name / "train.parquet")
    configurations = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("small", "large"))
    (repository / "README.md").write_text(f"---\nconfigs:\n{configurations}---\n")
    fetch = datasets.load_dataset
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "unreachable", lambda endpoint: None)
    here = partial(fetch, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: here(str(repository), configuration))
    for name, word in (("small", "w1"), ("large", "w2")):
        found = load_text(f"hf:some/texts#{name}@all", "test", reading(folder, 6))
        assert set(found.tokens.flatten().tolist()) - set(ids("<s>")) == set(ids(word))
    with pytest.raises(DataError, match="several configurations") as several:
        load_text("hf:some/texts", "test", reading(folder, 6))
    assert (several.value.allowed, several.value.todo) == ("small, large", "name one: hf:some/texts#small")
    with pytest.raises(DataError, match="no such configuration") as none:
        load_text("hf:some/texts#tiny", "test", reading(folder, 6))
    assert (none.value.found, none.value.allowed) == ("tiny", "small, large")
