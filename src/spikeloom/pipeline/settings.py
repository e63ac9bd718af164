"""
What one conversion is asked to do: plain values with defaults, checked where they are used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final


@final
@dataclass(frozen=True)
class Settings:
    """All of a conversion's choices. Paths are kept as given; counts are samples; `seed` drives every generator.

    `input_shape` is of one sample, where the source does not say it.
    `levels` is N, the positive levels of a population per step; `timesteps` is T; `classes` None takes the model's own.
    With `whole_numbers` everything lies on grids that whole numbers hold (`grounding`), weights of 8 bits unless of fewer.
    The heights of functions among `shifts` are powers of two. With `dual_threshold` IF and LIF neurons take back what they sent too early.
    `placement` and `rotation` "auto" are chosen by measured error (`choice`). `compress` is the kind of weights (`compress.Quantise`):
    none, 8, 4, ternary or hybrid with `bits` a weight on average; `group` inputs share a scale. A share
    `sparsity` of the connections leaves, in a `pattern` (unstructured, N:M, channels). `preprocessing` overrides the model's
    (keys of `datasets.Preprocessing`). Of texts samples are blocks of `length` tokens, None taking 256 or the most the model allows, or
    sentences of at most so many; of blocks that are long fewer run at once. With `sweep` the report shows the network over
    `sweep_levels` × `sweep_timesteps`, each N a conversion of its own, `sweep_jobs` of them at once. `chip` holds the options of
    `calibrate.Device`, for `calibrate`; `auto` names which of "levels" and "timesteps" are chosen of `sweep_levels` × `sweep_timesteps`,
    for a `budget` (`budget`; None: 0.5 points of accuracy); `bio_calibration` learns and evolves after compensation (`bio`),
    `bio_when` "always" or "worthwhile". A
    `logic_gated` network compares its input with `input_bits` thresholds, has `gates` gates for each neuron of the ANN, from the
    layer `from_layer` on (None: whole), and is taught for `gate_epochs`; with `noise` on disturbed samples, one of `noise_kinds` each, its
    strength within `noise_range`, by a `curriculum` or evenly, clean and disturbed views answered alike as `consistency` weighs it.
    """

    source: str = "zoo:digits-cnn"
    weights: Path | None = None
    input_shape: tuple[int, ...] | None = None
    dataset: str = "digits"
    data_root: Path | None = None
    output_dir: Path = Path("artifacts/converted_snn")
    method: str = "scale_and_fire"
    timesteps: int = 4
    levels: int = 15
    per_channel: bool = True
    placement: str = "uniform"
    rotation: str = "none"
    dual_threshold: bool = False
    whole_numbers: bool = False
    tau_mem_ms: float = 20.0
    dt_ms: float = 1.0
    thresholds: str = "mse"
    percentile: float = 99.9
    shifts: tuple[str, ...] = ()
    compensate: bool = True
    compress: str = "none"
    bits: float = 4.0
    group: int | None = None
    rounding: str = "second_order"
    bio_calibration: bool = False
    bio_when: str = "always"
    population_size: int = 20
    generations: int = 10
    sparsity: float = 0.0
    pattern: str = "unstructured"
    prune_by: str = "spikes"
    calibration_samples: int = 512
    samples: int | None = None
    batch_size: int = 64
    train: bool = False
    epochs: int | None = None
    allow_pickle: bool = False
    early_exit: bool = False
    encoding: str = "graded"
    length: int | None = None
    preprocessing: dict[str, object] | None = None
    chip: dict[str, Any] | None = None
    auto: tuple[str, ...] = ()
    budget: str | None = None
    input_bits: int = 1
    gates: int = 1
    from_layer: str | None = None
    gate_epochs: int = 20
    noise: bool = False
    noise_kinds: tuple[str, ...] = ("bit_flip",)
    noise_range: tuple[float, float] = (0.0, 0.45)
    curriculum: bool = True
    consistency: float = 0.0
    sweep: bool = False
    sweep_levels: tuple[int, ...] = (7, 15, 31, 63)
    sweep_timesteps: tuple[int, ...] = (1, 2, 4)
    sweep_jobs: int = 1
    seed: int = 0
    resume: bool = False
    device: str = "cpu"
