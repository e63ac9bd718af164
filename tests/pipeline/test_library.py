"""The library's door: a module in memory becomes a spiking one, is reported on, saved and loaded; `check` before any of it."""

from pathlib import Path

import pytest
import torch
from tests.ir.networks import Wired, conv
from torch import nn

import spikeloom
from spikeloom.capture import capture
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Record
from spikeloom.pipeline import Settings, check, convert_model, library, load_model, report_model
from spikeloom.report import Story
from spikeloom.simulate import SpikingModel


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(conv(2, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


@pytest.fixture(scope="module")
def snn(model: nn.Module) -> SpikingModel:
    return convert_model(model, torch.randn(128, 2, 6, 6))


def test_a_module_becomes_a_spiking_one_with_its_controls(model: nn.Module, snn: SpikingModel) -> None:
    x = torch.randn(40, 2, 6, 6)
    assert snn.timesteps == 1
    assert snn.program.settings["levels"] == 15
    exact = model(x).detach()
    assert float((snn(x) - exact).square().mean() / exact.var()) < 0.02
    assert snn.ann is not None
    assert snn.control is not None
    torch.testing.assert_close(snn.ann.module()(x), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["tensor", "list of batches", "loader", "pairs", "dictionaries"])
def test_calibration_data_may_come_in_any_usual_form(kind: str, model: nn.Module) -> None:
    x = torch.randn(24, 2, 6, 6)
    forms = {
        "tensor": x,
        "list of batches": list(x.split(8)),
        "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(24)), batch_size=8),
        "pairs": [(part, torch.zeros(8)) for part in x.split(8)],
        "dictionaries": [{"pixel_values": part} for part in x.split(8)],
    }
    settings = Settings(timesteps=1, calibration_samples=16, batch_size=8)
    found = convert_model(model, forms[kind], settings)
    assert found.program.records[-1].numbers["samples"] == 16
    expected = convert_model(model, x[:16], settings)
    assert all(torch.equal(tensor, expected.program.tensors[name]) for name, tensor in found.program.tensors.items())


def test_a_model_is_saved_loaded_and_reported_on(snn: SpikingModel, tmp_path: Path) -> None:
    snn.save_pretrained(tmp_path / "snn")
    back, x = load_model(str(tmp_path / "snn")), torch.randn(20, 2, 6, 6)
    assert torch.equal(back(x), snn(x))
    path = report_model(back, tmp_path / "page.html", x)
    assert path == tmp_path / "page.html"
    assert all(node in path.read_text() for node in ("spike_relu", "the data given"))


def test_the_report_prices_the_ann_of_a_network_that_lost_channels_by_its_own_layers(
    model: nn.Module, snn: SpikingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = nn.Sequential(conv(2, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3)).eval()
    x, told = torch.randn(20, 2, 6, 6), list[Story]()
    program = snn.program.recorded(Record("PruneChannels", {}, {}))
    monkeypatch.setattr(library, "write", lambda story, path: told.append(story))
    report_model(SpikingModel(program, ann=capture(wide, (x,))), tmp_path / "page.html", x)
    folded = nn.Sequential(wide[0], *wide[2:])  # a batch norm costs nothing
    wanted = {row.network: row.total_pj for row in SpikingModel(program, ann=capture(folded, (x,))).profile(x).energy}
    assert told[0].metrics is not None
    assert told[0].metrics["energy_pj"]["ann_fp32"] == wanted["ANN fp32"]
    assert wanted["ANN fp32"] > 1.5 * {row.network: row.total_pj for row in snn.profile(x).energy}["ANN fp32"]


def test_the_check_shows_all_problems_at_once_and_does_no_work() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.lstm(x)[0][:, -1])).argmax(1)

    found = check(Odd(), torch.randn(2, 6, 4))
    assert not found.convertible
    assert [row.operation.split(".")[1] for row in found.rows if row.status == "unsupported"] == ["lstm", "argmax"]
    with pytest.raises(UnsupportedError, match=r"(?s)2 operation\(s\).*lstm.*argmax"):
        convert_model(Odd(), torch.randn(8, 6, 4))


def test_the_check_counts_macs_parameters_and_their_spiking_share(model: nn.Module) -> None:
    found = spikeloom.check(model, torch.randn(2, 2, 6, 6))
    first, last = 36 * 4 * 2 * 9, 36 * 3
    assert found.convertible
    assert found.macs == first + last
    assert found.spike_share == pytest.approx(last / (first + last))
    assert found.parameters >= sum(p.numel() for p in model.parameters())


def test_a_model_of_several_outputs_keeps_their_form() -> None:
    model = Wired(lambda x, a, b, c: {"loss": b(h := torch.relu(a(x))), "logits": c(h)}, conv(2, 4), conv(4, 1), conv(4, 2))
    found = convert_model(model, torch.randn(16, 2, 5, 5), Settings(timesteps=2, levels=63))(torch.randn(3, 2, 5, 5))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"loss": (3, 1, 5, 5), "logits": (3, 2, 5, 5)}
