"""`spikeloom compress`, `calibrate`, `tune`, `finetune`: a saved network made smaller or better, beside what it was before."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import DATASETS, EXIT_CODES, LENGTH, DataRoot, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

COMPRESS = f"Example: spikeloom compress artifacts/resnet20 --weights 4 --output-dir artifacts/resnet20_4bit\n\n{EXIT_CODES}"
TUNE = f"Example: spikeloom tune artifacts/resnet20 --generations 10 --threshold-bits 8\n\n{EXIT_CODES}"
FINETUNE = f"Example: spikeloom finetune artifacts/resnet20 --weights ternary --epochs 5 --weight-rate 0.01\n\n{EXIT_CODES}"
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
    weights: Annotated[str, option("WORD", "none, 8 or 4 bits, ternary, or hybrid with --bits.")] = "none",
    bits: Annotated[float, typer.Option(min=2, max=8, metavar="B", help="Bits of a weight on average, for hybrid.")] = 4.0,
    group: Annotated[int | None, typer.Option(min=1, metavar="G", help="Inputs of an output channel that share a scale.")] = None,
    rounding: Annotated[str, option("WORD", "second_order or nearest.")] = "second_order",
    sparsity: Annotated[float, typer.Option(metavar="S", help="The share of the connections that leaves.")] = 0.0,
    pattern: Annotated[str, option("WORD", "Which leave together: unstructured, N:M such as 2:4, or channels.")] = "unstructured",
    prune_by: Annotated[str, option("WORD", "What leaves: least by its spikes, or by magnitude.")] = "spikes",
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
    """Keep a network's weights in fewer bits (--weights), or fewer of them (--sparsity): it is converted again from its ANN, and what that
    costs is made good."""
    asked = {"compress": weights, "bits": bits, "group": group, "rounding": rounding}
    asked |= {"sparsity": sparsity, "pattern": pattern, "prune_by": prune_by}
    shared = {"dataset": dataset, "data_root": data_root, "calibration_samples": calibration_samples, "samples": samples}
    shared |= {"batch_size": batch_size, "length": length, "seed": seed}
    _refined(folder, output_dir, as_json, {**asked, **shared}, lambda pipeline: pipeline.compress)


@guarded()
def calibrate(
    folder: Folder,
    config: Annotated[Path | None, option("YAML", "A configuration whose section `chip` describes what the network is to run on.")] = None,
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
    shared: dict[str, Any] = {"dataset": dataset, "data_root": data_root, "samples": samples}
    shared["calibration_samples"] = calibration_samples
    shared["chip"] = chip_of(config)
    _refined(folder, output_dir, as_json, shared | {"batch_size": batch_size, "length": length, "seed": seed}, lambda p: p.calibrate)


@guarded(stopped="; the same command with --resume goes on from the last finished generation")
def tune(
    folder: Folder,
    objective: Annotated[str, option("WORD", "kl, mse, task (needs labels), or auto.")] = "auto",
    budget: Annotated[
        str | None, option("WORD", "Pick from a front: accuracy=0.5 (points lost), energy=… (pJ), latency=… (steps).")
    ] = None,
    population: Annotated[int, option("K", "Candidates in a generation.")] = 20,
    generations: Annotated[int, option("G", "Generations.")] = 10,
    groups: Annotated[int, option("G", "Groups of channels of a population that are tuned apart.")] = 4,
    weight: Annotated[float, option("W", "What energy weighs beside the distance to the ANN.")] = 0.0,
    threshold_bits: Annotated[int | None, option("B", "Bits the hardware has for a threshold.")] = None,
    leak_bits: Annotated[int | None, option("B", "Bits it has for a leak.")] = None,
    decay: Annotated[float | None, option("A", "What a membrane keeps in a step, where the hardware says so.")] = None,
    min_rate: Annotated[float | None, option("R", "Least firing rate of a population.")] = None,
    max_rate: Annotated[float | None, option("R", "Greatest firing rate of a population.")] = None,
    executor: Annotated[str, option("WORD", "loky, threading, ray or dask.")] = "loky",
    workers: Annotated[int, option("J", "Candidates evaluated at once.")] = 1,
    dataset: Data = None,
    data_root: DataRoot = None,
    calibration_samples: Calibration = 512,
    samples: Tested = None,
    batch_size: Batch = 64,
    length: Length = None,
    seed: Seed = 0,
    output_dir: Output = None,
    resume: Annotated[bool, flag("--resume", "Go on from the last finished generation in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search better neurons by evolution (HSEO): thresholds, time constants, leaks, potentials, within what the hardware allows."""
    shared: dict[str, Any] = {"dataset": dataset, "data_root": data_root, "samples": samples, "calibration_samples": calibration_samples}
    shared |= {"batch_size": batch_size, "length": length, "seed": seed, "resume": resume}

    def door(pipeline: Any) -> Any:
        from spikeloom.evolve import Evolve
        from spikeloom.ir import Context

        limits: dict[str, Any] = {
            "threshold_bits": threshold_bits,
            "leak_bits": leak_bits,
            "decay": decay,
            "min_rate": min_rate,
            "max_rate": max_rate,
        }
        size: dict[str, Any] = {"population_size": population, "generations": generations, "groups": groups}
        how: dict[str, Any] = {"objective": objective, "weight": weight, "front": budget is not None, "budget": budget}
        evolve = Evolve(**size, **how, **limits, executor=executor, workers=workers)
        evolve.checked(Context())
        return lambda *args, **kwargs: pipeline.tune(*args, evolve, **kwargs)

    _refined(folder, output_dir, as_json, shared, door)


@guarded(stopped="; the same command with --resume goes on from the last finished epoch")
def finetune(
    folder: Folder,
    config: Annotated[Path | None, option("YAML", "A configuration whose section `chip` describes what it is to be trained on.")] = None,
    epochs: Annotated[int, typer.Option(min=1, metavar="E", help="Times through the training samples.")] = 10,
    labels: Annotated[float, typer.Option(min=0, metavar="W", help="How much the labels weigh; 0 does without any.")] = 0.5,
    distil: Annotated[float, typer.Option(min=0, metavar="W", help="How much the ANN's answers weigh.")] = 0.5,
    weights: Annotated[str | None, option("WORD", "Put weights on a grid as they are trained: 8, 4 or ternary.")] = None,
    weight_rate: Annotated[float, option("R", "Learning rate of weights, as a share of their size.")] = 0.001,
    neuron_rate: Annotated[float, option("R", "Learning rate of thresholds, potentials, biases and scales, likewise.")] = 0.001,
    patience: Annotated[int | None, typer.Option(min=1, metavar="E", help="Stop after so many epochs without a better loss.")] = None,
    precision: Annotated[str, option("WORD", "float32 or bfloat16.")] = "float32",
    chunk_steps: Annotated[int | None, typer.Option(min=1, metavar="K", help="Keep activations of K time steps only; less memory.")] = None,
    parts: Annotated[int, typer.Option(min=1, metavar="P", help="Keep activations of one of P parts of the layers; less memory.")] = 1,
    dataset: Data = None,
    data_root: DataRoot = None,
    training_samples: Annotated[int | None, typer.Option(min=2, metavar="K", help="Training samples; all by default.")] = None,
    samples: Tested = None,
    batch_size: Batch = 64,
    length: Length = None,
    seed: Seed = 0,
    output_dir: Output = None,
    resume: Annotated[bool, flag("--resume", "Go on from the last finished epoch in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a spiking network as it runs, by surrogate gradients, towards labels, towards its ANN, or both; the best state is kept."""
    shared: dict[str, Any] = {"dataset": dataset, "data_root": data_root, "samples": samples}
    shared |= {"batch_size": batch_size, "length": length, "seed": seed, "resume": resume, "chip": chip_of(config)}

    def door(pipeline: Any) -> Any:
        from spikeloom.train import FineTune

        tune = FineTune(
            epochs=epochs,
            labels=labels,
            distil=distil,
            grid=weights,
            weight_rate=weight_rate,
            neuron_rate=neuron_rate,
            patience=patience,
            precision=precision,
            chunk_steps=chunk_steps,
            parts=parts,
        )
        tune.check()
        return lambda *args, **kwargs: pipeline.finetune(*args, tune, training_samples=training_samples, **kwargs)

    _refined(folder, output_dir, as_json, shared, door)


def chip_of(config: Path | None) -> dict[str, Any] | None:
    """The chip that a configuration describes; none without one. ConfigError where it describes none."""
    if config is None:
        return None
    from spikeloom.config import load_config

    chip = load_config(config).settings().chip
    if chip is None:
        raise ConfigError(f"{config} describes no chip", found="chip.enable: false", todo="set chip.enable: true, or leave out --config")
    return chip


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
