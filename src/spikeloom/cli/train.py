"""`spikeloom train`: a logic-gated network from nothing, trained under noise, frozen, measured at every level of it, and reported."""

from pathlib import Path
from typing import Annotated

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.convert import numbers, words
from spikeloom.cli.options import EXIT_CODES, DataRoot, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

REAL = "spikeloom train --dataset mnist --data-root data --network convolutional --output-dir artifacts/mnist_logic"
EXAMPLE = f"Example: spikeloom train   (the seed task: random prototypes under 0 to 45 % flipped bits)\n\n{REAL}\n\n{EXIT_CODES}"
DATASETS = "prototypes[:<bits>x<classes>], digits, mnist, fashion_mnist, cifar10, hf:, imagefolder:, idx:, npz:; rows as in digits[:500]."


def fractions(name: str, text: str | None) -> list[float] | None:
    """The numbers that '0,0.1,0.45' says. ConfigError where it says none."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{name} is no list of numbers", found=text, allowed="numbers with commas between them, such as 0,0.4") from None


def widths(name: str, text: str | None) -> list[int] | None:
    """As `numbers`; 'none' is the empty list."""
    return [] if text == "none" else numbers(name, text)


@guarded(stopped="; the same command with --resume goes on from the last checkpoint")
def train(
    dataset: Annotated[str | None, option("NAME", f"{DATASETS} prototypes by default, which needs no files.")] = None,
    test_dataset: Annotated[str | None, option("NAME", "What it is measured on; by default the data set's own test samples.")] = None,
    data_root: DataRoot = None,
    config: Annotated[Path | None, option("YAML", "A configuration; options beat what it says.")] = None,
    network: Annotated[str | None, option("WORD", "fully_connected or convolutional.")] = None,
    hidden: Annotated[str | None, option("N,N", "Widths of layers of gates, or none; by default as it is good for the data set.")] = None,
    channels: Annotated[str | None, option("C,C", "Channels of each stage of a convolutional network; 32,64 by default.")] = None,
    residual: Annotated[bool | None, flag("--residual/--no-residual", "Add counts across each stage.")] = None,
    thermometer: Annotated[str | None, option("P,P", "A value becomes a bit for each of these thresholds.")] = None,
    rate_code: Annotated[int | None, option("K", "Instead: a value becomes K bits by thresholds drawn at random.")] = None,
    learnt_bits: Annotated[bool | None, flag("--learnt-bits/--fixed-bits", "Train the thresholds by which values become bits.")] = None,
    share: Annotated[float | None, option("S", "A weight is 0 where it is below this share of the mean.")] = None,
    noise: Annotated[bool | None, flag("--noise/--no-noise", "Train under noise, which is the default.")] = None,
    noise_range: Annotated[tuple[float, float] | None, option("LOW HIGH", "The noise of a sample; 0 0.45 by default.")] = None,
    noise_kinds: Annotated[
        str | None, option("WORD,WORD", "bit_flip, salt_and_pepper, gaussian, occlusion, dropped, jitter: one a sample.")
    ] = None,
    curriculum: Annotated[bool | None, flag("--curriculum/--no-curriculum", "Open the range as the network survives it.")] = None,
    consistency: Annotated[float | None, option("W", "How much it weighs that clean and noisy views are answered alike.")] = None,
    controls: Annotated[
        bool | None, flag("--controls/--no-controls", "Train the floating twin too; by default but on the seed task.")
    ] = None,
    distil: Annotated[float | None, option("W", "How much the twin's answers weigh as a teacher's; 0.5 with controls.")] = None,
    epochs: Annotated[int | None, option("E", "Times through the training samples.")] = None,
    batch_size: Annotated[int | None, option("B", "Samples of a step.")] = None,
    learning_rate: Annotated[float | None, option("R", "The peak of the learning rate; 0.01 by default.")] = None,
    patience: Annotated[int | None, option("E", "Stop after so many epochs that brought nothing.")] = None,
    precision: Annotated[str | None, option("WORD", "float32 or bfloat16.")] = None,
    measured_at: Annotated[str | None, option("P,P", "Levels of noise to measure at; 0,0.1,0.2,0.3,0.4,0.45,0.47,0.5.")] = None,
    samples: Annotated[int | None, option("K", "Test samples a level; all by default.")] = None,
    device: Annotated[str | None, option("WORD", "cpu, cuda, cuda:<number> or mps: where it is trained.")] = None,
    seed: Annotated[int | None, option("S", "Drives every random choice, the prototypes among them.")] = None,
    output_dir: Annotated[Path | None, option("DIR", "Where everything goes; artifacts/logic_gated by default.")] = None,
    resume: Annotated[bool, flag("--resume", "Go on from the last checkpoint in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a logic-gated network, weights -1, 0, 1 and spikes, under noise; freeze it into additions and comparisons; measure it at every
    level of noise beside the Bayes limit, where that is known, and its floating twins."""
    from spikeloom.config import Config, load_config

    given = {
        "dataset": dataset,
        "test_dataset": test_dataset,
        "data_root": data_root,
        "network": network,
        "hidden": widths("--hidden", hidden),
        "channels": numbers("--channels", channels),
        "residual": residual,
        "thermometer": fractions("--thermometer", thermometer),
        "rate_code": rate_code,
        "learnt_bits": learnt_bits,
        "share": share,
        "noise": noise,
        "noise_range": None if noise_range is None else list(noise_range),
        "noise_kinds": words(noise_kinds),
        "curriculum": curriculum,
        "consistency": consistency,
        "controls": controls,
        "distil": distil,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "patience": patience,
        "precision": precision,
        "measured_at": fractions("--measured-at", measured_at),
        "samples": samples,
        "device": device,
        "seed": seed,
        "output_dir": output_dir,
    }
    settings = (Config() if config is None else load_config(config)).learning(resume=resume, **given)
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        result = pipeline.learn(settings, progress=progress)
    if as_json:
        emit(result.metrics)
        return
    from spikeloom.cli.noise_table import noise_table

    output().print(noise_table(result.metrics))
    if (cut := result.metrics["cut_to_bits_at"]) is not None:
        say(f"values were cut to bits, 1 from {cut:g} on, because bits are turned over; other noise (--noise-kinds) leaves them whole")
    say(f"report: {result.folder / 'report.html'}")
