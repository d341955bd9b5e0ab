"""Where banks lie: in a local folder, or at a URL such as gs://bucket/banks.

Whatever reads a bank reads local files. `data.remote` copies those of a URL first, into a folder
below `./data/remote` that stands for the data folder: what is made from the bank (token cache,
vocabulary) lies there too, unless a flag names another place.
"""

import os
import re
from pathlib import Path

from agentbank_jax.errors import AgentBankError

DATA_DIR_VARIABLE = "AGENTBANK_DATA_DIR"
COPIES = Path("data", "remote")


class PlaceError(AgentBankError):
    """A URL that cannot be read, or that stands where only a local path can."""


def data_place(given: str | None = None) -> str:
    """Returns where banks are: `given`, else $AGENTBANK_DATA_DIR, else ./data; `~` is expanded."""
    return os.path.expanduser(given or os.environ.get(DATA_DIR_VARIABLE) or "data")


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether a place is a URL rather than a local path."""
    return "://" in os.fspath(place)


def local_folder(place: str | os.PathLike[str]) -> Path:
    """Returns a local place as it is, and of a remote one the folder of its copy."""
    if not is_remote(place):
        return Path(place)
    protocol, _, path = os.fspath(place).partition("://")
    # What may not stand in a file name, and `..`, which would lead out of the folder, become `_`.
    return COPIES.joinpath(*(re.sub(r"[^\w.-]|^\.+$", "_", part) for part in (protocol, *path.split("/")) if part))


def local_path(path: str, flag: str) -> Path:
    """Returns the path of something that is to be written; `~` is expanded.

    Raises:
      PlaceError: where it is a URL; names the flag that chose it.
    """
    if is_remote(path):
        raise PlaceError(
            f"{flag}={path}: only local files are written; expected a local path, which may be a mounted bucket."
        )
    return Path(path).expanduser()
