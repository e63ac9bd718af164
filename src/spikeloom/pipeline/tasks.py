"""Which task a model is for, by what its source says."""

from collections.abc import Mapping

from spikeloom.pipeline.acting import ACTING
from spikeloom.pipeline.language import LANGUAGE
from spikeloom.pipeline.outputs import OUTPUTS
from spikeloom.pipeline.pictures import PICTURES
from spikeloom.pipeline.sentences import SENTENCES
from spikeloom.pipeline.task import Facts, Task

TASKS: Mapping[str, Task] = {"text-generation": LANGUAGE, "feature-extraction": SENTENCES, "acting": ACTING}


def task_of(facts: Facts) -> Task:
    """The task of a model; what is no reader of texts classifies pictures, or is judged by its outputs where these are no classes'."""
    others = facts.get("classes", 0) is None and facts.get("vocabulary") is None
    return TASKS.get(str(facts.get("task")), OUTPUTS if others else PICTURES)
