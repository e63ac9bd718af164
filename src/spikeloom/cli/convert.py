"""`spikeloom convert`: a trained network in, a spiking one out, measured and reported."""

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import (
    DATASETS,
    EXIT_CODES,
    LENGTH,
    SOURCES,
    AllowPickle,
    DataRoot,
    Debug,
    InputShape,
    Json,
    Weights,
    flag,
    option,
    shape_of,
)
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

LANGUAGE = "Example: spikeloom convert hf:gpt2-folder --dataset text:book.txt --placement curve --timesteps 1 --output-dir artifacts/gpt2"
EXAMPLE = f"Example: spikeloom convert zoo:resnet18 --dataset cifar10 --train --output-dir artifacts/resnet18\n\n{LANGUAGE}\n\n{EXIT_CODES}"


def numbers(name: str, text: str | None) -> list[int] | None:
    """The whole numbers that '7,15,31' says. ConfigError where it says none."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"{name} is no list of whole numbers", found=text, allowed="numbers with commas between them, such as 7,15,31")
    return list(map(int, parts))


def words(text: str | None) -> list[str] | None:
    """The words between commas."""
    return None if text is None else [part.strip() for part in text.split(",")]


def counted(text: str | None) -> int | str | None:
    """A whole number as one; any other word is the configuration's to take or refuse."""
    return int(text) if text is not None and text.isdecimal() else text


@guarded(stopped="; the same command with --resume goes on from the last finished phase")
def convert(
    source: Annotated[str | None, typer.Argument(help=f"{SOURCES} Without one, a small CNN is trained on digits.")] = None,
    weights: Weights = None,
    input_shape: InputShape = None,
    dataset: Annotated[str | None, option("NAME", DATASETS)] = None,
    data_root: DataRoot = None,
    config: Annotated[Path | None, option("YAML", "A configuration; options beat what it says.")] = None,
    method: Annotated[str | None, option("WORD", "scale_and_fire, if, lif or logic_gated.")] = None,
    timesteps: Annotated[str | None, option("T", "T, the steps it runs, or auto; 4 by default, and 1 is enough for transformers.")] = None,
    levels: Annotated[str | None, option("N", "N, the levels of a scale_and_fire neuron at a step, or auto; 15 by default.")] = None,
    budget: Annotated[str | None, option("WORD", "What auto chooses by: accuracy=0.5 (points), energy=… (pJ), latency=… (steps).")] = None,
    placement: Annotated[
        str | None, option("WORD", "Levels in equal steps (uniform), two_range, curve, density, or auto (measured).")
    ] = None,
    rotation: Annotated[str | None, option("WORD", "Outliers spread by rotations in weights: none, all, or auto (measured).")] = None,
    dual_threshold: Annotated[
        bool | None, flag("--dual-threshold/--no-dual-threshold", "if, lif: neurons take back what they sent too early.")
    ] = None,
    whole_numbers: Annotated[
        bool | None, flag("--whole-numbers/--no-whole-numbers", "On grids that whole numbers hold: compile loses nothing more.")
    ] = None,
    compress: Annotated[str | None, option("WORD", "What weights are kept in: none, 8 or 4 bits, ternary, or hybrid with --bits.")] = None,
    bits: Annotated[float | None, option("B", "Bits of a weight on average for --compress hybrid; 4 by default.")] = None,
    group: Annotated[int | None, option("G", "Inputs of an output channel that share a scale; all by default.")] = None,
    rounding: Annotated[str | None, option("WORD", "How weights are rounded: second_order or nearest.")] = None,
    sparsity: Annotated[float | None, option("S", "The share of the connections that leaves; 0 by default.")] = None,
    pattern: Annotated[str | None, option("WORD", "Which leave together: unstructured, N:M such as 2:4, or channels.")] = None,
    prune_by: Annotated[str | None, option("WORD", "What leaves: least by its spikes, or by magnitude.")] = None,
    thresholds: Annotated[str | None, option("WORD", "How thresholds are chosen: mse, maximum, percentile or hmt.")] = None,
    compensate: Annotated[bool | None, flag("--compensate/--no-compensate", "Compensate the error of earlier layers.")] = None,
    bio_calibration: Annotated[
        bool | None, flag("--bio-calibration/--no-bio-calibration", "Then learn and evolve its neurons; by default where it is worthwhile.")
    ] = None,
    population_size: Annotated[int | None, option("K", "Candidates in a generation of --bio-calibration; 20 by default.")] = None,
    generations: Annotated[int | None, option("G", "Generations of --bio-calibration; 10 by default.")] = None,
    calibration_samples: Annotated[int | None, option("K", "Training samples (of a text: blocks) to calibrate on; 512 by default.")] = None,
    samples: Annotated[int | None, option("K", "Test samples (of a text: blocks) to evaluate on; all by default.")] = None,
    batch_size: Annotated[int | None, option("B", "Samples that run at once.")] = None,
    length: Annotated[int | None, option("L", LENGTH)] = None,
    train: Annotated[bool | None, flag("--train/--no-train", "Train the network here first.")] = None,
    epochs: Annotated[int | None, option("E", "Epochs of --train.")] = None,
    early_exit: Annotated[bool | None, flag("--early-exit/--no-early-exit", "Stop each sample once its answer is sure enough.")] = None,
    residue: Annotated[
        str | None,
        option("WORD", "Policies: membranes between decisions go back to rest (reset), stay (carry), or auto, by return on env:."),
    ] = None,
    sweep: Annotated[bool | None, flag("--sweep/--no-sweep", "Also measure other N and T, for a table and a chart in the report.")] = None,
    input_bits: Annotated[int | None, option("K", "logic_gated: thresholds an input value is compared with; 1 by default.")] = None,
    gates: Annotated[int | None, option("G", "logic_gated: gates in the place of a neuron; 1 by default.")] = None,
    from_layer: Annotated[str | None, option("NAME", "logic_gated: the layer from which on; the whole network by default.")] = None,
    gate_epochs: Annotated[int | None, option("E", "logic_gated: epochs of teaching; 20 by default.")] = None,
    noise: Annotated[bool | None, flag("--noise/--no-noise", "logic_gated: teach under noise; the ANN sees the clean samples.")] = None,
    noise_range: Annotated[tuple[float, float] | None, option("LOW HIGH", "logic_gated: the noise of a sample; 0 0.45 by default.")] = None,
    noise_kinds: Annotated[
        str | None, option("WORD,WORD", "logic_gated: bit_flip, salt_and_pepper, gaussian, occlusion, dropped, jitter: one a sample.")
    ] = None,
    curriculum: Annotated[
        bool | None, flag("--curriculum/--no-curriculum", "logic_gated: open the range as the network survives it.")
    ] = None,
    consistency: Annotated[
        float | None, option("W", "logic_gated: how much it weighs that clean and noisy views are answered alike.")
    ] = None,
    sweep_levels: Annotated[str | None, option("N,N", "Levels of --sweep, each a conversion; 7,15,31,63 by default.")] = None,
    sweep_timesteps: Annotated[str | None, option("T,T", "Steps of --sweep; 1,2,4 by default.")] = None,
    sweep_jobs: Annotated[int | None, option("J", "Conversions of --sweep that run at once, each with a model in memory.")] = None,
    device: Annotated[str | None, option("WORD", "cpu, cuda, cuda:<number> or mps.")] = None,
    seed: Annotated[int | None, option("S", "Drives every random choice.")] = None,
    output_dir: Annotated[Path | None, option("DIR", "Where everything goes; artifacts/converted_snn by default.")] = None,
    allow_pickle: AllowPickle = False,
    resume: Annotated[bool, flag("--resume", "Go on from the last finished phase in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Weave a trained network (ANN) into a spiking one (SNN): calibrate it, measure it beside the ANN and the control, which is plain
    quantisation with as many levels, and report."""
    from spikeloom.config import Config, load_config

    asked = (Config() if config is None else load_config(config)).overridden(
        source=source,
        weights=weights,
        input_shape=shape_of(input_shape),
        dataset=dataset,
        data_root=data_root,
        method=method,
        timesteps=counted(timesteps),
        levels=counted(levels),
        budget=budget,
        placement=placement,
        rotation=rotation,
        dual_threshold=dual_threshold,
        whole_numbers=whole_numbers,
        compress=compress,
        bits=bits,
        group=group,
        rounding=rounding,
        sparsity=sparsity,
        pattern=pattern,
        prune_by=prune_by,
        thresholds=thresholds,
        compensate=compensate,
        input_bits=input_bits,
        gates=gates,
        from_layer=from_layer,
        gate_epochs=gate_epochs,
        noise=noise,
        noise_range=None if noise_range is None else list(noise_range),
        noise_kinds=words(noise_kinds),
        curriculum=curriculum,
        consistency=consistency,
        bio_calibration=bio_calibration,
        bio_when="always" if bio_calibration else None,
        population_size=population_size,
        generations=generations,
        calibration_samples=calibration_samples,
        samples=samples,
        batch_size=batch_size,
        length=length,
        train=train,
        epochs=epochs,
        early_exit=early_exit,
        sweep=sweep,
        sweep_levels=numbers("--sweep-levels", sweep_levels),
        sweep_timesteps=numbers("--sweep-timesteps", sweep_timesteps),
        sweep_jobs=sweep_jobs,
        device=device,
        seed=seed,
        output_dir=output_dir,
    )
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        settings = asked.settings(allow_pickle=allow_pickle, resume=resume)
        if residue is not None:
            from spikeloom.cli.policies import check_residue

            check_residue(residue, settings.source)
        result = pipeline.convert(settings, progress=progress)
        metrics = result.metrics
        if "policy" in result.snn.program.settings:
            from spikeloom.cli.policies import with_residue_of

            metrics = with_residue_of(result, settings.dataset, residue, progress)
    if as_json:
        emit(metrics)
        return
    from spikeloom.cli.summary import summary

    output().print(summary(metrics, f"{settings.source} on {settings.dataset}"))
    say(f"report: {result.folder / 'report.html'}")
