"""
A thin door to `spikeloom convert`: the same function, with the names of its options written with underscores.

    python scripts/convert_model.py --model_name "resnet18" --dataset "cifar10" --output_dir "artifacts/converted_snn"
"""

import argparse

from spikeloom.cli import main

VALUES = {
    "weights": "FILE: weights to load (safetensors, or a state dict)",
    "input_shape": "C,H,W: the shape of one sample, where the model does not say",
    "dataset": "the data set: digits, cifar10, mnist, fashion_mnist, hf:, imagefolder:, idx:, npz:",
    "data_root": "DIR: where data sets called by name lie, and weights: <name>/model.safetensors",
    "output_dir": "DIR: where everything goes",
    "config": "YAML: a configuration; options beat what it says",
    "method": "scale_and_fire, if or lif",
    "timesteps": "T: steps the network runs",
    "levels": "N: levels of a neuron at one step",
    "calibration_samples": "training samples to calibrate on",
    "samples": "test samples to evaluate on",
    "epochs": "epochs of --train",
    "seed": "drives every random choice",
    "device": "cpu, cuda, cuda:<number> or mps",
}
FLAGS = {
    "train": "train the network here first",
    "resume": "go on from the last finished phase in the output folder",
    "json": "print JSON to stdout, and nothing else there",
    "debug": "show the traceback of an error",
}


def parser() -> argparse.ArgumentParser:
    """Every option, with underscores and with hyphens."""
    made = argparse.ArgumentParser(description="Convert a trained network into a spiking one.", allow_abbrev=False)
    made.add_argument("--model_name", "--model-name", help="the model: a name or an address; by default a small CNN on digits")
    for name, said in VALUES.items():
        made.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), dest=name, help=said)
    for name, said in FLAGS.items():
        made.add_argument(f"--{name}", action="store_true", help=said)
    return made


def command_of(given: argparse.Namespace) -> list[str]:
    """The arguments of `spikeloom` that say the same."""
    values = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in VALUES if getattr(given, name) is not None]
    flags = [f"--{name}" for name in FLAGS if getattr(given, name)]
    return ["convert", *values, *flags, *(["--", given.model_name] if given.model_name is not None else [])]


if __name__ == "__main__":
    main(command_of(parser().parse_args()))
