"""`spikeloom compress`, `spikeloom calibrate`: a saved network made smaller or better, beside what it was before."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import DATASETS, EXIT_CODES, LENGTH, DataRoot, Debug, Json, option
from spikeloom.cli.progress import shown

COMPRESS = f"Example: spikeloom compress artifacts/resnet20 --weights 4 --output-dir artifacts/resnet20_4bit\n\n{EXIT_CODES}"
CALIBRATE = f"Example: spikeloom calibrate artifacts/resnet20 --calibration-samples 1024\n\n{EXIT_CODES}"

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that convert wrote.")]
Output = Annotated[Path | None, option("DIR", "Where the new network goes; by default the old one's place, once it is whole.")]
Data = Annotated[str | None, option("NAME", f"{DATASETS} By default the one it was converted for.")]
Calibration = Annotated[int, typer.Option(min=2, metavar="K", help="Training samples (of a text: blocks) to work on.")]
Tested = Annotated[int | None, typer.Option(min=1, metavar="K", help="Test samples; all of them by default.")]
Batch = Annotated[int, typer.Option(min=1, metavar="B", help="Samples that run at once.")]
Length = Annotated[int | None, typer.Option(min=2, metavar="L", help=LENGTH)]
Seed = Annotated[int, typer.Option(min=0, metavar="S", help="Drives every random choice.")]


@guarded()
def compress(
    folder: Folder,
    weights: Annotated[str, option("WORD", "8 or 4 bits, ternary, or hybrid with --bits.")] = "8",
    bits: Annotated[float, typer.Option(min=2, max=8, metavar="B", help="Bits of a weight on average, for hybrid.")] = 4.0,
    group: Annotated[int | None, typer.Option(min=1, metavar="G", help="Inputs of an output channel that share a scale.")] = None,
    rounding: Annotated[str, option("WORD", "second_order or nearest.")] = "second_order",
    dataset: Data = None,
    data_root: DataRoot = None,
    calibration_samples: Calibration = 512,
    samples: Tested = None,
    batch_size: Batch = 64,
    length: Length = None,
    seed: Seed = 0,
    output_dir: Output = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep a network's weights in fewer bits: it is converted again from its ANN, and what rounding costs is made good."""
    asked = {"compress": weights, "bits": bits, "group": group, "rounding": rounding}
    shared = {"dataset": dataset, "data_root": data_root, "calibration_samples": calibration_samples, "samples": samples}
    shared |= {"batch_size": batch_size, "length": length, "seed": seed}
    _refined(folder, output_dir, as_json, {**asked, **shared}, lambda pipeline: pipeline.compress)


@guarded()
def calibrate(
    folder: Folder,
    dataset: Data = None,
    data_root: DataRoot = None,
    calibration_samples: Calibration = 512,
    samples: Tested = None,
    batch_size: Batch = 64,
    length: Length = None,
    seed: Seed = 0,
    output_dir: Output = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Teach a network's thresholds, potentials, biases and weights to follow its ANN, block by block, without labels."""
    shared = {"dataset": dataset, "data_root": data_root, "calibration_samples": calibration_samples, "samples": samples}
    _refined(folder, output_dir, as_json, shared | {"batch_size": batch_size, "length": length, "seed": seed}, lambda p: p.calibrate)


def _refined(folder: Path, output_dir: Path | None, as_json: bool, asked: dict[str, Any], door: Callable[[Any], Any]) -> None:
    """One of the pipeline's doors, with progress and its metrics."""
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        asked["dataset"] = asked["dataset"] or ""
        settings = pipeline.Settings(**asked, output_dir=output_dir or folder)
        result = door(pipeline)(folder, settings, progress=progress)
    if as_json:
        emit(result.metrics)
        return
    from spikeloom.cli.summary import summary

    output().print(summary(result.metrics, str(result.folder)))
    say(f"report: {result.folder / 'report.html'}")
