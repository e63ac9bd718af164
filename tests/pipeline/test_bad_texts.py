"""What a language model cannot read, by the library and by the command line: one error each, and nothing half-written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.readers import CONTEXT, VOCABULARY, bert, llama, save_tokenizer, sentence, story, written
from torch import Tensor, nn
from typer.testing import CliRunner

from spikeloom.capture import load
from spikeloom.cli import app
from spikeloom.datasets import load_text, text
from spikeloom.errors import DataError, ProgramError, SourceError
from spikeloom.pipeline import Settings, Writing, convert_model, write_texts

X = torch.randint(2, VOCABULARY, (4, 8), generator=torch.Generator().manual_seed(0))
ONES = torch.ones_like(X)
QUICK = Settings(timesteps=1, levels=7, compensate=False, calibration_samples=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama, a text, and the network converted from both; nobody writes into it."""
    made = tmp_path_factory.mktemp("texts")
    llama(made / "llama")
    written(made / "book.txt")
    (made / "strange.txt").write_text("nobody knows these words " * 200)
    found = ran("convert", f"hf:{made / 'llama'}", "--dataset", f"text:{made / 'book.txt'}", "--output-dir", made / "out", *SMALL)
    assert found[0] == 0, found[2]
    return made


SMALL = ("--levels", "7", "--timesteps", "1", "--length", "12", "--calibration-samples", "8", "--samples", "3", "--no-compensate", "--json")


def ran(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    found = CliRunner().invoke(app, list(map(str, arguments)))
    return found.exit_code, found.stdout, found.stderr


# --- the library ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (X + VOCABULARY, "tokens the model does not know"),
        (torch.zeros(2, CONTEXT + 1, dtype=torch.int64), "longer than the model allows"),
        ([{"input_ids": X, "attention_mask": ONES[:, :3]}], r"mask has another shape.*\(4, 3\).*\(4, 8\)"),
        ([{"input_ids": X, "attention_mask": ONES * 2}], "1 and 0 alone.*such as 2"),
        ([{"input_ids": X, "attention_mask": ONES * 0.5}], "1 and 0 alone.*such as 0.5"),
        (X[:0], "tokens given are empty"),
        (X[:, :0], "tokens given are empty"),
        (["once upon a time", "there was"], "yields texts.*'once upon a time'.*tokenizer"),
        ("digits", "holds none.*--dataset text:<file>"),
        ("text:nowhere.txt", "cannot be read"),
    ],
    ids=["unknown", "long", "mask's shape", "twos", "halves", "no rows", "no tokens", "strings", "pictures", "no file"],
)
def test_data_that_a_language_model_cannot_read_are_one_error(folder: Path, data: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"(?s){said}"):
        convert_model(f"hf:{folder / 'llama'}", data, QUICK)


def test_a_mask_of_floats_is_taken(folder: Path) -> None:
    real = ONES.float()
    real[0, 6:] = 0
    made = [
        convert_model(f"hf:{folder / 'llama'}", [{"input_ids": X, "attention_mask": mask}], QUICK).program for mask in (real, real.long())
    ]
    assert all(torch.equal(made[0].tensors[name], made[1].tensors[name]) for name in made[0].tensors)


def test_texts_for_a_classifier_of_pictures_are_one_error(folder: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(DataError, match="a text holds no pictures"):
        convert_model(model, f"text:{folder / 'book.txt'}", QUICK)
    with pytest.raises(SourceError, match=r"(?s)inputs of shape \[\[2, 8\]\] of whole numbers.*give inputs that the model takes"):
        convert_model(model, X, QUICK)


def test_a_module_takes_its_example_from_an_address_of_pictures() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    assert convert_model(model, "digits[:64]", QUICK)(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_a_model_of_tokens_that_no_task_reads_and_one_of_two_texts_are_told(folder: Path, tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM, T5Config, T5ForConditionalGeneration

    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    MambaForCausalLM(MambaConfig(**sizes)).save_pretrained(save_tokenizer(tmp_path / "mamba"))
    sizes = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(save_tokenizer(tmp_path / "t5"))
    for name, said in (("mamba", "takes tokens, but not as models do"), ("t5", "reads one sequence to write another")):
        code, _, told = ran(
            "convert", f"hf:{tmp_path / name}", "--dataset", f"text:{folder / 'book.txt'}", "--output-dir", tmp_path / "out"
        )
        assert code == 2
        assert told.count("error: ") == 1
        assert said in told
        assert not list((tmp_path / "out").iterdir())
    assert ran("check", f"hf:{tmp_path / 't5'}")[0] == 3


def test_an_architecture_with_an_operation_that_is_not_converted_is_told_with_all_of_them(folder: Path, tmp_path: Path) -> None:
    from transformers import PhimoeConfig, PhimoeForCausalLM

    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 2, "max_position_embeddings": CONTEXT}
    PhimoeForCausalLM(PhimoeConfig(**sizes, **heads)).save_pretrained(save_tokenizer(tmp_path / "experts"))
    asked = ("convert", f"hf:{tmp_path / 'experts'}", "--dataset", f"text:{folder / 'book.txt'}", "--output-dir", tmp_path / "out", *SMALL)
    code, printed, told = ran(*asked)
    assert (code, printed) == (2, "")
    assert told.count("error: ") == 1
    assert "aten.max.dim" in told
    assert "aten.clamp.Tensor" in told
    assert "aten.scatter.value" in told
    assert not (tmp_path / "out" / "program.json").exists()


# --- the command line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "more", "said"),
    [
        ("text:{}/strange.txt", (), "the tokenizer does not know most of the text\n  found: 800 of 800 tokens"),
        ("{}/book.txt", (), "what to do: give --dataset text:{}/book.txt"),
        ("text:{}/one.txt", (), "no blocks to take as test\n  found: blocks in all: 1, of them for testing: 0"),
        (
            "text:{}/short.txt",
            (),
            "shorter than one block\n  found: 3 tokens\n  allowed: 12 or more\n  what to do: give a smaller --length",
        ),
        ("text:{}/book.txt", ("--length", "33"), "text.length cannot be used with this model\n  found: 33\n  allowed: 2 to 32 tokens"),
        ("digits", (), "this model reads texts, and the data set holds none"),
    ],
    ids=["another language", "a bare path", "one block", "shorter than a block", "longer than the model", "pictures"],
)
def test_a_text_that_cannot_be_read_is_one_message_and_leaves_nothing(
    dataset: str, more: tuple[str, ...], said: str, folder: Path, tmp_path: Path
) -> None:
    (folder / "one.txt").write_text(story(1))
    (folder / "short.txt").write_text(sentence(3, 0))
    address = dataset.format(folder)
    code, printed, told = ran("convert", f"hf:{folder / 'llama'}", "--dataset", address, "--output-dir", tmp_path / "out", *SMALL, *more)
    assert (code, printed) == (2, "")
    assert told.count("error: ") == 1
    assert said.format(folder) in told
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there is nothing to go on from"),
        (("--prompt", ""), "an empty prompt is nothing to go on from\n  found: ''"),
        (("--prompt", "w1", "--prompt", "  "), "an empty prompt is nothing to go on from\n  found: '  '"),
        (("--prompt", "nobody knows"), "the tokenizer does not know most of the text"),
        (("--prompt", "w1 " * 40), "the text is longer than the model allows"),
        (("--prompt", "w1", "--max-new-tokens", "31"), "found: 2 tokens and 31 new ones\n  allowed: 32 in all"),
        (("--prompt", "w1", "--top-k", "3"), "nothing is drawn at temperature 0\n  found: top_k 3"),
        (("--prompt", "w1", "--temperature", "1", "--top-p", "0"), "top_p is out of range"),
        (("--prompt", "w1", "--seed", "-1"), "seed is out of range"),
    ],
)
def test_a_prompt_that_cannot_be_gone_on_from_is_one_message(folder: Path, options: tuple[str, ...], said: str) -> None:
    code, printed, told = ran("generate", folder / "out", *options)
    assert (code, printed) == (2, "")
    assert told.count("error: ") == 1
    assert said in told


def test_without_a_number_as_many_tokens_are_written_as_there_is_room_for(folder: Path) -> None:
    (whole,) = write_texts(folder / "out", ["w1 w2"], Writing())
    assert len(whole.split()) <= CONTEXT - 1
    assert whole == write_texts(folder / "out", ["w1 w2"], Writing(max_new_tokens=CONTEXT - 3))[0]


def test_a_network_that_writes_no_texts_says_so(folder: Path, tmp_path: Path) -> None:
    bert(tmp_path / "bert")
    snn = convert_model(f"hf:{tmp_path / 'bert'}", X, QUICK)
    snn.save_pretrained(tmp_path / "out")
    with pytest.raises(ProgramError, match=r"(?s)no model that writes texts.*feature-extraction.*text-generation"):
        write_texts(tmp_path / "out", ["w1"], Writing())


# --- unknown words -------------------------------------------------------------------------------------------------------


def test_some_unknown_words_are_no_mistake_and_the_very_word_for_them_is_none_at_all(folder: Path, tmp_path: Path) -> None:
    from spikeloom.pipeline.texts import reading_of

    reading = reading_of(load(f"hf:{folder / 'llama'}").settings, Settings(length=6), "blocks")
    for words, fits in (("w1 w2 nobody ", True), ("w1 nobody knows ", False), ("<unk> w1 <unk> ", True)):
        (tmp_path / "text.txt").write_text(words * 40)
        if fits:
            assert len(load_text(f"text:{tmp_path / 'text.txt'}", "test", reading)) == 2
            continue
        with pytest.raises(DataError, match="80 of 120 tokens stand for unknown words"):
            load_text(f"text:{tmp_path / 'text.txt'}", "test", reading)


def test_the_unknown_token_of_every_kind_of_tokenizer_is_found() -> None:
    from tokenizers import Tokenizer, models

    from spikeloom.datasets.tokenizer import unknown_token

    words = {"a": 0, "?": 1}
    assert unknown_token(Tokenizer(models.WordLevel(words, unk_token="?"))) == 1
    assert unknown_token(Tokenizer(models.WordPiece(words, unk_token="?"))) == 1
    assert unknown_token(Tokenizer(models.BPE(words, []))) is None
    assert unknown_token(Tokenizer(models.Unigram([("?", 0.0), ("a", -1.0)], unk_id=0))) == 0


# --- tokenising ----------------------------------------------------------------------------------------------------------


def test_a_conversion_tokenises_its_text_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, place = list[str](), tmp_path / "again.txt"
    address, kept = written(place), text.rows_of
    monkeypatch.setattr(text, "rows_of", lambda *given: read.append(given[3]) or kept(*given))
    assert ran("convert", f"hf:{folder / 'llama'}", "--dataset", address, "--output-dir", tmp_path / "out", *SMALL)[0] == 0
    assert read == [address]
    convert_model(f"hf:{folder / 'llama'}", address, Settings(timesteps=1, levels=7, calibration_samples=8, length=12))
    assert read == [address]
    place.write_text(story(50, seed=7))  # another text under the same name is read anew
    assert ran("evaluate", tmp_path / "out", "--samples", "2", "--json")[0] == 0
    assert read == [address, address]


# --- a model in memory ---------------------------------------------------------------------------------------------------


@pytest.fixture
def module(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder / "llama")


def test_a_transformers_model_in_memory_is_read_as_its_address_is_and_stays_as_it_was(folder: Path, module: Any) -> None:
    module.train()
    before: dict[str, Tensor] = {name: value.clone() for name, value in module.state_dict().items()}
    found, expected = (convert_model(model, X, QUICK) for model in (module, f"hf:{folder / 'llama'}"))
    assert torch.equal(found(X), expected(X))
    assert found.program.settings["task"] == "text-generation"
    assert found.program.settings["source"] == "module:LlamaForCausalLM"
    assert torch.equal(found(X, attention_mask=ONES), found(X))
    assert module.training
    assert module.config._attn_implementation != "spikeloom"
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_model_in_memory_reads_an_address_by_the_tokenizer_it_came_with(folder: Path, module: Any) -> None:
    found = convert_model(module, f"text:{folder / 'book.txt'}", Settings(timesteps=1, levels=7, calibration_samples=8, length=12))
    assert found.generate(X[:1], max_new_tokens=3, do_sample=False).shape[1] <= 11
    module.config._name_or_path = module.name_or_path = ""
    with pytest.raises(DataError, match="without a tokenizer"):
        convert_model(module, f"text:{folder / 'book.txt'}", QUICK)


def test_a_model_of_half_precision_is_read_in_full(folder: Path, module: Any) -> None:
    found = convert_model(module.bfloat16(), X, QUICK)
    assert found(X).dtype == torch.float32
    assert next(module.parameters()).dtype == torch.bfloat16
