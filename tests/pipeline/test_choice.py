"""Choosing by measured error: rotation where it helps and not where it does not, levels where they disturb least, and nothing by hand."""

from collections.abc import Callable, Iterator

import pytest
import torch
from tests.ir.networks import captured
from tests.plan.networks import Block
from torch import Tensor, nn

from spikeloom.ir import Context, Program, run
from spikeloom.pipeline import Settings, convert_model
from spikeloom.pipeline.choice import MARGIN_DB, choose, gains_db, least, placements_of
from spikeloom.pipeline.passes import Choice, passes_of
from spikeloom.simulate import executable

Stream = Callable[[], Iterator[tuple[Tensor, ...]]]


@pytest.fixture(scope="module")
def outlying() -> tuple[Program, Stream, Tensor]:
    """A residual network of whose stream one channel is far larger than the others, calibration data, and more of it."""
    torch.manual_seed(5)
    model = Block(nn.RMSNorm, 32)
    with torch.no_grad():
        model.embed.weight[5] *= 40.0
    x = torch.randn(96, 4, 5)
    return captured(model.eval(), 2, 4, 5), lambda: ((part,) for part in x[:64].split(16)), x[64:]


def asked(**changes: object) -> Settings:
    return Settings(**{"timesteps": 1, "levels": 7, "compensate": False, "calibration_samples": 64, **changes})  # type: ignore[arg-type]


def output_error(program: Program, ann: Program, x: Tensor) -> float:
    with torch.no_grad():
        exact, found = ann.module()(x), executable(program, 1)(x)
    return float((exact - found).square().sum() / exact.square().sum())


def test_one_scale_for_all_asks_for_rotation_and_a_scale_a_channel_does_not(outlying: tuple[Program, Stream, Tensor]) -> None:
    ann, stream, more = outlying
    together = asked(rotation="auto", per_channel=False)
    choice = choose(together, ann, Context(stream))
    assert choice.rotate == ("stream of linear",)
    assert dict(choice.gains_db)["stream of linear"] > MARGIN_DB
    chosen, plain = (run(passes_of(together, each)[0], ann, Context(stream)) for each in (choice, Choice(())))
    assert output_error(chosen, ann, more) < output_error(plain, ann, more) / 1.5
    apart = choose(asked(rotation="auto", placement="density"), ann, Context(stream))
    assert apart.rotate == ()
    assert dict(apart.gains_db)["stream of linear"] < MARGIN_DB


def test_levels_lie_where_they_disturb_their_readers_least(outlying: tuple[Program, Stream, Tensor]) -> None:
    ann, stream, more = outlying
    settings = asked(placement="auto")
    choice = choose(settings, ann, Context(stream))
    assert choice.placement == "uniform"
    assert choice.rotate == ()
    chosen = run(passes_of(settings, choice)[0], ann, Context(stream))
    spike = next(record for record in chosen.records if record.name == "Spike")
    assert spike.options["placements"] == [list(pair) for pair in choice.placements]
    fixed = [run(passes_of(asked(placement=placement))[0], ann, Context(stream)) for placement in ("uniform", "two_range", "density")]
    assert output_error(chosen, ann, more) < 1.1 * min(output_error(each, ann, more) for each in fixed)


def test_nothing_is_measured_where_nothing_is_auto(outlying: tuple[Program, Stream, Tensor]) -> None:
    ann, *_ = outlying
    without = Context()
    assert choose(asked(), ann, without) == Choice((), (), "uniform")
    assert choose(asked(rotation="all", placement="density"), ann, without) == Choice(None, (), "density")


def test_nothing_is_measured_where_nothing_can_be_rotated() -> None:
    ann = captured(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), 2, 6)
    assert choose(asked(rotation="auto"), ann, Context()) == Choice((), (), "uniform")


def test_ratios_and_ties() -> None:
    plain, turned = {("p", "r"): 0.1, ("p", "s"): 0.9, ("q", "r"): 0.1}, {("p", "r"): 0.01, ("p", "s"): 0.9, ("q", "r"): 0.01}
    groups = [{"name": "one", "readers": ["r"]}, {"name": "two", "readers": ["s", "t"]}]
    assert gains_db(groups, plain, turned) == {"one": 10.0, "two": 0.0}
    assert least([plain, turned]) == turned
    assert placements_of({"uniform": plain, "two_range": turned}) == {"p": "two_range", "q": "two_range"}
    assert placements_of({"uniform": plain, "two_range": dict(plain)}) == {"p": "uniform", "q": "uniform"}


def test_a_conversion_records_what_was_chosen(outlying: tuple[Program, Stream, Tensor]) -> None:
    torch.manual_seed(5)
    x = torch.randn(64, 4, 5)
    snn = convert_model(Block(nn.LayerNorm, 16).eval(), x, asked(rotation="auto", placement="auto", levels=15))
    rotate = next(record for record in snn.program.records if record.name == "Rotate")
    assert [name for name, _ in rotate.options["gains_db"]] == ["stream of linear"]
    assert len(rotate.numbers["rotated"]) + len(rotate.numbers["left"]) == 1
    exact = snn.ann.module()(x) if snn.ann is not None else torch.zeros(0)
    assert float((snn(x) - exact).square().mean() / exact.var()) < 0.02
