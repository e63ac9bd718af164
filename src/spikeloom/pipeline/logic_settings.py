"""
What the learning of a logic-gated network is asked to do: plain values, and what they are where the data decide.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from spikeloom.errors import ConfigError
from spikeloom.train.noise import HIGHEST, Noise

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.47, 0.5)
"""The strengths of noise at which a network is measured."""
NETWORKS = ("fully_connected", "convolutional")
SEED_TASK = "prototypes"


@final
@dataclass(frozen=True)
class LogicSettings:
    """All choices. What is None is chosen for the data set by `resolved`; without `test_dataset` the data set's own test samples measure.

    `network` is one of NETWORKS: `hidden` are widths of layers of gates (of a convolutional network the first is its layer after the
    pictures), `channels` those of its stages, with `residual` counts are added across each. `thermometer` holds the thresholds by which
    a value becomes bits; with `rate_code` it becomes so many bits by thresholds drawn at random instead; `learnt_bits` trains the
    thresholds. `share` is how large a weight is, beside the mean, that is not 0.

    `noise` in training: one of `noise_kinds` for each sample, its strength within `noise_range`, by a `curriculum` or evenly;
    `consistency` weighs that clean and noisy views are answered alike. Noise of the same kinds is measured at each of the levels
    `measured_at`, on `samples` test samples (all by default). `controls` trains the floating twin too, with the noise and clean; `distil`
    weighs its answers (of the one that knows noise) as a teacher's.
    """

    dataset: str = SEED_TASK
    test_dataset: str | None = None
    data_root: Path | None = None
    output_dir: Path = Path("artifacts/logic_gated")
    preprocessing: dict[str, object] | None = None
    network: str = "fully_connected"
    hidden: tuple[int, ...] | None = None
    channels: tuple[int, ...] = (32, 64)
    residual: bool = False
    thermometer: tuple[float, ...] | None = None
    rate_code: int | None = None
    learnt_bits: bool = False
    share: float | None = None
    noise: bool = True
    noise_kinds: tuple[str, ...] = ("bit_flip",)
    noise_range: tuple[float, float] = (0.0, 0.45)
    curriculum: bool = True
    consistency: float = 0.0
    measured_at: tuple[float, ...] = LEVELS
    samples: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    patience: int | None = None
    precision: str = "float32"
    controls: bool | None = None
    distil: float | None = None
    seed: int = 0
    resume: bool = False
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The data set's name, without split, rows and what its address says further."""
        return self.dataset.split("[")[0].split("@")[0].split(":")[0].strip()

    @property
    def as_bits(self) -> bool:
        """Whether inputs are cut to 0 and 1 before noise comes to them: bits can only be turned over where there are bits."""
        return "bit_flip" in self.noise_kinds

    @property
    def bits_each(self) -> int:
        """How many bits a value becomes, of resolved settings."""
        return self.rate_code or len(self.thermometer or ())

    @property
    def trained_noise(self) -> Noise | None:
        """The noise of training; None where it is off. ConfigError out of range."""
        low, high = self.noise_range
        return Noise(self.noise_kinds, low, high, self.curriculum) if self.noise else None

    def resolved(self) -> "LogicSettings":
        """These settings with every None that the data set decides filled in, checked. ConfigError names what cannot be."""
        filled = dataclasses.replace(self, dataset=self._address())
        for key, value in _chosen(self).items():
            if getattr(self, key) is None:
                filled = dataclasses.replace(filled, **{key: value})
        if self.distil is None:
            filled = dataclasses.replace(filled, distil=0.5 if filled.controls and filled.noise else 0.0)
        check(filled)
        return filled

    def _address(self) -> str:
        """The seed task is drawn from the seed, where its address leaves that open."""
        plain = self.dataset.strip()
        if plain == SEED_TASK:
            return f"{SEED_TASK}:784x10/{self.seed}"
        return f"{plain}/{self.seed}" if plain.startswith(f"{SEED_TASK}:") and not {"/", "@", "["} & set(plain) else plain


def _chosen(settings: LogicSettings) -> Mapping[str, Any]:
    """What a data set decides. Of the seed task: measured to reach the Bayes limit in seconds (LOG.md); its best weights are never 0."""
    if settings.name == SEED_TASK:
        return {"hidden": (), "share": 0.0, "epochs": 40, "batch_size": 256, "controls": False, "thermometer": (0.5,)}
    small = settings.name == "digits"
    wide = (256,) if settings.network == "convolutional" or small else (1024, 1024)
    steps = (0.5,) if settings.as_bits else (0.25, 0.5, 0.75)
    chosen = {"hidden": wide, "share": 0.7, "epochs": 40 if small else 20, "batch_size": 64 if small else 256}
    return {**chosen, "controls": True, "thermometer": steps}


def check(settings: LogicSettings) -> None:
    """Nothing where resolved settings can be used; else ConfigError. Sizes, numbers of training and noise are checked where they go."""
    distil, levels = settings.distil or 0.0, settings.measured_at
    rules: tuple[tuple[str, bool, str], ...] = (
        ("network", settings.network in NETWORKS, ", ".join(NETWORKS)),
        ("measured_at", bool(levels) and all(math.isfinite(p) and 0 <= p <= HIGHEST for p in levels), f"one or more from 0 to {HIGHEST}"),
        ("share", 0 <= (settings.share or 0.0) < math.inf, "0 or more"),
        ("rate_code", settings.rate_code is None or settings.rate_code >= 1, "1 or more bits, or none"),
        ("samples", settings.samples is None or settings.samples >= 1, "1 or more, or none"),
        ("distil", 0 <= distil <= 1, "0 to 1"),
    )
    for key, holds, allowed in rules:
        if not holds:
            raise ConfigError(f"logic.{key} cannot be used", found=getattr(settings, key), allowed=allowed)
    if settings.as_bits and (settings.rate_code is not None or settings.learnt_bits):
        found = "logic.rate_code" if settings.rate_code is not None else "logic.learnt_bits"
        todo = "train under another noise, such as --noise-kinds gaussian, or leave the code out"
        raise ConfigError("under flipped bits inputs are bits already, and need no code", found=found, todo=todo)
    if distil > 0 and not settings.controls:
        raise ConfigError("there is no teacher", found=f"logic.distil {distil}", todo="train the controls too (logic.controls, --controls)")
    if distil > 0 and not settings.noise:
        raise ConfigError("the teacher knows noise, the network shall not", found=f"logic.distil {distil}", todo="give --distil 0")
    if settings.network == "convolutional" and len(settings.hidden or ()) != 1:
        raise ConfigError("a convolutional network has one layer of gates behind its stages", found=settings.hidden, allowed="one width")
    low, high = settings.noise_range
    Noise(settings.noise_kinds, low, high)
