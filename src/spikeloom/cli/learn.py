"""`spikeloom learn`: a converted classifier meets a stream of drifted pictures or new classes, and goes on learning there."""

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import DATASETS, EXIT_CODES, DataRoot, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.cli.refine import chip_of

REAL = "spikeloom learn artifacts/lenet --dataset mnist --corruption contrast --labels 100 --output-dir artifacts/lenet_learnt"
EXAMPLE = f"Example: {REAL}\n\n{EXIT_CODES}"
CORRUPTIONS = "A try-out drift of all pictures: gaussian_noise, gaussian_blur, brightness, contrast, jpeg."


@guarded(stopped="; the same command with --resume goes on from where it was last saved")
def learn(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that convert wrote, of a classifier of pictures.")],
    dataset: Annotated[str | None, option("NAME", f"The stream. {DATASETS} By default what the network was converted for.")] = None,
    test_dataset: Annotated[
        str | None, option("NAME", "What it is judged on; by default the test pictures of the stream's data set.")
    ] = None,
    original: Annotated[str | None, option("NAME", "What it must not forget; by default what it was converted for.")] = None,
    data_root: DataRoot = None,
    corruption: Annotated[str | None, option("WORD", CORRUPTIONS)] = None,
    severity: Annotated[int, typer.Option(min=1, max=5, metavar="S", help="How much of it.")] = 5,
    labels: Annotated[
        int, typer.Option(min=0, metavar="K", help="Pictures of the stream whose class is told, drawn; others have none.")
    ] = 0,
    new_classes: Annotated[bool, flag("--new-classes", "Learn the classes the network does not know, from their labels.")] = False,
    stream_samples: Annotated[int | None, typer.Option(min=1, metavar="K", help="Pictures of the stream; all by default.")] = None,
    config: Annotated[
        Path | None, option("YAML", "A configuration whose section `chip` describes what the network is put on first.")
    ] = None,
    homeostasis: Annotated[bool, flag("--homeostasis/--no-homeostasis", "Neurons keep their statistics, without labels.")] = True,
    contexts: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="K", help="Most worlds it tells apart, 4 by default; on a chip there is one.")
    ] = None,
    rate: Annotated[float | None, option("R", "How much of the way to another answer one label moves an output; 0.5 by default.")] = None,
    calibration_samples: Annotated[
        int, typer.Option(min=2, metavar="K", help="Unlabelled pictures of the first kind that tell how neurons should do.")
    ] = 512,
    samples: Annotated[int | None, typer.Option(min=1, metavar="K", help="Test pictures of each kind; all of them by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="B", help="Pictures that arrive at once.")] = 32,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Drives every random choice.")] = 0,
    output_dir: Annotated[
        Path, typer.Option("--output", "--output-dir", metavar="DIR", help="Where network, metrics and report go.")
    ] = Path("artifacts/learnt"),
    resume: Annotated[bool, flag("--resume", "Go on from where it was last saved in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a spiking classifier go on learning in a stream by rules that are local, with few labels or none; say what it gained there, and
    what it forgot."""
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom import pipeline

        drift = pipeline.Drift(corruption, severity, seed)
        course = pipeline.Course(
            stream=dataset or "",
            tested=test_dataset,
            drift=drift,
            samples=stream_samples,
            labels=labels,
            new_classes=new_classes,
            homeostasis=homeostasis,
            contexts=contexts,
            rate=rate,
        )
        settings = pipeline.Settings(
            dataset=original or "",
            data_root=data_root,
            output_dir=output_dir,
            chip=chip_of(config),
            calibration_samples=calibration_samples,
            samples=samples,
            batch_size=batch_size,
            seed=seed,
            resume=resume,
        )
        result = pipeline.learn_stream(folder, settings, course, progress=progress)
    if as_json:
        emit(result.metrics)
        return
    from spikeloom.cli.stream_table import stream_table

    output().print(stream_table(result.metrics["stream"], str(folder)))
    several = result.metrics["stream"]["contexts"] > 1
    say(f"network: {result.folder}" + (f"; of each context: {result.folder / 'contexts'}" if several else ""))
    say(f"report: {result.folder / 'report.html'}")
