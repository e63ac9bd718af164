"""
The page of a logic-gated network: one HTML file that needs nothing else, in the style and under the policy of `page`.
"""

from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from spikeloom.ir import write_bytes
from spikeloom.report import logic_charts, logic_verdict
from spikeloom.report.logic_data import LogicStory
from spikeloom.report.page import environment, policy

TABLE_CLASSES = 20
"""Confusion matrices of more classes are drawn as pictures."""


def render_logic(story: LogicStory) -> str:
    """The whole page as HTML: no request, no outside file; every text of the story escaped."""
    template = files("spikeloom.report") / "template"
    style, own, script = ((template / name).read_text("utf-8") for name in ("style.css", "logic.css", "script.js"))
    return (
        environment()
        .get_template("logic.html")
        .render(
            story=story,
            metrics=story.metrics,
            drawing=logic_charts,
            judging=logic_verdict,
            tabled=TABLE_CLASSES,
            style=Markup(style + own),
            script=Markup(script),
            policy=policy(script),
        )
    )


def write_logic(story: LogicStory, path: Path) -> None:
    """Write the page whole or not at all. Raises ResourceError when the disk refuses."""
    write_bytes(path, render_logic(story).encode())
