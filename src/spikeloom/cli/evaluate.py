"""`spikeloom evaluate`: a saved network on a data set, beside its ANN and the control."""

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output
from spikeloom.cli.options import DATASETS, EXIT_CODES, DataRoot, Debug, Json, flag, option
from spikeloom.cli.progress import shown

EXAMPLE = f"Example: spikeloom evaluate artifacts/resnet18 --dataset cifar10 --timesteps 8 --samples 1000\n\n{EXIT_CODES}"


@guarded()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that convert wrote.")],
    dataset: Annotated[str | None, option("NAME", f"{DATASETS} By default the one it was converted for.")] = None,
    data_root: DataRoot = None,
    timesteps: Annotated[
        int | None, typer.Option(min=1, max=4096, metavar="T", help="Steps the network runs; by default as converted.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, metavar="K", help="Test samples; all of them by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="B", help="Samples that run at once.")] = 64,
    length: Annotated[int | None, typer.Option(min=2, metavar="L", help="Tokens of a block of text; by default as converted.")] = None,
    early_exit: Annotated[bool, flag("--early-exit", "Stop each sample once its answer is sure enough.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a saved spiking network on a data set, beside the ANN it came from and the control, which is plain quantisation."""
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        metrics = pipeline.evaluate(
            folder,
            dataset,
            data_root=data_root,
            timesteps=timesteps,
            samples=samples,
            batch_size=batch_size,
            length=length,
            early_exit=early_exit,
            progress=progress,
        )
    if as_json:
        emit(metrics)
        return
    from spikeloom.cli.summary import summary

    output().print(summary(metrics, str(folder)))
