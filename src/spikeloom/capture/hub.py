"""
Files of the Hugging Face hub: from the cache where they are, else fetched; never a long wait for a network that is not there.

The hub's own client repeats a failed request for half a minute a file, so the hub is asked once, with a time limit, before anything else.
`HF_HUB_OFFLINE`, `HF_ENDPOINT` and a login are respected as the client does.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import build_hf_headers

from spikeloom.capture.opened import WAYS_ON, why
from spikeloom.errors import SourceError

TIMEOUT_SECONDS = 5.0


def hub_folder(name: str, patterns: Sequence[str], complete: Callable[[Path], bool]) -> Path:
    """
    The folder with the files of a hub id that match the patterns; a cached copy for which `complete` holds is taken as it is.

    SourceError: not a hub id, no such model, offline or unreachable (within TIMEOUT_SECONDS).
    """
    try:
        cached = Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        if complete(cached):
            return cached
    except HFValidationError as error:
        raise SourceError(f"{name!r} is neither a folder nor a hub id", found=why(error), allowed="owner/name, or a folder") from error
    except LocalEntryNotFoundError:
        pass
    if is_offline_mode():
        raise unavailable(name, "it is not in the cache, and HF_HUB_OFFLINE is set")
    reach(name)
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), etag_timeout=TIMEOUT_SECONDS))
    except Exception as error:  # the client raises its own, its http library's and the system's errors
        raise unavailable(name, why(error)) from error


def reach(name: str) -> None:
    """The hub answers and has this model. SourceError where not, at the latest after TIMEOUT_SECONDS a request."""
    url = f"{constants.ENDPOINT}/{name}/resolve/main/config.json"
    request = urllib.request.Request(url, headers=build_hf_headers(), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            todo = f"check the spelling, or log in where it is a gated model; else {WAYS_ON}"
            raise SourceError(f"the hub has no model {name!r} for you", found=f"HTTP {error.code} for {url}", todo=todo) from error
        raise unavailable(name, f"HTTP {error.code} for {url}") from error
    except (OSError, ValueError) as error:
        raise unavailable(name, f"{url}: {why(error)}") from error


def unavailable(name: str, reason: str) -> SourceError:
    """The error for weights that cannot be had here, with the ways on."""
    return SourceError(f"the model {name!r} cannot be had from the Hugging Face hub", found=reason, todo=WAYS_ON)
