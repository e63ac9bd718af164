"""`spikeloom generate`: a saved language model goes on with a text, told as it is written."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, say
from spikeloom.cli.options import EXIT_CODES, Debug, Json, option

EXAMPLE = f'Example: spikeloom generate artifacts/stories --prompt "Once upon a time" --max-new-tokens 200\n\n{EXIT_CODES}'
ROOM = "by default 100, or as many as the model has room for"


def tell(text: str) -> None:
    """A piece of text on stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


@guarded()
def generate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A language model's folder that convert wrote.")],
    prompt: Annotated[list[str] | None, option("TEXT", "What to go on from; several are written as one batch.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, metavar="K", help=f"The most tokens to write; {ROOM}.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, metavar="X", help="0 takes the likeliest token; above, tokens are drawn.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, metavar="K", help="Draw from the K likeliest tokens (temperature above 0).")] = None,
    top_p: Annotated[float | None, option("P", "Draw from the likeliest share P, 0 to 1 (temperature above 0).")] = None,
    timesteps: Annotated[
        int | None, typer.Option(min=1, max=4096, metavar="T", help="Steps the network runs; by default as converted.")
    ] = None,
    seed: Annotated[int, option("S", "Drives the drawing.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write on from a prompt with a converted language model, token by token."""
    from spikeloom import pipeline

    how = pipeline.Writing(max_new_tokens, temperature, top_k, top_p, seed, timesteps)
    prompts = list(prompt or [])
    streams = len(prompts) == 1 and not as_json
    texts = pipeline.write_texts(folder, prompts, how, tell if streams else None)
    if as_json:
        emit({"texts": texts})
    elif not streams:
        say("\n\n".join(texts))
