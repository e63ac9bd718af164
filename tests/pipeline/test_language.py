"""Language models: next tokens judged against a direct computation; the whole road from a folder and a text to a page that says it."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.readers import CONTEXT, VOCABULARY, llama, story, written
from tests.pipeline.test_resume import result, same, stopping
from torch.nn import functional
from typer.testing import CliRunner

from spikeloom.capture import load
from spikeloom.cli import app
from spikeloom.datasets import Text
from spikeloom.errors import ConfigError, DataError, UserError
from spikeloom.ir import Dialect, Program
from spikeloom.pipeline import Settings, convert, convert_model, evaluate, load_model, report_model
from spikeloom.pipeline.evaluation import evaluate as tallied
from spikeloom.pipeline.language import NextTokens, evaluate_language, perplexity
from spikeloom.pipeline.library import batches_of, readable
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.texts import OUTPUTS_AT_ONCE, TOKENS_AT_ONCE, at_once, structure
from spikeloom.report.numerals import significant
from spikeloom.simulate import SpikingModel

ASKED = "--levels 15 --timesteps 2 --placement density --calibration-samples 24 --length 12 --batch-size 8 --json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny Llama in `llama` and a text beside it; nobody writes into it."""
    made = tmp_path_factory.mktemp("language")
    llama(made / "llama")
    written(made / "book.txt")
    return made


@pytest.fixture(scope="module")
def ann(folder: Path) -> Program:
    return load(f"hf:{folder / 'llama'}")


@pytest.fixture(scope="module")
def converted(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder that the command line wrote, and what it printed."""
    arguments = ["convert", f"hf:{folder / 'llama'}", "--dataset", f"text:{folder / 'book.txt'}", *ASKED.split()]
    found = CliRunner().invoke(app, [*arguments, "--output-dir", str(folder / "out")])
    assert found.exit_code == 0, found.stderr
    assert found.stderr == ""
    return folder / "out", json.loads(found.stdout)


def text(rows: int = 6, length: int = 12, seed: int = 0) -> Text:
    return Text(torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed)))


def as_spiking(ann: Program) -> SpikingModel:
    """The ANN in a spiking network's place, beside itself."""
    return SpikingModel(ann.replaced(dialect=Dialect.SNN), timesteps=1, ann=ann)


# --- next tokens ---------------------------------------------------------------------------------------------------------


def test_the_ann_itself_agrees_with_itself_and_does_not_diverge(ann: Program) -> None:
    found = evaluate_language(as_spiking(ann), text()).measures
    assert found["next_token_agreement"] == 1.0
    assert found["kl_nats"] == pytest.approx(0.0, abs=1e-6)
    assert found["perplexity"]["snn"] == found["perplexity"]["ann"]
    assert found["perplexity"]["control"] is None
    assert found["mcnemar"] is None
    assert found["sign_test"] is None


def test_measures_are_those_of_a_direct_computation(converted: tuple[Path, dict[str, Any]]) -> None:
    snn, data = load_model(converted[0]), text()
    assert snn.ann is not None
    assert snn.control is not None
    found = evaluate_language(snn, data, size=4)
    inputs, right = structure(snn.program, data.tokens), data.tokens[:, 1:]
    with torch.no_grad():
        logits = {"snn": snn(*inputs), "ann": snn.ann.module()(*inputs), "control": snn.control.module()(*inputs)}
        del logits["control"]
    for name, given in logits.items():
        loss = float(functional.cross_entropy(given[:, :-1].flatten(0, 1), right.flatten()))
        assert found.measures["perplexity"][name] == pytest.approx(math.exp(loss), rel=1e-5)
        assert found.measures["bits_per_token"][name] == pytest.approx(loss / math.log(2), rel=1e-5)
        assert found.measures["next_token_accuracy"][name] == pytest.approx(float((given[:, :-1].argmax(2) == right).float().mean()))
    p, q = (logits[name][:, :-1].log_softmax(2).flatten(0, 1) for name in ("ann", "snn"))
    kl = float(functional.kl_div(q, p, log_target=True, reduction="batchmean"))
    assert found.measures["kl_nats"] == pytest.approx(kl, rel=1e-3)
    assert found.measures["kl_nats"] > 0
    same_token = logits["ann"][:, :-1].argmax(2) == logits["snn"][:, :-1].argmax(2)
    assert found.measures["next_token_agreement"] == found.measures["agreement"] == pytest.approx(float(same_token.float().mean()))
    assert (found.samples, found.timesteps, found.measures["tokens"]) == (6, 2, 6 * 11)
    assert found.measures["accuracy"] == dict.fromkeys(("ann", "snn", "control"))
    assert "perplexity" in found.reasons["accuracy"]


def test_the_curve_is_that_of_running_outputs(converted: tuple[Path, dict[str, Any]]) -> None:
    snn, data = load_model(converted[0]), text()
    curve = evaluate_language(snn, data).curve
    assert [row["timesteps"] for row in curve] == [1, 2]
    for row in curve:
        alone = evaluate_language(snn, data, row["timesteps"]).measures
        assert row["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-5)
        assert row["kl_nats"] == pytest.approx(alone["kl_nats"], rel=1e-3)
        assert row["agreement"] == pytest.approx(alone["agreement"])


def test_the_paired_tests_count_tokens_and_blocks(converted: tuple[Path, dict[str, Any]]) -> None:
    found = evaluate_language(load_model(converted[0]), text(9))
    right = {name: found.answers[name] == found.answers["labels"] for name in ("snn", "control")}
    assert found.measures["mcnemar"]["snn_only_right"] == int((right["snn"] & ~right["control"]).sum())
    signs = found.measures["sign_test"]
    assert signs["unit"] == "blocks"
    assert signs["snn_better"] + signs["control_better"] == 9
    assert 0 < signs["p"] <= 1


def test_padding_counts_for_nothing(ann: Program) -> None:
    snn, tokens = as_spiking(ann), text(3, 9).tokens
    real = torch.ones_like(tokens)
    real[0, 5:] = real[2, 7:] = 0
    found = tallied(NextTokens(Networks(snn, 1)), [(structure(ann, tokens, real), real)], lambda count: None)
    whole = [evaluate_language(snn, Text(tokens[row : row + 1, :length])) for row, length in ((0, 5), (1, 9), (2, 7))]
    counts = torch.tensor([one.measures["tokens"] for one in whole], dtype=torch.float64)
    bits = torch.tensor([one.measures["bits_per_token"]["snn"] for one in whole], dtype=torch.float64)
    assert found.measures["tokens"] == int(counts.sum()) == 4 + 8 + 6
    assert found.measures["bits_per_token"]["snn"] == pytest.approx(float((bits * counts).sum() / counts.sum()), rel=1e-5)


def test_a_perplexity_beyond_all_numbers_is_null_with_the_reason(ann: Program) -> None:
    assert perplexity(1e4) is None
    assert perplexity(math.nan) is None
    huge = {key: value * (1e6 if "embed" in key or "lm_head" in key else 1) for key, value in ann.tensors.items()}
    found = evaluate_language(as_spiking(ann.replaced(tensors=huge)), text())
    assert found.measures["perplexity"]["snn"] is None
    assert found.reasons["snn"] == "its perplexity is no finite number"
    json.dumps(found.measures, allow_nan=False)


def test_long_texts_and_large_vocabularies_run_fewer_at_once(ann: Program) -> None:
    def rows(length: int, batch: int, steps: int, **settings: Any) -> int:
        return at_once(ann.replaced(settings={**ann.settings, "length": length, **settings}), batch, steps)

    assert rows(12, 8, 1) == 32
    assert rows(12, 8, 4) == 8
    assert rows(1024, 64, 1) == TOKENS_AT_ONCE // 1024
    assert rows(256, 64, 2, vocabulary=50257) == OUTPUTS_AT_ONCE // (256 * 2 * 50257)
    assert rows(4096, 64, 4, vocabulary=200_000) == 1


def test_texts_without_a_next_token_and_none_at_all_are_told(ann: Program) -> None:
    with pytest.raises(DataError, match="nothing to evaluate on"):
        tallied(NextTokens(Networks(as_spiking(ann), 1)), [], lambda count: None)
    with pytest.raises(DataError, match="no next token"):
        evaluate_language(as_spiking(ann), text(3, 1))


# --- the command line ----------------------------------------------------------------------------------------------------


def test_the_json_of_a_conversion_has_what_a_language_model_is_judged_by(converted: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = converted
    assert json.loads((folder / "metrics.json").read_text()) == printed
    assert all(value > 1 for value in printed["perplexity"].values())
    assert set(printed["perplexity"]) == {"ann", "snn", "control"}
    assert 0.5 < printed["next_token_agreement"] <= 1
    assert 0 < printed["kl_nats"] < 0.5
    assert printed["floating_operations"] == []
    assert printed["accuracy"] == {"ann": None, "snn": None, "control": None}
    assert "accuracy" in printed["reasons"]
    assert (printed["timesteps"], printed["levels"], printed["samples"], printed["tokens"]) == (2, 15, 6, 66)
    assert printed["energy_pj"]["snn"] > 0
    assert printed["spikes_per_inference"] > 0


def test_a_folder_that_was_moved_reads_by_its_own_tokenizer(
    converted: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(converted[0], tmp_path / "moved", ignore=shutil.ignore_patterns("phases"))
    shutil.copy(folder / "book.txt", tmp_path / "book.txt")
    monkeypatch.chdir(tmp_path)
    kept = {path.name for path in (tmp_path / "moved" / "tokenizer").iterdir()}
    assert kept == {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    for place in ("", "ann", "control"):
        settings = json.loads((tmp_path / "moved" / place / "config.json").read_text())
        assert (tmp_path / "moved" / place / settings["tokenizer"] / "tokenizer.json").is_file()
        assert not Path(settings["tokenizer"]).is_absolute()
    found = CliRunner().invoke(app, ["evaluate", "moved", "--dataset", "text:book.txt", "--json"])
    assert found.exit_code == 0, found.stderr
    again = json.loads(found.stdout)
    assert {key: value for key, value in again.items() if key != "seconds"} == {
        key: value for key, value in converted[1].items() if key != "seconds"
    }


def test_another_length_other_blocks_and_steps_may_be_asked_for(converted: tuple[Path, dict[str, Any]], folder: Path) -> None:
    found = evaluate(converted[0], f"text:{folder / 'book.txt'}@all[:5]", timesteps=1, length=24)
    assert (found["samples"], found["tokens"], found["timesteps"]) == (5, 5 * 23, 1)


def test_the_page_the_card_and_the_summary_say_the_perplexity(converted: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = converted
    page, card = (folder / "report.html").read_text(), (folder / "README.md").read_text()
    for name in ("ann", "snn", "control"):
        assert significant(printed["perplexity"][name], 4) in page
    assert "Perplexity over time" in page
    assert "Right answers" not in page
    assert "has a perplexity of" in card
    assert "foresees the ANN&#39;s next token" in page
    assert "the last 6 of 60 blocks are for testing" in page
    assert printed["nonlinear_share"] == 1.0
    assert f"{len(printed['running_means'])} operations act on running means at T=2" in page
    assert all(f"<code>{name}" in page.replace("<wbr>", "") for name in printed["running_means"])
    found = CliRunner().invoke(app, ["evaluate", str(folder), "--samples", "2"])
    assert "perplexity" in found.stdout
    assert "every nonlinear operation is computed by neurons" in " ".join(found.stdout.split())
    assert "operations act on running means" in " ".join(found.stdout.split())


def test_a_stopped_conversion_resumes_to_the_same_result(converted: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    models = {"source": f"hf:{folder / 'llama'}", "dataset": f"text:{folder / 'book.txt'}", "output_dir": tmp_path / "out"}
    small: dict[str, Any] = {"levels": 15, "timesteps": 2, "placement": "density", "calibration_samples": 24, "length": 12, "batch_size": 8}
    small |= {"bio_calibration": True, "bio_when": "worthwhile"}  # as the command line has it
    for phase in ("quantising", "counting"):
        with pytest.raises(KeyboardInterrupt):
            convert(Settings(**models, **small, resume=phase == "counting"), progress=stopping(phase))
        assert not (tmp_path / "out" / "tokenizer").exists()
    told = list[str]()
    convert(Settings(**models, **small, resume=True), progress=lambda what, *_: told.append(what))
    assert not [what for what in told if what.startswith(("loading", "observing", "quantising"))]
    assert same(result(tmp_path / "out"), result(converted[0]))


# --- the library ---------------------------------------------------------------------------------------------------------


def test_the_library_converts_reports_and_loads_by_tokens(folder: Path, tmp_path: Path) -> None:
    data, options = text(16), Settings(timesteps=1, levels=15, compensate=False)
    snn = convert_model(f"hf:{folder / 'llama'}", data, options)
    assert evaluate_language(snn, text(4, seed=1)).measures["next_token_agreement"] > 0.4
    page = report_model(snn, tmp_path / "page.html", data.tokens[:4]).read_text()
    assert "has a perplexity of" in page
    assert "the data given" in page


def test_a_stream_of_tokens_can_be_read_again_and_again() -> None:
    data = text(10).tokens
    stream: Iterator[Any] = iter([{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in data.split(4)])
    kept = readable(stream, 6)
    for _ in range(2):
        assert torch.equal(torch.cat([part["input_ids"] for part in kept]), data[:6])
    assert next(stream)["input_ids"].shape == (2, 12)  # no more was taken than was needed


def test_the_library_takes_an_address_too(converted: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    snn, address = load_model(converted[0]), f"text:{folder / 'book.txt'}"
    rows = [inputs[0] for inputs, _ in batches_of(snn.program, address, "calibration", Settings(batch_size=4), 10)]
    assert [tuple(tokens.shape) for tokens in rows] == [(4, 12), (4, 12), (2, 12)]
    assert "on 6 blocks of text" in report_model(snn, tmp_path / "page.html", address).read_text()


def test_pictures_for_a_model_that_reads_are_one_error(folder: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)this model reads texts.*found: torch.float32.*tokenizer\(texts"):
        convert_model(f"hf:{folder / 'llama'}", torch.randn(4, 3, 8, 8))


# --- what cannot be done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"dataset": "digits"}, DataError, "--dataset text:<file>"),
        ({"length": CONTEXT + 1}, ConfigError, "2 to 32 tokens"),
        ({"train": True}, ConfigError, "training.enable"),
        ({"early_exit": True}, ConfigError, "evaluation.early_exit"),
        ({"preprocessing": {"channels": 1}}, ConfigError, "preprocessing"),
        ({"dataset": "text:nowhere.txt"}, DataError, "nowhere.txt cannot be read"),
    ],
)
def test_what_a_language_model_cannot_take_is_one_error_before_any_work(
    changes: dict[str, Any], kind: type[UserError], words: str, folder: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"source": f"hf:{folder / 'llama'}", "dataset": f"text:{folder / 'book.txt'}", "output_dir": tmp_path / "out"}
    with pytest.raises(kind, match=words):
        convert(Settings(**{**asked, **changes}))
    assert not list((tmp_path / "out").iterdir())


def test_a_text_shorter_than_a_block_a_strange_tokenizer_and_none_are_one_message(folder: Path, tmp_path: Path) -> None:
    def said(source: Path, *more: str) -> str:
        given = ["convert", f"hf:{source}", "--dataset", f"text:{tmp_path / 'short.txt'}", "--output-dir", str(tmp_path / "out"), *more]
        found = CliRunner().invoke(app, given)
        assert found.exit_code == 2
        assert "Traceback" not in found.stderr
        return found.stderr

    (tmp_path / "short.txt").write_text(story(1, 5))
    assert "shorter than one block" in said(folder / "llama")
    shutil.copytree(folder / "llama", tmp_path / "llama")
    vocabulary = json.loads((tmp_path / "llama" / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"]["w0"] = VOCABULARY + 5
    (tmp_path / "llama" / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert "tokens that the model does not know" in said(tmp_path / "llama", "--length", "5")
    (tmp_path / "llama" / "tokenizer.json").unlink()
    assert "without a tokenizer" in said(tmp_path / "llama", "--length", "5")


def test_a_saved_folder_refuses_what_its_network_cannot_do(converted: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="early_exit is for classifiers"):
        evaluate(converted[0], early_exit=True)
    with pytest.raises(DataError, match="holds none"):
        evaluate(converted[0], "digits")


def test_a_length_for_pictures_and_a_text_to_train_on_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training"):
        convert(Settings(train=True, dataset=f"text:{tmp_path / 'x.txt'}", output_dir=tmp_path / "out"))


# --- shared models -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_character_gpt2_keeps_its_perplexity(shared: Callable[[str], Path], tmp_path: Path) -> None:
    source, data = shared("gpt2_char_shakespeare"), shared("text") / "tinyshakespeare.txt"
    options = {"timesteps": 1, "levels": 31, "placement": "density", "calibration_samples": 64, "samples": 40}
    found = convert(Settings(source=f"hf:{source}", dataset=f"text:{data}", output_dir=tmp_path / "out", **options)).metrics
    assert found["perplexity"]["snn"] < 1.025 * found["perplexity"]["ann"]
    assert found["perplexity"]["snn"] < found["perplexity"]["control"]
    assert found["next_token_agreement"] > 0.91


@pytest.mark.slow
def test_the_ann_alone_has_the_perplexity_its_provenance_says(shared: Callable[[str], Path]) -> None:
    from spikeloom.datasets import load_text
    from spikeloom.pipeline.texts import reading_of

    ann = load(f"hf:{shared('gpt2_char_shakespeare')}")
    data = load_text(f"text:{shared('text') / 'tinyshakespeare.txt'}", "test", reading_of(ann.settings, Settings(), "blocks"))
    assert evaluate_language(as_spiking(ann), data).measures["perplexity"]["ann"] == pytest.approx(4.732, abs=0.02)


def test_the_tokenizer_of_an_earlier_conversion_leaves_nothing_behind(folder: Path, tmp_path: Path, ann: Program) -> None:
    from spikeloom.simulate.tokenizer import keep_tokenizer

    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "special_tokens_map.json").write_text("{}")
    keep_tokenizer(ann, tmp_path)
    assert not (tmp_path / "tokenizer" / "special_tokens_map.json").exists()
    assert (tmp_path / "tokenizer" / "tokenizer.json").read_bytes() == (folder / "llama" / "tokenizer.json").read_bytes()
