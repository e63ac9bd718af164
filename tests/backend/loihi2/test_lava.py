"""
The oracle against lava-nc's fixed-point models, spike for spike and voltage for voltage.

lava-nc needs Python 3.10 and numpy below 2: an environment of its own, whose Python stands in SPIKELOOM_LAVA_PYTHON
(`python3.10 -m venv lava && lava/bin/pip install lava-nc==0.10.0 h5py`).
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.backend.loihi2.chains import chain
from tests.backend.netlists import golden

from spikeloom.backend.loihi2 import TARGET, Options
from spikeloom.backend.loihi2.chip import loaded
from spikeloom.backend.loihi2.oracle import by_tick, run

PYTHON = os.environ.get("SPIKELOOM_LAVA_PYTHON", "")
RUNNER = Path(__file__).with_name("lava_runner.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="no Python with lava-nc 0.10.0: set SPIKELOOM_LAVA_PYTHON to one"),
]


@pytest.mark.parametrize(
    ("seed", "timesteps", "image", "graded"),
    [(0, 6, False, False), (1, 6, False, True), (2, 5, True, False), (3, 1, False, False), (5, 1, True, True)],
)
def test_the_oracle_is_lava(tmp_path: Path, seed: int, timesteps: int, image: bool, graded: bool) -> None:
    netlist = chain(seed, timesteps, image=image, graded=graded)
    given = golden(netlist, 1, seed, streamed=True)
    for name, content in TARGET.emit(netlist, given, Options(layout="netx")).items():
        (tmp_path / name).write_bytes(content)
    chip = loaded(tmp_path)
    trace = run(chip, by_tick(chip, given.inputs), keep=True)
    assert (trace.answer == given.outputs.reshape(trace.answer.shape)).all()
    inputs = given.inputs[:, 0]
    turned = inputs.transpose(0, 3, 2, 1) if image else inputs  # Lava's images are W, H, C
    padded = np.zeros((chip.steps + 1, *turned.shape[1:]), np.int64)
    padded[:timesteps] = turned
    np.save(tmp_path / "inputs.npy", padded)
    subprocess.run([PYTHON, str(RUNNER), str(tmp_path)], check=True, timeout=110)
    theirs = np.load(tmp_path / "lava.npz")
    fired = 0
    for number in range(1, len(chip.layers)):
        spikes, volts = theirs[f"s{number}"], theirs[f"v{number}"]
        for tick in range(timesteps):  # a layer sees tick t of a sample one step later in Lava, whose Dense holds its input back
            place = number + tick
            for ours, lava in ((trace.sent[number][tick], spikes[place]), (trace.voltages[number][tick], volts[place])):
                flat = lava.transpose(2, 1, 0).ravel() if lava.ndim == 3 else lava.ravel()
                assert (ours[0] == flat).all(), (number, tick)
            fired += int(trace.sent[number][tick].sum())
    assert fired > 0
