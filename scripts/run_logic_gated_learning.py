"""
A thin door to `spikeloom train`: the same function, with the names of its options written with underscores too.

    python scripts/run_logic_gated_learning.py
    python scripts/run_logic_gated_learning.py --dataset mnist --data-root data --noise-range 0 0.45 --json
"""

import argparse

from spikeloom.cli import main

VALUES = {
    "dataset": "the data set: prototypes (the default; no file), digits, mnist, fashion_mnist, cifar10, hf:, imagefolder:, idx:, npz:",
    "test_dataset": "what it is measured on; by default the data set's own test samples",
    "data_root": "DIR: where data sets called by name lie",
    "output_dir": "DIR: where everything goes",
    "config": "YAML: a configuration; options beat what it says",
    "network": "fully_connected or convolutional",
    "hidden": "N,N: widths of layers of gates, or none",
    "channels": "C,C: channels of each stage of a convolutional network",
    "thermometer": "P,P: a value becomes a bit for each of these thresholds",
    "rate_code": "K: instead, a value becomes K bits by thresholds drawn at random",
    "share": "a weight is 0 where it is below this share of the mean",
    "noise_kinds": "WORD,WORD: bit_flip, salt_and_pepper, gaussian, occlusion, dropped, jitter",
    "consistency": "how much it weighs that clean and noisy views are answered alike",
    "measured_at": "P,P: levels of noise to measure at",
    "samples": "test samples a level",
    "distil": "how much the floating twin's answers weigh as a teacher's",
    "epochs": "times through the training samples",
    "batch_size": "samples of a step",
    "patience": "stop after so many epochs that brought nothing",
    "precision": "float32 or bfloat16",
    "learning_rate": "the peak of the learning rate",
    "seed": "drives every random choice, the prototypes among them",
    "device": "cpu, cuda, cuda:<number> or mps",
}
FLAGS = {
    "noise": "train under noise (the default)",
    "no_noise": "train without noise",
    "curriculum": "open the range of noise as the network survives it (the default)",
    "no_curriculum": "draw noise evenly from its range",
    "residual": "add counts across each stage of a convolutional network",
    "learnt_bits": "train the thresholds by which values become bits",
    "controls": "train the floating twin too, with noise and without",
    "no_controls": "do not",
    "resume": "go on from the last checkpoint in the output folder",
    "json": "print JSON to stdout, and nothing else there",
    "debug": "show the traceback of an error",
}


def parser() -> argparse.ArgumentParser:
    """Every option, with underscores and with hyphens."""
    made = argparse.ArgumentParser(description="Train a logic-gated network under noise; by default the seed task.", allow_abbrev=False)
    for name, said in VALUES.items():
        made.add_argument(*spellings(name), dest=name, help=said)
    made.add_argument(*spellings("noise_range"), dest="noise_range", nargs=2, metavar=("LOW", "HIGH"), help="the noise of a sample")
    for name, said in FLAGS.items():
        made.add_argument(*spellings(name), dest=name, action="store_true", help=said)
    return made


def spellings(name: str) -> tuple[str, ...]:
    """An option's names."""
    return tuple(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def command_of(given: argparse.Namespace) -> list[str]:
    """The arguments of `spikeloom` that say the same."""
    values = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in VALUES if getattr(given, name) is not None]
    noise_range = ["--noise-range", *given.noise_range] if given.noise_range is not None else []
    return ["train", *values, *noise_range, *(f"--{name.replace('_', '-')}" for name in FLAGS if getattr(given, name))]


if __name__ == "__main__":
    main(command_of(parser().parse_args()))
