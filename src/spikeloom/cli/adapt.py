"""`spikeloom adapt`: a converted policy in a world that has changed, where it goes on learning; what came of it, reported."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.boundary import guarded
from spikeloom.cli.console import emit, output, say
from spikeloom.cli.options import EXIT_CODES, Debug, Json, flag, option
from spikeloom.cli.progress import shown
from spikeloom.errors import ConfigError

REAL = "spikeloom adapt sb3:ppo_lunarlander.zip --env LunarLander-v3 --shift gravity=0.15 --seeds 5 --output artifacts/lander"
EXAMPLE = f"Example: spikeloom adapt --shift sign=-1   (teaches a small CartPole policy first)\n\n{REAL}\n\n{EXIT_CODES}"
WORDS = ("on drift", "always", "never")
SOURCE = "A policy: sb3:<zip>, policy:<folder>, or the folder of a converted one (T = 1). Without one a small CartPole policy is taught."


@guarded(stopped="; the same command with --resume goes on from the last checkpoint")
def adapt(
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help=SOURCE, show_default=False)] = None,
    env: Annotated[
        str | None, option("ID", "The environment, of gymnasium or minigrid; by default the one the policy was made for.")
    ] = None,
    shift: Annotated[
        list[str] | None,
        option(
            "NAME=VALUE", "What has changed, as length=2.0, gain=0.3, sign=-1, swap=1:3, noise=0.1, delay=2; may be given several times."
        ),
    ] = None,
    onset: Annotated[int, typer.Option(min=0, metavar="K", help="Control steps before the world changes.")] = 0,
    ramp: Annotated[int, typer.Option(min=0, metavar="K", help="Control steps over which it changes.")] = 0,
    episodes: Annotated[int, typer.Option(min=2, metavar="E", help="Episodes of all environments together.")] = 500,
    environments: Annotated[int, typer.Option(min=1, max=4096, metavar="N", help="Environments side by side.")] = 64,
    seeds: Annotated[int, typer.Option(min=1, max=1000, metavar="S", help="Lives, each from its own seed.")] = 1,
    judged: Annotated[int, typer.Option(min=1, metavar="E", help="Episodes that returns are the mean of.")] = 64,
    levels: Annotated[int, typer.Option(min=1, max=255, metavar="N", help="Levels of a neuron, where the policy is converted.")] = 31,
    layers: Annotated[int | None, typer.Option(min=1, metavar="L", help="How many of the last layers learn; all by default.")] = None,
    exploration: Annotated[float, option("X", "How much it explores, as a share of the most there is: between 0 and 1.")] = 0.85,
    rate: Annotated[float | None, option("R", "The rate of learning; as the library's default, 0.1.")] = None,
    discount: Annotated[float | None, option("G", "How much a reward one step later is worth; as the library's default, 0.99.")] = None,
    divergence: Annotated[
        float | None, option("NATS", "How far a window may move what it does; as the library's default, 0.06 nats.")
    ] = None,
    plastic: Annotated[str, option("WORD", "When weights learn: 'on drift', 'always' or 'never'.")] = "on drift",
    diagnose: Annotated[
        bool, typer.Option("--diagnose/--no-diagnose", help="Ask first whether sensors or actions are wired otherwise, or late.")
    ] = True,
    rules: Annotated[
        Path | None,
        option("FILE", "Guards that hold while it lives and is judged, and rules that it is taught: YAML (docs/rules.md)."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Tell in rules what the network does, before and after; some seconds.")
    ] = True,
    output_dir: Annotated[
        Path, typer.Option("--output", "--output-dir", metavar="DIR", help="Where network, metrics and report go.")
    ] = Path("artifacts/adapted"),
    resume: Annotated[bool, flag("--resume", "Go on from the last checkpoint in the output folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a spiking policy act in a changed world and go on learning there, by spikes, reward and rules that are local; it notices the
    change itself, and never keeps what is worse than it was."""
    began = time.perf_counter()
    with shown(quiet=as_json) as progress:
        progress("starting", 0, 0)
        from spikeloom.agent.adapting import adapt
        from spikeloom.agent.course import Course
        from spikeloom.agent.learning import Learning
        from spikeloom.agent.policy import check_learns
        from spikeloom.agent.rules import load_instructions
        from spikeloom.agent.worlds import parsed, world
        from spikeloom.cli import adapted, policies
        from spikeloom.datasets.environment import spaces_within
        from spikeloom.pipeline.publishing import check_folder

        if plastic not in WORDS:
            raise ConfigError("when weights learn", found=plastic, allowed=", ".join(WORDS))
        numbers = {"rate": rate, "discount": discount, "divergence": divergence}
        shifts = parsed(shift or ())
        course = Course(
            episodes=episodes,
            environments=environments,
            seeds=seeds,
            onset=onset,
            ramp=ramp,
            exploration=exploration,
            layers=layers,
            plastic=plastic,
            learning=replace(Learning(), **{name: value for name, value in numbers.items() if value is not None}),
            judged=judged,
            diagnosed=diagnose,
            settling=min(64, max(episodes // 8, 3)),
        )
        env_id = policies.environment_of(source, env)
        with closing(world(env_id, 1, shifts, ramp=ramp)) as fitting:
            told = None if rules is None else load_instructions(rules, spaces_within(fitting, env_id), env_id)
        begun = output_dir / "checkpoints" / "network"
        known = resume and policies.is_saved(str(begun))
        if resume and not known:
            raise ConfigError("there is nothing to go on from", found=f"no {begun}", todo="begin anew, without --resume")
        policy = policies.policy_from(str(begun) if known else source, env_id, levels, 0, progress)
        check_learns(policy)
        check_folder(output_dir)
        if not known:
            policy.save(begun)
        kept = output_dir / "checkpoints"
        found = adapt(policy, env_id, shifts, course, instructions=told, progress=progress, checkpoints=kept, resume=resume)
        ruled = adapted.ruled(found, progress) if explain else "the run was asked not to."
        metrics = adapted.metrics_of(found, ruled, time.perf_counter() - began)
        story = adapted.story_of(found, ruled, metrics, source or "A taught policy", progress)
        adapted.publish(found, ruled, story, output_dir)
    if as_json:
        emit(metrics)
        return
    output().print(adapted.table_of(metrics))
    say(f"report: {output_dir / 'report.html'}")
