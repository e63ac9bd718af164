"""Encoders: embeddings judged by their cosine and by how they rank pairs; a tiny BERT from a folder and a text to its page."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.readers import bert, sentence
from torch.nn import functional

from spikeloom.capture import load
from spikeloom.datasets import Text
from spikeloom.errors import DataError
from spikeloom.ir import Dialect, Program
from spikeloom.pipeline import Conversion, Settings, convert, convert_model, evaluate
from spikeloom.pipeline.embeddings import rank_agreement, similarities
from spikeloom.pipeline.evaluation import evaluate as tallied
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.sentences import evaluate_sentences, pooled, tally
from spikeloom.pipeline.texts import structure
from spikeloom.simulate import SpikingModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny BERT in `bert` and sentences of several lengths beside it."""
    made = tmp_path_factory.mktemp("sentences")
    bert(made / "bert")
    (made / "lines.txt").write_text("".join(f"{sentence(3 + line % 5, line)}\n" for line in range(80)))
    return made


@pytest.fixture(scope="module")
def ann(folder: Path) -> Program:
    return load(f"hf:{folder / 'bert'}")


@pytest.fixture(scope="module")
def converted(folder: Path) -> Conversion:
    options = {"levels": 15, "timesteps": 1, "compensate": False, "calibration_samples": 32, "batch_size": 16}
    return convert(Settings(source=f"hf:{folder / 'bert'}", dataset=f"text:{folder / 'lines.txt'}", output_dir=folder / "out", **options))


def text(*lengths: int) -> Text:
    counts = torch.tensor(lengths)
    tokens = torch.randint(3, 20, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    return Text(tokens * (torch.arange(max(lengths)) < counts[:, None]), unit="sentences", lengths=counts)


def test_an_embedding_is_the_mean_over_real_tokens() -> None:
    states = torch.arange(12.0).view(1, 4, 3)
    torch.testing.assert_close(pooled(states, torch.tensor([[1, 1, 0, 0]])), states[:, :2].mean(1))


def test_rank_agreement_is_that_of_all_pairs() -> None:
    ann = torch.tensor([[1.0, 0.0], [0.9, 0.5], [0.0, 1.0], [-1.0, 0.2]])
    first, second = similarities(ann), similarities(2 * ann)
    assert first.shape == (6,)
    torch.testing.assert_close(first, second)
    assert rank_agreement(3 * ann, ann) == pytest.approx(1.0)
    by_hand = functional.cosine_similarity(ann[[0, 0, 0, 1, 1, 2]], ann[[1, 2, 3, 2, 3, 3]])
    torch.testing.assert_close(first, by_hand)
    other = torch.tensor([[1.0, 0.0], [-1.0, 0.3], [0.9, 0.5], [0.0, 1.0]])
    ranks = [torch.tensor(sorted(range(6), key=value.tolist().__getitem__)).argsort() for value in (first, similarities(other))]
    distance = float((ranks[0] - ranks[1]).square().sum())
    assert rank_agreement(other, ann) == pytest.approx(1 - 6 * distance / (6 * 35), abs=1e-6)
    assert rank_agreement(ann[:2], ann[:2]) is None
    assert rank_agreement(torch.ones(4, 2), ann) is None


def test_sentences_of_several_lengths_are_judged_as_each_alone(ann: Program) -> None:
    noisy = {
        key: value + 0.02 * torch.randn_like(value) if value.dim() == 2 and value.is_floating_point() else value
        for key, value in ann.tensors.items()
    }
    snn = SpikingModel(ann.replaced(dialect=Dialect.SNN, tensors=noisy), timesteps=1, ann=ann)
    data = text(5, 3, 7, 5, 4)
    found = evaluate_sentences(snn, data)
    assert data.lengths is not None
    with torch.no_grad():
        alone = [[model(row[None, :count]).mean(1) for row, count in zip(data.tokens, data.lengths.tolist(), strict=True)] for model in
                 (snn, SpikingModel(ann.replaced(dialect=Dialect.SNN)))]  # fmt: skip
    cosine = functional.cosine_similarity(torch.cat(alone[0]), torch.cat(alone[1])).mean()
    assert found.measures["cosine"]["snn"] == pytest.approx(float(cosine), abs=1e-5)
    assert found.measures["rank_agreement"]["snn"] == pytest.approx(rank_agreement(torch.cat(alone[0]), torch.cat(alone[1])), abs=1e-3)
    assert found.measures["cosine"]["control"] is found.measures["sign_test"] is None
    assert found.samples == 5


def test_a_conversion_says_how_near_its_embeddings_are(converted: Conversion) -> None:
    metrics = converted.metrics
    assert 0.95 < metrics["cosine"]["snn"] <= 1
    assert metrics["rank_agreement"]["snn"] > 0.8
    assert metrics["cosine"]["control"] is not None
    assert metrics["agreement"] is None
    assert metrics["accuracy"] == dict.fromkeys(("ann", "snn", "control"))
    assert metrics["sign_test"]["unit"] == "sentences"
    assert metrics["samples"] == 8
    assert metrics["floating_operations"] == []
    json.dumps(metrics, allow_nan=False)
    page = (converted.folder / "report.html").read_text()
    assert "with a mean cosine of" in page
    assert "Rank agreement" in page
    assert "Cosine over time" in page


def test_evaluating_the_folder_gives_the_metrics_again(converted: Conversion) -> None:
    again = evaluate(converted.folder)
    assert {key: value for key, value in again.items() if key != "seconds"} == {
        key: value for key, value in converted.metrics.items() if key != "seconds"
    }


def test_no_text_at_all_is_told(ann: Program) -> None:
    networks = Networks(SpikingModel(ann.replaced(dialect=Dialect.SNN)), 1)
    with pytest.raises(DataError, match="nothing to evaluate on"):
        tallied(tally(networks), [], lambda count: None)


def test_padding_counts_for_nothing(ann: Program) -> None:
    snn = SpikingModel(ann.replaced(dialect=Dialect.SNN), ann=ann)
    tokens, real = text(6, 6).tokens, torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = tally(Networks(snn, 1))
    found.add(structure(ann, tokens, real), real)
    torch.testing.assert_close(found.kept[1][0][:1], snn(tokens[:1, :4]).mean(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("T5EncoderModel", {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 24}),
        ("DebertaModel", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
        ("DebertaV2Model", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4}),
    ],
)
@torch.no_grad()
def test_encoders_that_know_distances_are_converted_for_texts_of_any_length(name: str, options: dict[str, Any]) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32}
    chosen = getattr(transformers, name)
    torch.manual_seed(0)
    model = chosen(chosen.config_class(**options if "d_model" in options else sizes | options, vocab_size=23, initializer_range=0.3)).eval()
    x = torch.randint(3, 23, (8, 13), generator=torch.Generator().manual_seed(0))
    snn = convert_model(model, x, Settings(timesteps=1, levels=255, compensate=False, calibration_samples=8))
    for tokens in (x, x[:, :7]):
        assert functional.cosine_similarity(snn(tokens), model(tokens).last_hidden_state, dim=-1).mean() > 0.99
    assert snn.audit(x).all_spiking
