"""`spikeloom evolve`: a policy's neurons, or how it learns, evolved on the return that they bring; beside what it was before."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import EXIT_CODES, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

REAL = "spikeloom evolve policy:dqn_cartpole --env CartPole-v1 --levels 3 --generations 10 --workers 4 --output artifacts/evolved"
LEARN = "spikeloom evolve artifacts/evolved --env CartPole-v1 --shift length=3.0 --search plasticity --population-size 6"
EXAMPLE = f"Example: spikeloom evolve --levels 3   (teaches a small CartPole policy first)\n\n{REAL}\n\n{LEARN}\n\n{EXIT_CODES}"
WORDS = ("neurons", "plasticity", "both")
SOURCE = "A policy: sb3:<zip>, policy:<folder>, or the folder of a converted one (T = 1). Without one a small CartPole policy is taught."
ADAPTATION = 160
"""Episodes of adaptation of a life, where plasticity is searched and nobody says."""


@guarded(stopped="; the same command with --resume goes on from the last generation")
def evolve(
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help=SOURCE, show_default=False)] = None,
    env: Annotated[
        str | None, option("ID", "The environment, of gymnasium or minigrid; by default the one the policy was made for.")
    ] = None,
    shift: Annotated[
        list[str] | None, option("NAME=VALUE", "What is different there, as length=2.0, gain=0.3, sign=-1; may be given several times.")
    ] = None,
    search: Annotated[str, option("WORD", "What evolves: 'neurons', 'plasticity' (how it learns) or 'both'.")] = "neurons",
    population_size: Annotated[int, typer.Option(min=6, metavar="P", help="Candidates of a generation.")] = 12,
    generations: Annotated[int, typer.Option(min=1, metavar="G", help="Generations.")] = 10,
    episodes: Annotated[int, typer.Option(min=2, metavar="E", help="Episodes that a candidate's return is the mean of.")] = 16,
    adaptation: Annotated[
        int | None,
        typer.Option(min=0, metavar="E", help=f"Episodes in which a candidate adapts before; {ADAPTATION} for plasticity, else none."),
    ] = None,
    lives: Annotated[int, typer.Option(min=1, metavar="K", help="Lives of a candidate, where it adapts.")] = 2,
    environments: Annotated[int, typer.Option(min=1, max=4096, metavar="N", help="Environments side by side in a life.")] = 32,
    energy_weight: Annotated[float, typer.Option(min=0, metavar="W", help="What one nJ a decision costs in returns.")] = 0.0,
    levels: Annotated[int, typer.Option(min=1, max=255, metavar="N", help="Levels of a neuron, where the policy is converted.")] = 31,
    judged: Annotated[int, typer.Option(min=2, metavar="E", help="New episodes, or an eighth as many lives, to judge the end by.")] = 64,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Drives every random choice.")] = 0,
    executor: Annotated[str, option("WORD", "What runs candidates: loky, threading, ray or dask.")] = "loky",
    workers: Annotated[int, typer.Option(min=1, metavar="W", help="Candidates evaluated at once; the answer is the same.")] = 1,
    output_dir: Annotated[Path, typer.Option("--output", "--output-dir", metavar="DIR", help="Where network and metrics go.")] = Path(
        "artifacts/evolved"
    ),
    resume: Annotated[bool, flag("--resume", "Go on from the last generation in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Evolve a policy's neurons (thresholds, potentials), or the numbers it learns by, or both, on the return they bring in a world: the
    population meets in equal episodes, and who leads must lead again in new ones."""
    began = time.perf_counter()
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom.agent.contest import Contest
        from spikeloom.agent.evolution import Breeding, evolve_agent
        from spikeloom.agent.genes import TRAITS
        from spikeloom.agent.worlds import parsed, world
        from spikeloom.cli import evolved, policies
        from spikeloom.evolve import PARAMETERS
        from spikeloom.evolve.executor import check_executor
        from spikeloom.pipeline.publishing import check_folder

        if search not in WORDS:
            raise ConfigError("what evolves", found=search, allowed=", ".join(WORDS))
        check_executor(executor, workers)
        neurons, plasticity = PARAMETERS if search != "plasticity" else (), tuple(TRAITS) if search != "neurons" else ()
        adapts = adaptation if adaptation is not None else ADAPTATION if plasticity else 0
        env_id, shifts = policies.environment_of(source, env), parsed(shift or ())
        settling = min(32, max(adapts // 4, 1))
        contest = Contest(env_id, (shifts,), episodes, adapts, settling, environments, lives, weight=energy_weight)
        breeding = Breeding(neurons, plasticity, population_size, generations, seed=seed)
        evolved.check_learning(contest, breeding)
        world(env_id, 1, shifts).close()
        checkpoints = output_dir / "checkpoints"
        begun = evolved.begun(checkpoints, contest, breeding, resume=resume)
        policy = policies.policy_from(str(begun) if resume else source, env_id, levels, 0, progress)
        check_folder(output_dir)
        if not resume:
            evolved.begin(checkpoints, policy, contest, breeding)
        progress("evolving", 0, generations)
        running: dict[str, Any] = {"executor": executor, "workers": workers}
        found = evolve_agent(policy, contest, breeding, folder=checkpoints / "search", progress=progress, **running)
        judgement = evolved.judgement_of(policy, found, contest, judged, progress, **running)
        metrics = evolved.metrics_of(found, contest, judgement, time.perf_counter() - began)
        evolved.publish(found, metrics, output_dir)
    if as_json:
        emit(metrics)
        return
    output().print(evolved.table_of(metrics))
    say(f"network: {output_dir}")
