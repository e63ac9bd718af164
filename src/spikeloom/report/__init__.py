"""The page a person reads: one self-contained report.html from plain data (floor 5)."""

from spikeloom.report.agent_data import AgentStory
from spikeloom.report.agent_page import render_agent, write_agent
from spikeloom.report.clip import clip
from spikeloom.report.data import Story
from spikeloom.report.logic_data import LogicStory
from spikeloom.report.logic_page import render_logic, write_logic
from spikeloom.report.page import render, write
from spikeloom.report.verdict import sentence, text

__all__ = [
    "AgentStory",
    "LogicStory",
    "Story",
    "clip",
    "render",
    "render_agent",
    "render_logic",
    "sentence",
    "text",
    "write",
    "write_agent",
    "write_logic",
]
