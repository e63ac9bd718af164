"""
The model card: what a folder holds, in words, for the Hugging Face hub and for whoever finds it.
"""

from spikeloom.report import Story, sentence, text


def card(story: Story) -> str:
    """A README.md with the hub's metadata block."""
    head = "---\nlibrary_name: spikeloom\ntags:\n- spiking-neural-network\n---\n"
    facts = "\n".join(f"- {key}: {value}" for key, value in story.settings.items() if key != "class_names")
    use = '```python\nfrom spikeloom import SpikingModel\n\nsnn = SpikingModel.from_pretrained("this folder")\n```'
    paragraphs = (f"# {story.title}, as a spiking network", text(sentence(story)), "See `report.html` for everything measured.", use, facts)
    return f"{head}\n" + "\n\n".join(paragraphs) + "\n"
