"""
The tokenizer of a converted network: its files lie beside the program, under `tokenizer/`, so that a folder that was moved still reads.
"""

from pathlib import Path

from spikeloom.errors import ResourceError
from spikeloom.ir import Program, write_bytes

FOLDER = "tokenizer"
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
"""What says how a model reads and writes; all but the first may be missing."""


def keep_tokenizer(program: Program, folder: Path) -> None:
    """The files of a program's tokenizer, copied into `folder`, in the place of an earlier one's. Raises ResourceError where one cannot be
    read or written."""
    if program.settings.get("tokenizer") is None:
        return
    for path in (Path(program.settings["tokenizer"]) / name for name in FILES):
        target = folder / FOLDER / path.name
        if not path.is_file():
            target.unlink(missing_ok=True)
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ResourceError(f"cannot read {path}", found=error.strerror, todo="make it readable") from error
        write_bytes(target, data)


def moved_in(program: Program, way: str = FOLDER) -> Program:
    """The program as it is saved beside its tokenizer: the settings name it by the `way` from the program's folder."""
    if program.settings.get("tokenizer") is None:
        return program
    return program.replaced(settings={**program.settings, "tokenizer": way})


def located(program: Program, folder: Path) -> Program:
    """The program saved in `folder` as it is used: the settings name the tokenizer's whole path."""
    way = program.settings.get("tokenizer")
    return program if way is None else program.replaced(settings={**program.settings, "tokenizer": str(folder / way)})
