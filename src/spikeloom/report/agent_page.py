"""
The page of an adaptation: one HTML file that needs nothing else, in the style and under the policy of `page`.
"""

from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from spikeloom.ir import write_bytes
from spikeloom.report import agent_charts, agent_verdict
from spikeloom.report.agent_data import AgentStory
from spikeloom.report.page import environment, policy


def render_agent(story: AgentStory) -> str:
    """The whole page as HTML: no request, no outside file; every text of the story escaped."""
    template = files("spikeloom.report") / "template"
    style, own, script = ((template / name).read_text("utf-8") for name in ("style.css", "agent.css", "script.js"))
    return (
        environment()
        .get_template("agent.html")
        .render(
            story=story,
            metrics=story.metrics,
            drawing=agent_charts,
            judging=agent_verdict,
            style=Markup(style + own),
            script=Markup(script),
            policy=policy(script),
        )
    )


def write_agent(story: AgentStory, path: Path) -> None:
    """Write the page whole or not at all. Raises ResourceError when the disk refuses."""
    write_bytes(path, render_agent(story).encode())
