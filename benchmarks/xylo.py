"""
Xylo: a spoken-digit network on 16 bands, and the CartPole policy, under the chip's limits, beside the same networks without them.

    python benchmarks/xylo.py [--only fsdd cartpole] [--episodes 100] [--threads 1]

fsdd: events of 16 bands in 20 frames of 32 ms, up to 7 a band and frame; a network of one hidden layer is trained here on the 900 training
clips (takes 5 to 19) and judged on the 300 test clips (takes 0 to 4; the speakers are the same six). CartPole: the DQN of
../shared/data/rl_policies, the four observations as 0 to 45 or 60 events on three or four channels each (a sixteenth may bring biases), as
it is, and a smaller network taught its preferences here. All become spiking networks of one tick and 31 levels; weights have as many
bits as the chip states allow. The answers under the limits are those of the emitted files, run by SynSense xylosim where it is installed
(pip install wheel pybind11 xylosim) and by our own simulator. Needs ../shared/data; CartPole needs gymnasium.
Writes benchmarks/results/xylo.json.
"""

import argparse
import io
import json
import sys
import tempfile
import wave
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import SHARED, Row, write
from spikeloom import Settings, convert
from spikeloom.backend import Form, Golden
from spikeloom.backend.lower import InputRange, lower
from spikeloom.backend.xylo import TARGET, XyloOptions
from spikeloom.backend.xylo.configuration import load, raster
from spikeloom.backend.xylo.simulator import run
from spikeloom.backend.xylo.vendor import installed, run_vendor
from spikeloom.ir.hardware import Netlist
from spikeloom.simulate.integers import run_integers

COMMAND = "python benchmarks/xylo.py"
BANDS, FRAMES, FRAME, EVENTS = 16, 20, 256, 7
REACH = np.array([2.4, 2.0, 0.15, 2.0])
"""Observations of CartPole beyond ± these count as these."""
WIDTHS = np.array([3, 4, 4, 4])
"""Channels of each observation, of 15 events."""


def main() -> int:
    """Rows for what the command line asks for; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("fsdd", "cartpole"), default=["fsdd", "cartpole"])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = list[Row]()
    if "fsdd" in options.only:
        rows += fsdd()
    if "cartpole" in options.only:
        rows += cartpole(options.episodes)
    write("xylo", rows, part=True)
    for row in rows:
        print(f"{row.name:66} {row.value} {row.unit}")
    return int(any(row.holds is False for row in rows))


class Chip:
    """A network compiled for a chip: its files, read back."""

    def __init__(self, netlist: Netlist, options: XyloOptions, samples: ndarray) -> None:
        self.netlist, self.options = netlist, options
        with tempfile.TemporaryDirectory() as folder:
            for name, content in TARGET.emit(netlist, Golden(samples, run_integers(netlist, samples)), options).items():
                (Path(folder) / name).write_bytes(content)
            self.spec, self.told = load(Path(folder))

    def answers(self, x: ndarray, vendor: bool = False) -> ndarray:
        """What is read of the output neurons."""
        given: Any = (self.spec, raster(x, self.told), self.told["output_mode"])
        return (run_vendor if vendor else run)(*given)[:, self.told["read_at_tick"]]


def fitted(
    model: torch.nn.Module, calibration: ndarray, chip: Any, most: int, per_channel: bool = True
) -> tuple[Netlist, Netlist, Chip, list[str]]:
    """(without limits, under them, compiled, what was refused on the way): the most weight bits that the chip's states allow."""
    settings = Settings(timesteps=1, levels=31, placement="uniform")
    given, inputs = torch.from_numpy(calibration.astype(np.float32)), InputRange(0, most, 1.0)
    free = lower(convert(model, given, settings).program, 1, inputs, Form("where needed", weight_bits=8, input_bits=8))
    snn = convert(model, given, replace(settings, per_channel=per_channel))
    refused = list[str]()
    for bits in range(8, 1, -1):
        options = XyloOptions(chip=chip, weight_bits=bits, simulator="own")
        netlist = lower(snn.program, 1, inputs, TARGET.form(options))
        against = TARGET.refusals(netlist, options)
        if not against:
            return free, netlist, Chip(netlist, options, calibration[:4]), refused
        refused.append(f"{bits} bits: " + "; ".join(f"{row.where}: {row.found} (allowed {row.allowed})" for row in against))
    raise SystemExit("no number of weight bits fits:\n" + "\n".join(refused))


def described(name: str, chip: Chip, refused: list[str]) -> list[Row]:
    """What is used of the chip."""
    told = TARGET.report(chip.netlist, chip.options)
    used = f"{told['hidden neurons']} of {told['hidden neurons there are']} ({told['relays']} relays)"
    return [
        Row(f"{name}: hidden neurons on {told['chip']}", used, "neurons", COMMAND, target="fits", holds=True),
        Row(f"{name}: largest fan-out", told["largest fan-out"], "synapses", COMMAND, control=told["fan-out there is"]),
        Row(f"{name}: weight bits that the states allow", chip.options.weight_bits, "bits", COMMAND, control=refused),
        Row(f"{name}: ticks a sample, {told['way']}", told["ticks a sample"], "ticks", COMMAND),
    ]


def fsdd() -> list[Row]:
    """Accuracy on the test clips."""
    (x, y), (test, labels) = clips("train"), clips("test")
    model = trained(x, y)
    with torch.no_grad():
        floating = model(torch.from_numpy(test.astype(np.float32))).argmax(1).numpy()
    free, _, chip, refused = fitted(model, x[:512], "audio3", EVENTS)
    narrow = XyloOptions(chip="audio2", weight_bits=chip.options.weight_bits)
    against = [f"{row.found} (allowed {row.allowed})" for row in TARGET.refusals(chip.netlist, narrow)]
    ann, whole = share(floating == labels), share(run_integers(free, test).argmax(1) == labels)
    answers, expected = chip.answers(test), run_integers(chip.netlist, test)
    limited, name = share(answers.argmax(1) == labels), "fsdd, 16 bands"
    rows = [
        Row(f"{name}: accuracy of the ANN, 300 test clips", ann, "%", COMMAND),
        Row(f"{name}: integers without the chip's limits, N = 31", whole, "%", COMMAND, control=ann),
        Row(f"{name}: under the limits", limited, "%", COMMAND, ann, whole, "within 3 points", limited >= ann - 3),
        Row(f"{name}: same answer as the ANN", share(answers.argmax(1) == floating), "% of clips", COMMAND),
        exactly(f"{name}: numbers that differ from the integer reference", int((answers != expected).sum())),
        Row(f"{name}: on Xylo Audio 2", "fits" if not against else f"refused: {'; '.join(against)}", "", COMMAND),
    ]
    if installed():
        rows.append(exactly(f"{name}: numbers that differ in SynSense's xylosim", int((chip.answers(test, True) != expected).sum())))
    return rows + described(name, chip, refused)


def share(right: ndarray) -> float:
    """The share of what is true, %."""
    return round(100 * float(right.mean()), 2)


def exactly(name: str, differ: int) -> Row:
    """A row that must be 0."""
    return Row(name, differ, "numbers", COMMAND, target="0", holds=differ == 0)


def clips(split: str) -> tuple[ndarray, ndarray]:
    """Events [n, 16, 20] and digits of a split."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(SHARED / "fsdd" / f"{split}-00000-of-00001.parquet").to_pylist()
    return np.stack([events(row["audio"]["bytes"]) for row in rows]), np.array([row["label"] for row in rows])


def events(data: bytes) -> ndarray:
    """Up to 7 events a band and frame: 60 dB below the clip's loudest band are 7 steps."""
    with wave.open(io.BytesIO(data)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64)
    padded = np.pad(pcm[: FRAME * FRAMES], (0, max(0, FRAME * FRAMES - len(pcm)))).reshape(FRAMES, FRAME)
    power = np.abs(np.fft.rfft(padded * np.hanning(FRAME), 512)) ** 2
    edges = np.unique(np.rint(np.geomspace(100, 3900, BANDS + 1) / 8000 * 512 + np.arange(BANDS + 1) * 0.75).astype(int))
    bands = np.stack([power[:, low:high].sum(1) for low, high in pairwise(edges)])
    loud = 10 * np.log10(bands + 1e-9) - 10 * np.log10(bands.max() + 1e-9)
    return np.rint((loud + 60) / 60 * EVENTS).clip(0, EVENTS).astype(np.int64)


def trained(x: ndarray, y: ndarray) -> torch.nn.Module:
    """A network of 48 hidden neurons, on clips that are moved in time and made louder or softer; seeded."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(BANDS * FRAMES, 48), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(48, 10)
    )
    torch.nn.init.normal_(model[1].weight, 0, 0.01)
    steps = 60 * 15
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    for _ in range(steps):
        chosen = rng.integers(0, len(x), 64)
        batch = np.stack([moved(clip, rng) for clip in x[chosen]])
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(batch).float()), torch.from_numpy(y[chosen]), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def moved(clip: ndarray, rng: np.random.Generator) -> ndarray:
    """Up to two frames later or earlier, up to one event more or fewer."""
    shift = int(rng.integers(-2, 3))
    rolled = np.roll(clip, shift, 1)
    if shift > 0:
        rolled[:, :shift] = 0
    elif shift < 0:
        rolled[:, shift:] = 0
    return (rolled + rng.integers(-1, 2) + (rng.random(clip.shape) < 0.1) - (rng.random(clip.shape) < 0.1)).clip(0, EVENTS)


def cartpole(episodes: int) -> list[Row]:
    """The zoo's policy as it is, and a small network that was taught its actions."""
    model = policy()
    with torch.no_grad():
        ann = returns(lambda x: model(torch.from_numpy(x).float()).argmax(1).numpy(), episodes)
    rows = [Row(f"CartPole: return of the DQN 4-256-256-2 on exact observations, {episodes} episodes", ann, "steps", COMMAND)]
    seen = observations(model, 40)
    rows += played("CartPole, DQN 15-256-256-2", encoder_of(model), "audio3", channels(seen), ann, episodes)
    return rows + played("CartPole, student 15-48-2 of the DQN", taught(model, seen), "audio2", channels(seen), ann, episodes, 475)


def played(
    name: str, network: torch.nn.Module, member: str, seen: ndarray, ann: float, episodes: int, target: float | None = None
) -> list[Row]:
    """Mean returns of a network on events: floating, in integers, and as the chip runs it."""
    free, _, chip, refused = fitted(network, seen[:512], member, 15, per_channel=False)
    kept = list[ndarray]()

    def on_chip(x: ndarray) -> ndarray:
        kept.append(channels(x))
        return chip.answers(kept[-1]).argmax(1)

    with torch.no_grad():
        coarse = returns(lambda x: network(torch.from_numpy(channels(x)).float()).argmax(1).numpy(), episodes)
    whole = returns(lambda x: run_integers(free, channels(x)).argmax(1), episodes)
    limited = returns(on_chip, episodes)
    states = np.unique(np.concatenate(kept), axis=0)
    differ = int((chip.answers(states) != run_integers(chip.netlist, states)).sum())
    solved, holds = (None, None) if target is None else (f"{target:g}: solved", limited >= target)
    rows = [
        Row(f"{name}: floating, observations as events", coarse, "steps", COMMAND, control=ann),
        Row(f"{name}: integers without the chip's limits, N = 31", whole, "steps", COMMAND, control=coarse),
        Row(f"{name}: under the limits", limited, "steps", COMMAND, coarse, whole, solved, holds),
        exactly(f"{name}: numbers that differ from the integer reference, {len(states)} states", differ),
    ]
    if member != "audio2":
        narrow = XyloOptions(chip="audio2", weight_bits=chip.options.weight_bits)
        against = "; ".join(f"{row.found} (allowed {row.allowed})" for row in TARGET.refusals(chip.netlist, narrow))
        rows.append(Row(f"{name}: on Xylo Audio 2", f"refused: {against}" if against else "fits", "", COMMAND))
    if installed():
        some = states[:: max(len(states) // 300, 1)]
        differ = int((chip.answers(some, True) != run_integers(chip.netlist, some)).sum())
        rows.append(exactly(f"{name}: numbers that differ in SynSense's xylosim, {len(some)} states", differ))
    return rows + described(name, chip, refused)


def taught(model: torch.nn.Module, seen: ndarray) -> torch.nn.Module:
    """A network of 48 hidden neurons on events, taught how much the policy prefers an action, on what the policy meets and on what it meets
    itself (imitation with the teacher asked again, Ross et al. 2011, arXiv:1011.0686)."""
    torch.manual_seed(0)
    student = torch.nn.Sequential(torch.nn.Linear(int(WIDTHS.sum()), 48), torch.nn.ReLU(), torch.nn.Linear(48, 2))
    student[0].weight.data /= 8
    for turn in range(8):
        values = model(torch.from_numpy(seen).float())
        lead = (values[:, 1] - values[:, 0]).detach()
        wanted, given = torch.sigmoid(lead / lead.abs().median() * 4), torch.from_numpy(channels(seen)).float()
        optimiser = torch.optim.AdamW(student.parameters(), 3e-3, weight_decay=0.01)
        steps = 1500 if turn < 7 else 6000
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, steps)
        for _ in range(steps):
            chosen = torch.randint(len(seen), (256,))
            answer = student(given[chosen])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(answer[:, 1] - answer[:, 0], wanted[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        seen = np.concatenate([seen, observations(torch.nn.Sequential(_Events(), student), 40)])
    return student.eval()


class _Events(torch.nn.Module):
    """Observations as events, in front of a network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(channels(x.numpy())).float()


def policy() -> torch.nn.Module:
    """The acting network of the Stable-Baselines3 zoo."""
    folder = SHARED / "rl_policies" / "dqn_cartpole"
    sizes, tensors = json.loads((folder / "config.json").read_text())["sizes"], load_file(folder / "model.safetensors")
    layers = list[torch.nn.Module]()
    for place, (inner, out) in enumerate(pairwise(sizes)):
        layer = torch.nn.Linear(inner, out)
        layer.weight.data, layer.bias.data = tensors[f"layers.{place}.weight"], tensors[f"layers.{place}.bias"]
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def encoder_of(model: torch.nn.Module) -> torch.nn.Module:
    """The same network on events: o = reach·(2·events/most - 1), summed over the observation's channels, is taken in by the first layer."""
    first: Any = model[0]  # pyright: ignore[reportIndexIssue]
    scale = torch.from_numpy(2 * REACH / (15 * WIDTHS)).float()
    layer = torch.nn.Linear(int(WIDTHS.sum()), first.out_features)
    layer.weight.data = (first.weight.data * scale).repeat_interleave(torch.from_numpy(WIDTHS), 1)
    layer.bias.data = first.bias.data - first.weight.data @ torch.from_numpy(REACH).float()
    return torch.nn.Sequential(layer, *list(model)[1:]).eval()  # pyright: ignore[reportArgumentType]


def channels(x: ndarray) -> ndarray:
    """Observations [n, 4] as events [n, 15]: 0 to 45 or 60 of each, spread over its channels."""
    count = np.rint((x / REACH + 1) / 2 * 15 * WIDTHS).clip(0, 15 * WIDTHS).astype(np.int64)
    spread = [(count[:, place, None] + np.arange(width)) // width for place, width in enumerate(WIDTHS)]
    return np.concatenate(spread, 1)


def observations(model: torch.nn.Module, episodes: int) -> ndarray:
    """What a policy meets, with a tenth of its actions at random: on seeds that no return is measured on."""
    import gymnasium

    seen, environment, rng = list[ndarray](), gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    for seed in range(episodes):
        x, over = environment.reset(seed=seed)[0], False
        for _ in range(500):
            seen.append(x)
            with torch.no_grad():
                action = int(model(torch.from_numpy(x)[None]).argmax())
            x, _, over, *_ = environment.step(int(rng.integers(2)) if rng.random() < 0.1 else action)
            if over:
                break
    return rng.permutation(np.stack(seen))


def returns(act: Callable[[ndarray], ndarray], episodes: int, first: int = 1000) -> float:
    """Mean return over episodes with seeds from `first` on, all stepped together."""
    import gymnasium

    environments = [gymnasium.make("CartPole-v1") for _ in range(episodes)]
    states = [environment.reset(seed=first + place)[0] for place, environment in enumerate(environments)]
    alive, total = list(range(episodes)), 0.0
    while alive:
        actions, going = act(np.stack([states[place] for place in alive])), list[int]()
        for place, action in zip(alive, actions, strict=True):
            states[place], reward, over, cut, _ = environments[place].step(int(action))
            total += float(reward)
            going += [] if over or cut else [place]
        alive = going
    return total / episodes


if __name__ == "__main__":
    raise SystemExit(main())
