"""
Memory: an eight-layer random Llama of about one billion parameters in bfloat16, calibrated and converted from sharded safetensors.

    python benchmarks/large.py [--hidden 2560] [--samples 8] [--length 128]

The model is made once under artifacts/benchmarks/. A fresh process converts it, ANN and control included, while a thread reads its
anonymous memory (RssAnon of /proc/self/status: pages of mapped files are the operating system's) fifty times a second. What the
interpreter and its libraries take before the conversion is not counted.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, Row, write

MOST = 1.5
VOCABULARY = 32_000
SMALL = 64
"""Width of the model that is converted first, so that all libraries are loaded before anything is measured."""
CONVERSION = "conversion of a one-billion Llama in bfloat16: peak memory / size of its weights"


def folder_of(hidden: int) -> Path:
    """Where the model of this width lies."""
    return ROOT / "artifacts" / "benchmarks" / f"llama-{hidden}"


def make(hidden: int) -> None:
    """Draw the model and save it in shards."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=8 if hidden > SMALL else 1,
        num_attention_heads=max(hidden // 128, 1),
        num_key_value_heads=max(hidden // 512, 1),
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder_of(hidden), max_shard_size="256MB")


def anonymous_mib() -> float:
    """This process's anonymous memory now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) / 1024


def measured(hidden: int, samples: int, length: int) -> dict[str, float]:
    """Convert, in this process; sizes in MiB."""
    import spikeloom

    settings = spikeloom.Settings(timesteps=1, calibration_samples=samples, batch_size=2)
    spikeloom.convert(f"hf:{folder_of(SMALL)}", torch.zeros(2, 16, dtype=torch.int64), settings)  # loads all libraries
    tokens = torch.randint(0, VOCABULARY, (samples, length), generator=torch.Generator().manual_seed(0))
    peak, at, done, began = [0.0], [""], threading.Event(), time.perf_counter()
    before = anonymous_mib()
    now = [""]

    def watch() -> None:
        while not done.wait(0.02):
            if (size := anonymous_mib()) > peak[0]:
                peak[0], at[0] = size, now[0]

    def progress(what: str, step: int, steps: int) -> None:
        if what != now[0]:
            sys.stderr.write(f"{time.perf_counter() - began:7.0f} s  {what}  (peak so far {peak[0] - before:.0f} MiB, at '{at[0]}')\n")
            now[0] = what

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    snn = spikeloom.convert(f"hf:{folder_of(hidden)}", tokens, settings, progress=progress)
    done.set()
    weights = sum(file.stat().st_size for file in folder_of(hidden).glob("*.safetensors")) / 2**20
    floating = list(snn.audit(tokens[:1]).floating)
    sys.stderr.write(f"peak {peak[0] - before:.0f} MiB at '{at[0]}'\n")
    return {
        "peak_mib": peak[0] - before,
        "weights_mib": weights,
        "interpreter_mib": before,
        "seconds": time.perf_counter() - began,
        "floating": len(floating),
    }


def main() -> None:
    """Measure in a fresh process and write benchmarks/results/large.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=2560, help="the model's width")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--child", choices=["make", "convert"])
    options = parser.parse_args()
    if options.child == "make":
        return make(options.hidden)
    if options.child == "convert":
        sys.stdout.write(json.dumps(measured(options.hidden, options.samples, options.length)) + "\n")
        return None
    command = [sys.executable, str(Path(__file__).resolve()), "--hidden", str(options.hidden)]
    command += ["--samples", str(options.samples), "--length", str(options.length), "--child"]
    for hidden in (SMALL, options.hidden):
        if not (folder_of(hidden) / "config.json").exists():
            subprocess.run([*command, "make", "--hidden", str(hidden)], check=True, cwd=ROOT)
    found = json.loads(
        subprocess.run([*command, "convert"], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )
    ratio = found["peak_mib"] / found["weights_mib"]
    sys.stdout.write(f"{CONVERSION}: {ratio:.2f} {found}\n")
    if options.hidden == parser.get_default("hidden"):
        kept = {key: round(value, 1) for key, value in found.items()}
        write("large", [Row(CONVERSION, round(ratio, 3), "x", "python benchmarks/large.py", kept, None, f"at most {MOST}", ratio <= MOST)])
    return None


if __name__ == "__main__":
    main()
