"""Texts of several lengths: what is counted and compared of them is the mean over all, as if each were alone."""

from pathlib import Path

import pytest
import torch
from tests.pipeline.readers import VOCABULARY, llama
from torch import Tensor

from spikeloom.calibrate import Balance
from spikeloom.capture import load
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Program, run
from spikeloom.plan import Fuse
from spikeloom.simulate import Counter, Counts, energy, fidelity, filled
from spikeloom.simulate.events import either

LENGTHS = ((3, 5), (1, 9), (2, 2))  # rows, tokens


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Program]:
    """An ANN taken apart, and its spiking form."""
    ann = load(f"hf:{llama(tmp_path_factory.mktemp('llama'))}")
    stream = Context(lambda: [filled(ann, (texts(8, 10),))])
    return run([Fuse(), Unfold()], ann, Context()), run([Fuse(), Unfold(), Spike(levels=7), Balance()], ann, stream)


def texts(rows: int, length: int) -> Tensor:
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(length))


def counted(program: Program, batches: list[Tensor], timesteps: int = 2) -> Counts:
    counter = Counter(program, timesteps)
    for tokens in batches:
        counter.add(filled(program, (tokens,)))
    return counter.counts()


def test_counts_of_several_lengths_are_means_over_all_samples(programs: tuple[Program, Program]) -> None:
    _, program = programs
    batches = [texts(*size) for size in LENGTHS]
    found, apart = counted(program, batches), [counted(program, [tokens]) for tokens in batches]
    assert found.samples == 6
    weights = [size / 6 for size, _ in LENGTHS]
    for row, *rows in zip(found.rows, *(counts.rows for counts in apart), strict=True):
        for name in ("graded", "unary", "binary"):
            for said in ("events", "operations"):
                expected = sum(w * getattr(each, said).get(name, 0.0) for w, each in zip(weights, rows, strict=True))
                assert getattr(row, said).get(name, 0.0) == pytest.approx(expected)
        assert row.neurons == round(sum(w * each.neurons for w, each in zip(weights, rows, strict=True)))
        assert row.outputs == round(sum(w * each.outputs for w, each in zip(weights, rows, strict=True)))
        assert row.weights == rows[0].weights
        steps = [w * each.neurons for w, each in zip(weights, rows, strict=True)]
        if row.neurons:
            expected = sum(s * each.rate for s, each in zip(steps, rows, strict=True)) / sum(steps)
            assert row.rate == pytest.approx(expected)
            assert 0 <= row.silent <= max(each.silent for each in rows) + 1e-6
    assert all(row.total_pj > 0 for row in energy(found))


def test_the_order_of_lengths_does_not_matter(programs: tuple[Program, Program]) -> None:
    batches = [texts(*size) for size in LENGTHS]
    first, second = counted(programs[1], batches), counted(programs[1], batches[::-1])
    assert first.spikes() == pytest.approx(second.spikes())
    assert [row.silent for row in first.rows] == [row.silent for row in second.rows]


def test_fidelity_adds_up_over_lengths(programs: tuple[Program, Program]) -> None:
    ann, program = programs
    batches = [filled(program, (texts(*size),)) for size in LENGTHS]
    together, apart = fidelity(program, ann, batches, 1), [fidelity(program, ann, [inputs], 1) for inputs in batches]
    assert len(together) > 5
    assert all(row.cosine > 0.5 for row in together)  # masked scores too are compared where they are seen
    for row, *rows in zip(together, *apart, strict=True):
        low, high = min(each.sqnr_db for each in rows), max(each.sqnr_db for each in rows)
        assert low - 1e-3 <= row.sqnr_db <= high + 1e-3
        assert min(each.firing_rate for each in rows) <= row.firing_rate <= max(each.firing_rate for each in rows)


def test_what_fired_in_a_shorter_text_has_fired() -> None:
    short, long = torch.tensor([[True, False]]), torch.tensor([[False, False], [False, True]])
    expected = torch.tensor([[True, False], [False, True]])
    assert torch.equal(either(short, long), expected)
    assert torch.equal(either(long, short), expected)
    assert not short[0, 1]


def test_the_report_takes_texts_of_all_lengths(tmp_path: Path) -> None:
    from spikeloom.pipeline import Settings, convert_model, report_model

    quick = Settings(timesteps=1, levels=7, compensate=False, calibration_samples=8)
    snn = convert_model(f"hf:{llama(tmp_path / 'llama')}", texts(8, 10), quick)
    page = report_model(snn, tmp_path / "page.html", [texts(2, 4), texts(1, 9)]).read_text()
    assert "on 3 blocks of text" in page
