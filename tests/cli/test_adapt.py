"""`spikeloom adapt`: a small policy in a changed CartPole from the command line to the page, and what is refused before any work."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.agent.balancing import balancing
from tests.pipeline.test_acting import policy as random_policy
from typer.testing import CliRunner

from spikeloom import load, pipeline
from spikeloom.agent import Course, Learning, adapting, open_policy
from spikeloom.agent.rules import load_rules
from spikeloom.cli import app

TINY = ["--episodes", "48", "--environments", "8", "--judged", "8", "--plastic", "always"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["adapt", *arguments], env={"COLUMNS": "140"})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a converted policy."""
    folder = tmp_path_factory.mktemp("policy") / "snn"
    balancing().model.save(folder)
    return folder


def test_a_saved_policy_adapts_and_is_reported(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = (str(saved), "--env", "CartPole-v1", "--shift", "sign=-1", *TINY, "--no-diagnose", "--output", str(out))
    result = run(*command, "--json")
    assert result.exit_code == 0, result.stderr
    metrics = json.loads(result.stdout)
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert metrics["shifts"] == {"sign": "-1"}
    assert metrics["returns"]["usual"] > 300 > metrics["returns"]["frozen"]
    assert [row["body"] for row in metrics["seeds_found"]] == [None]
    page = (out / "report.html").read_text()
    assert page.count("data:image/gif;base64,") == 2
    assert len(page) < 1_200_000
    assert "What is different" in page
    assert metrics["rules"]["before"]["fidelity"] > 0.9
    assert "network" in (out / "rules.txt").read_text()
    assert load_rules(out / "rules.yaml").names.observations == ("x", "x_dot", "theta", "theta_dot")
    assert not (out / "vetoes.jsonl").exists()
    assert load(out).timesteps == 1
    pipeline.report(out)
    assert (out / "report.html").read_text() == page
    again = run(*command, "--resume")
    assert again.exit_code == 0, again.stderr
    assert "adapted, seed 0" in again.stdout
    resumed = json.loads((out / "metrics.json").read_text())
    assert {**resumed, "seconds": 0} == {**metrics, "seconds": 0}
    other = run(*command, "--resume", "--onset", "9")
    assert other.exit_code == 2
    assert "another adaptation" in other.stderr


PERSON = """
environment: CartPole-v1
guards:
  - {name: near the end, when: x > 0.1, never: push right}
rules:
  - {when: theta > 0.01, then: push left}
"""


def test_a_person_guards_and_teaches(saved: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "person.yaml"
    file.write_text(PERSON)
    command = (str(saved), "--env", "CartPole-v1", "--shift", "sign=-1", *TINY, "--output", str(out), "--rules", str(file))
    result = run(*command, "--no-explain", "--json")
    assert result.exit_code == 0, result.stderr
    metrics = json.loads(result.stdout)
    (guard,) = metrics["guards"]
    assert (guard["name"], guard["when"]) == ("near the end", "x > 0.1")
    rows = [json.loads(line) for line in (out / "vetoes.jsonl").read_text().splitlines()]
    counts = {when: sum(row["when"] == when for row in rows) for when in ("frozen", "taught", "lived", "adapted")}
    assert {when: counts[when] for when in ("frozen", "lived", "adapted")} == {when: guard[when] for when in ("frozen", "lived", "adapted")}
    assert sum(counts.values()) == len(rows)
    assert 0 < guard["lived"] < metrics["decisions"]["lived"]
    assert {(row["guard"], row["wanted"], row["taken"]) for row in rows} == {("near the end", "push right", "push left")}
    assert all(row["observation"]["x"] > 0.1 for row in rows)
    assert metrics["taught"]["after"] > metrics["taught"]["before"]
    assert "rules" not in metrics
    assert not (out / "rules.txt").exists()
    page = (out / "report.html").read_text()
    for said in ("near the end", "Rules that a person taught", "asked not to"):
        assert said in page
    file.write_text(PERSON.replace("0.1", "0.2"))
    other = run(*command, "--no-explain", "--resume")
    assert other.exit_code == 2
    assert "another adaptation" in other.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guards: [{when: speed > 1, never: push left}]", "there is nothing of this name"),
        ("rules: [{when: x > 1, then: jump}]", "there is no such action"),
        ("rules: [{when: x > 1, then: push left", "no YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_person_who_is_not_understood_is_told_so_before_any_work(saved: Path, tmp_path: Path, text: str | None, said: str) -> None:
    out, file = tmp_path / "out", tmp_path / "person.yaml"
    if text is not None:
        file.write_text(text)
    result = run(str(saved), "--env", "CartPole-v1", "--output", str(out), "--rules", str(file))
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())
    assert "person.yaml" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shift", "lenght=2"], "no shift 'lenght'"),
        (["--shift", "length"], "a shift is name=value"),
        (["--env", "Acrobot-v1"], "other spaces"),
        (["--env", "CartPole-v99"], "no such environment"),
        (["--episodes", "10"], "out of range"),
        (["--plastic", "sometimes"], "when weights learn"),
        (["--discount", "1.5"], "discount is out of range"),
        (["--divergence", "0"], "divergence is out of range"),
        (["--rate", "nan"], "rate is out of range"),
        (["--resume"], "nothing to go on from"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(saved: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    out = tmp_path / "out"
    result = run(str(saved), "--env", "CartPole-v1", "--environments", "8", *arguments, "--output", str(out))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.startswith("error: ") or "\nerror: " in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_numbers_it_learns_by_are_those_that_were_asked_for(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the benchmark on LunarLander, and the library's own where nobody says."""
    courses = list[Course]()

    def adapt(policy: Any, env_id: str, shifts: Any, course: Course, **more: Any) -> Any:
        courses.append(course)
        raise KeyboardInterrupt

    monkeypatch.setattr(adapting, "adapt", adapt)
    asked = ("--rate", "0.03", "--discount", "0.995", "--divergence", "0.02", "--exploration", "0.75", "--plastic", "always")
    for options in (asked, ()):
        assert run(str(saved), "--env", "CartPole-v1", *options, "--output", str(tmp_path / "out")).exit_code == 130
    assert courses[0].learning == Learning(rate=0.03, discount=0.995, divergence=0.02)
    assert (courses[0].exploration, courses[0].plastic) == (0.75, "always")
    assert courses[1].learning == Learning()


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    result = run("policy:nowhere", "--env", "CartPole-v1", "--output", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def leaning(folder: Path) -> str:
    """A policy that pushes to where a pole leans: what rounding loses near the upright shows in its return."""
    address, generator = random_policy(folder), torch.Generator().manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    first = signs[:, None] * torch.tensor([0.0, 0.0, 1.0, 0.1]) * (0.5 + torch.rand(16, 1, generator=generator))
    last = torch.stack([-signs, signs])
    layers = {"layers.0.weight": first, "layers.0.bias": torch.zeros(16), "layers.1.weight": last, "layers.1.bias": torch.zeros(2)}
    save_file(layers, folder / "model.safetensors")
    return address


def converted(source: str, out: Path, *arguments: str) -> Any:
    said = ["convert", source, "--timesteps", "1", "--levels", "3", "--samples", "20", "--calibration-samples", "100"]
    return CliRunner().invoke(app, [*said, *arguments, "--output-dir", str(out)], env={"COLUMNS": "140"})


def test_convert_chooses_by_return_what_becomes_of_membranes(tmp_path: Path) -> None:
    source, env = leaning(tmp_path / "source"), ("--dataset", "env:CartPole-v1")
    result = converted(source, tmp_path / "auto", *env, "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics == json.loads((tmp_path / "auto" / "metrics.json").read_text())
    kept, means = metrics["residue"]["kept"], metrics["residue"]["returns"]
    assert means["carry"] != means["reset"]
    assert kept == max(means, key=means.get) == open_policy(tmp_path / "auto").residue
    other = "carry" if kept == "reset" else "reset"
    result = converted(source, tmp_path / "said", *env, "--residue", other)
    assert f"membranes between decisions: {other}" in result.stdout
    assert open_policy(tmp_path / "said").residue == other
    carries = tmp_path / ("auto" if kept == "carry" else "said")
    refused = run(str(carries), "--env", "CartPole-v1", "--output", str(tmp_path / "out"))
    assert refused.exit_code == 2
    assert "--residue reset" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_residue_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    for source, word, said in (
        (random_policy(tmp_path / "source"), "keep", "reset, carry, auto"),
        ("zoo:digits-cnn", "carry", "policies alone"),
    ):
        result = converted(source, tmp_path / "out", "--residue", word)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert not (tmp_path / "out").exists()
