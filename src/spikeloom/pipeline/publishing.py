"""
What a folder of results holds beside its networks: metrics.json, story.json, report.html and the model card.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.errors import ResourceError
from spikeloom.ir import write_bytes, write_json
from spikeloom.pipeline.card import card
from spikeloom.report import AgentStory, LogicStory, Story, write, write_agent, write_logic
from spikeloom.report.agent_data import FORM as AGENT_FORM
from spikeloom.report.logic_data import FORM


def check_folder(folder: Path) -> None:
    """The output folder is there. Raises ResourceError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}", found=error.strerror, todo="choose another --output-dir") from error


def publish(folder: Path, found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Metrics, story, report and model card in `folder`, with the rows of a sweep where there was one."""
    story = Story.from_json({**found["story"], "sweep": rows})
    if rows:
        write_json(folder / "sweep.json", {"rows": rows})
    else:
        (folder / "sweep.json").unlink(missing_ok=True)
    write_json(folder / "metrics.json", found["metrics"])
    write_json(folder / "story.json", story.to_json())
    write(story, folder / "report.html")
    write_bytes(folder / "README.md", card(story).encode())


def report_folder(folder: Path) -> Path:
    """`report.html` rendered again from `story.json`."""
    path = folder / "story.json"
    if not path.is_file():
        raise ResourceError(f"{folder} holds no story.json", todo="run `spikeloom convert`, `train` or `adapt` into it first")
    told = json.loads(path.read_text())
    if told.get("form") == FORM:
        write_logic(LogicStory.from_json(told), folder / "report.html")
    elif told.get("form") == AGENT_FORM:
        write_agent(AgentStory.from_json(told), folder / "report.html")
    else:
        write(Story.from_json(told), folder / "report.html")
    return folder / "report.html"
