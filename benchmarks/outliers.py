"""
Outliers: what rotation, levels in two ranges and the choice between them do, on real models and on models with planted outliers.

    python benchmarks/outliers.py [--only NAME] [--levels 7 15 31] [--threads 1] [--compensate]

Needs ../shared/data (stories260k, gpt2_char_shakespeare, text). Planted models compute what the real ones do: gains of norms and values
are made fifty times larger in a few channels, and the weights that read them so much smaller. "massive" is a random Llama
of which one token is a hundred times larger than the others in two channels of the stream (Sun et al. 2024, "Massive activations in
large language models", arXiv 2402.17762). Thresholds alone, without compensation, unless asked for: nothing but the levels differs.
"""

import argparse
import functools
import math
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.capture import capture
from spikeloom.ir import Context, Program, run
from spikeloom.pipeline import Settings
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.choice import choose
from spikeloom.pipeline.evaluation import evaluate
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.passes import passes_of
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel, executable

WORK = ROOT / "artifacts" / "benchmarks"
LARGER, CHANNELS = 50.0, 3
"""How much larger planted outliers are, and in how many channels of each value."""


@dataclass(frozen=True)
class Way:
    """One way to deal with outliers."""

    placement: str
    rotation: str = "none"
    per_channel: bool = True

    @property
    def name(self) -> str:
        """The way in words."""
        turned = {"none": "", "all": ", rotated", "auto": ", rotation auto"}[self.rotation]
        return f"{self.placement}{turned}{'' if self.per_channel else ', one scale a layer'}"


WAYS = (
    Way("uniform"),
    Way("uniform", "all"),
    Way("two_range"),
    Way("two_range", "all"),
    Way("density"),
    Way("density", "all"),
    Way("auto", "auto"),
)
PLANTED = (
    Way("uniform"),
    Way("density"),
    Way("auto", "auto"),
    *(Way("uniform", rotation, False) for rotation in ("none", "all", "auto")),
    *(Way(placement, "none", False) for placement in ("two_range", "density")),
)
TEXTS = {
    "stories260k": ("stories260k", "tinystories_2300.txt", 128),
    "character GPT-2": ("gpt2_char_shakespeare", "tinyshakespeare.txt", 128),
}


@functools.cache
def planted(name: str) -> Path:
    """The folder of a model with outliers that computes what the real one does."""
    from transformers import AutoModelForCausalLM

    source, place = SHARED / TEXTS[name][0], WORK / f"planted_{TEXTS[name][0]}"
    model = AutoModelForCausalLM.from_pretrained(source)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in model.model.layers if name == "stories260k" else model.transformer.h:
            (plant_llama if name == "stories260k" else plant_gpt2)(block, generator)
    shutil.copytree(source, place, dirs_exist_ok=True)
    model.save_pretrained(place)
    return place


def some(size: int, generator: torch.Generator) -> torch.Tensor:
    """A scale for each of so many channels: 1, and for a few of them `LARGER`."""
    scale = torch.ones(size)
    scale[torch.randperm(size, generator=generator)[:CHANNELS]] = LARGER
    return scale


def plant_llama(block: Any, generator: torch.Generator) -> None:
    """Outliers in what the linear layers of one block of Llama read (gated features too could have them, where no rotation reaches)."""
    attention, mlp = block.self_attn, block.mlp
    readers = {
        block.input_layernorm: (attention.q_proj, attention.k_proj, attention.v_proj),
        block.post_attention_layernorm: (mlp.gate_proj, mlp.up_proj),
    }
    for norm, layers in readers.items():
        scale = some(len(norm.weight), generator)
        norm.weight.mul_(scale)
        for layer in layers:
            layer.weight.div_(scale)
    scale, shared = some(attention.v_proj.weight.shape[0], generator), attention.num_key_value_groups
    attention.v_proj.weight.mul_(scale[:, None])
    attention.o_proj.weight.div_(scale.view(-1, attention.head_dim).repeat_interleave(shared, 0).flatten())


def plant_gpt2(block: Any, generator: torch.Generator) -> None:
    """Outliers in what the linear layers of one block of GPT-2 read (its GELU is no place for them: it is not homogeneous)."""
    for norm, layer in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
        scale = some(len(norm.weight), generator)
        norm.weight.mul_(scale)
        norm.bias.mul_(scale)
        layer.weight.div_(scale[:, None])
    scale = some(block.attn.c_proj.weight.shape[0], generator)
    block.attn.c_attn.weight[:, -len(scale) :].mul_(scale)
    block.attn.c_attn.bias[-len(scale) :].mul_(scale)
    block.attn.c_proj.weight.div_(scale[:, None])


def settings_of(name: str, way: Way, levels: int, compensate: bool, *, plant: bool) -> Settings:
    """The command line's settings."""
    folder, text, length = TEXTS[name]
    return Settings(
        source=f"hf:{planted(name) if plant else SHARED / folder}",
        dataset=f"text:{SHARED / 'text' / text}",
        timesteps=1,
        levels=levels,
        placement=way.placement,
        rotation=way.rotation,
        per_channel=way.per_channel,
        compensate=compensate,
        calibration_samples=32,
        samples=30,
        length=length,
    )


def text_rows(name: str, ways: Iterable[Way], levels: int, compensate: bool, *, plant: bool = False) -> Iterable[Row]:
    """Perplexity and agreement on a text that calibration has not seen."""
    ann: Program | None = None
    for way in ways:
        settings = settings_of(name, way, levels, compensate, plant=plant)
        ann = ingest(settings, WORK, lambda what, done, total: None) if ann is None else ann
        context = Context(calibration_stream(ann, settings.dataset, settings, settings.calibration_samples))
        choice = choose(settings, ann, context)
        first, second = passes_of(settings, choice)
        snn = SpikingModel(run([*first, *second], ann, context), timesteps=1, ann=ann)
        task = task_of(ann.settings)
        data = task.samples(settings.dataset, "test", ann, settings, settings.samples)
        found = evaluate(task.tally(Networks(snn, 1), None, None), data.read(task.at_once(ann, 32, 1), None), lambda count: None).measures
        perplexity, agreement = found["perplexity"], found["next_token_agreement"]
        beside = {"ann": round(perplexity["ann"], 4), "more_percent": round(100 * (perplexity["snn"] / perplexity["ann"] - 1), 2)}
        beside |= {"agreement_percent": round(100 * agreement, 2)} | told(choice)
        where = f"{name}{' planted' if plant else ''} N={levels} T=1 {way.name}{', compensated' if compensate else ''}"
        yield Row(f"{where}: perplexity", round(perplexity["snn"], 4), "", command(levels, compensate), beside)


def told(choice: Any) -> dict[str, Any]:
    """What was chosen, in short."""
    gains = {"gains_db": dict(choice.gains_db), "rotated": len(choice.rotate or ())} if choice.gains_db else {}
    counts = Counter(placement for _, placement in choice.placements)
    return gains | ({"others_placed": dict(counts)} if counts else {})


def command(levels: int, compensate: bool) -> str:
    """The command that makes rows again."""
    return f"python benchmarks/outliers.py --levels {levels}{' --compensate' if compensate else ''}"


def massive() -> tuple[Program, torch.Tensor]:
    """A random Llama in which the token that every text begins with is massive, and texts for it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4}
    config = LlamaConfig(vocab_size=256, max_position_embeddings=128, use_cache=False, attn_implementation="eager", **sizes)
    model: nn.Module = LlamaForCausalLM(config).eval()
    tokens = torch.randint(2, 256, (32, 64))
    tokens[:, 0] = 1
    with torch.no_grad():
        table = model.get_parameter("model.embed_tokens.weight")
        table[1, [7, 90]] = table.std() * torch.tensor([100.0, -60.0])
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                weight.mul_(2.0)  # random layers of the usual size hardly change what they read
    return capture(model, (), {"input_ids": tokens[:2]}), tokens


def massive_rows(ways: Iterable[Way], levels: int) -> Iterable[Row]:
    """Signal-to-error ratio of the logits of the massive Llama on texts that calibration has not seen."""
    ann, tokens = massive()
    for way in ways:
        settings = settings_of("stories260k", way, levels, False, plant=False)
        context = Context(lambda: [(part,) for part in tokens[:24].split(8)])
        choice = choose(settings, ann, context)
        snn = run(passes_of(settings, choice)[0], ann, context)
        with torch.no_grad():
            exact, found = (module(tokens[24:])["logits"].double() for module in (ann.module(), executable(snn, 1)))
        ratio = 10 * math.log10(float(exact.square().sum() / (exact - found).square().sum()))
        yield Row(f"massive Llama N={levels} T=1 {way.name}: logits", round(ratio, 2), "dB", command(levels, False), told(choice))


def main() -> None:
    """Run what was asked for and write benchmarks/results/outliers.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="parts whose name holds this text: real, planted (then stories260k or …), massive")
    parser.add_argument("--levels", type=int, nargs="+", default=[7, 15, 31])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compensate", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    for levels in options.levels:
        parts = {f"real {name}": text_rows(name, WAYS, levels, options.compensate) for name in TEXTS}
        parts |= {f"planted {name}": text_rows(name, PLANTED, levels, options.compensate, plant=True) for name in TEXTS}
        parts |= {"massive": massive_rows((*WAYS, *PLANTED[3:]), levels)}
        for name, rows in parts.items():
            for row in rows if options.only in name else ():
                sys.stdout.write(f"{row.name}: {row.value} {row.control}\n")
                sys.stdout.flush()
                write("outliers", [row], part=True)


if __name__ == "__main__":
    main()
