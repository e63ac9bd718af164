"""
Pictures and whatever a network makes of them: the task of networks of pictures that are no classifiers, such as the towers of CLIP,
segmenters and detectors. There are no right answers here: they are judged by how near their first output is to the ANN's.
"""

from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.pipeline import pictures
from spikeloom.pipeline.embeddings import Embeddings
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.task import Facts, Task

JUDGED = "a model that is no classifier is judged by how near its first output is to the ANN's"


def embed(outputs: Tensor, inputs: tuple[Tensor, ...], labels: Tensor | None) -> Float[Tensor, "b c"]:
    """All numbers of each sample's output."""
    return outputs.flatten(1)


def check(facts: Facts, settings: Settings) -> None:
    """Raises ConfigError where samples were to stop once their class is sure, DataError where there are no such data."""
    if settings.early_exit:
        raise ConfigError("evaluation.early_exit is for classifiers", found=f"{facts.get('source')} gives no classes", todo="leave it out")
    pictures.check(facts, settings)


def tally(networks: Networks, classes: int | None = None, margin: float | None = None) -> Embeddings:
    """What judges networks by their outputs."""
    return Embeddings(networks, embed, "samples", JUDGED)


OUTPUTS = Task(
    unit="samples",
    profiled=128,
    exits=False,
    facts=pictures.facts_of,
    check=check,
    samples=pictures.samples,
    at_once=pictures.at_once,
    tally=tally,
)
