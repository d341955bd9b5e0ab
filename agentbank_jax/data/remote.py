"""Local copies of banks that lie at URLs; a copy is used until the original changes.

All that the project knows of fsspec is in this module.
"""

import glob
import itertools
import json
import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.data.declarations import DeclarationError, TaskDeclaration
from agentbank_jax.errors import did_you_mean, first_line
from agentbank_jax.places import PlaceError, is_remote, local_folder
from agentbank_jax.trajectories.rows.files import KINDS
from agentbank_jax.whole_files import whole_file

# In each folder of copies: the versions of their originals.
_RECORD = ".copied.json"


def fetch_tasks(
    place: str,
    tasks: Iterable[TaskDeclaration],
    *,
    beside: Sequence[str] = ("vocabulary",),
    split: str = "train",
) -> Path:
    """Copies what tasks need of a remote data folder; returns the local folder that holds it.

    Args:
      place: the data folder; of a local one nothing is copied.
      tasks: those whose files are needed.
      beside: more files or folders of the data folder, copied where they exist.
      split: whose files; of another than `train` there may be none.

    Raises:
      PlaceError: where the place cannot be read.
      DeclarationError: where it holds no training trajectories of a task.
    """
    if is_remote(place):
        remote = RemoteFolder(place)
        for task in tasks:
            if task.files:
                remote.copy([pattern for name in task.files_in_data_dir for pattern in (name, f"{name}/*")])
            elif not remote.copy_split(task.config, split=split) and split == "train":
                raise DeclarationError(
                    f"task '{task.name}': no trajectories in {remote.url}/{task.config}; expected "
                    f"train-00000-of-00001.parquet or more shards; {remedy_for(task, place)}."
                )
        for name in beside:
            remote.copy([name, f"{name}/*"])
    return local_folder(place)


def fetch_paths(paths: Sequence[str], *, nested: bool = False) -> list[str]:
    """Returns local paths as they are, and for remote ones those of their copies.

    Args:
      paths: files, glob patterns, or folders, of which the training files are copied.
      nested: whether a folder stands for those in its folders too.

    Raises:
      PlaceError: where a URL cannot be read, or names no file.
    """
    found: list[str] = []
    for path in paths:
        if not is_remote(path):
            found.append(path)
            continue
        parts = path.rstrip("/").split("/")
        # The protocol and the host or bucket name no file.
        plain = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts[:-1]))
        depth = max(len(plain), 3)
        copies = RemoteFolder("/".join(parts[:depth])).copy(["/".join(parts[depth:])]) if parts[depth:] else []
        if not copies and not glob.has_magic(path):
            copies = RemoteFolder(path).copy_split("", *(["*"] if nested else []))
            # The copies of files that are gone may lie in a folder that is gone too.
            copies = copies if nested or not copies else [local_folder(path)]
        if not copies:
            raise PlaceError(
                f"{path}: no such files; expected trajectories as {', '.join(KINDS)}, or a folder with files "
                f"train*{KINDS[0]}, …"
            )
        found += map(str, copies)
    return found


def has_training_files(place: str, config: str) -> bool:
    """Whether a data folder holds training files of a config; of a remote one nothing is copied."""
    if is_remote(place):
        return bool(RemoteFolder(place).find_split(config))
    return any((Path(place) / config).glob("train*"))


def has_path(place: str, name: str) -> bool:
    """Whether a data folder holds a file or folder; of a remote one nothing is copied."""
    if is_remote(place):
        return bool(RemoteFolder(place).find(name))
    return (Path(place) / name).exists()


def remedy_for(task: TaskDeclaration, place: str) -> str:
    """Returns how a user gets a task's files into a local or remote data folder."""
    if not is_remote(place):
        return task.remedy_for(place)
    return f"{task.remedy_for('data')}, then copy ./data to {place}"


class RemoteFolder:
    """A folder at a URL.

    Fields:
      url: without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        """Makes ready to read; whether the folder exists is seen when it is.

        Raises:
          PlaceError: on an unknown protocol, or one whose library is missing.
        """
        import fsspec

        # It writes the traceback of every request that fails, and what fails is told as an error of this module.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
        self.url = url.rstrip("/")
        protocol = self.url.partition("://")[0].rpartition("::")[2]
        try:
            self._files, root = fsspec.url_to_fs(self.url)
        except ImportError as error:
            remedy = "install it with: pip install gcsfs (the extra [gcs])" if protocol in ("gs", "gcs") else str(error)
            raise PlaceError(f"{self.url}: the library that reads {protocol}:// is missing; {remedy}.") from None
        except ValueError as error:
            known = fsspec.available_protocols()
            reason = f"{error}.{did_you_mean(protocol, known)}" if protocol not in known else str(error)
            raise PlaceError(f"{self.url}: cannot be read: {reason}") from None
        except Exception as error:  # Every file system raises its own kinds.
            raise self._unreadable(error) from None
        self._root = root.rstrip("/")

    def find(self, pattern: str) -> Mapping[str, Mapping[str, Any]]:
        """Returns path and description of what matches a glob pattern in the folder, sorted by path."""
        try:
            found = self._files.glob(posixpath.join(self._root, pattern), detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._unreadable(error) from None
        return dict(sorted(found.items()))

    def find_split(self, *folders: str, split: str = "train") -> Mapping[str, Mapping[str, Any]]:
        """Returns path and description of the files of a split in folders, which may be patterns."""
        found: dict[str, Mapping[str, Any]] = {}
        for folder in folders:
            found |= self.find(posixpath.join(folder, f"{split}*"))
        return {path: facts for path, facts in found.items() if path.endswith(KINDS)}

    def copy(self, patterns: Sequence[str]) -> list[Path]:
        """Copies the files that match; returns the copies."""
        return self._copy({path: facts for pattern in patterns for path, facts in self.find(pattern).items()})

    def copy_split(self, *folders: str, split: str = "train") -> list[Path]:
        """Copies the files of a split in folders, and removes copies of what is gone, unless all of `train` is."""
        copies = self._copy(self.find_split(*folders, split=split))
        kept = set(copies)
        of_split = set() if split == "train" else {local_folder(f"{self.url}/{folder}") for folder in folders}
        for folder in {copy.parent for copy in copies} | of_split:
            for file in folder.glob(f"{split}*"):
                if file not in kept:
                    file.unlink()
        return copies

    def _copy(self, files: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        copies = []
        for path, facts in files.items():
            if facts["type"] != "file":
                continue
            relative = path.removeprefix(self._root).lstrip("/")
            copy = local_folder(f"{self.url}/{relative}")
            try:
                self._copy_file(path, copy)
            except Exception as error:
                raise PlaceError(f"{self.url}/{relative}: cannot be copied to {copy} ({first_line(error)}).") from None
            copies.append(copy)
        return copies

    def _copy_file(self, path: str, copy: Path) -> None:
        record = copy.with_name(_RECORD)
        versions = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        version = self._files.ukey(path)
        if versions.get(copy.name) == version and copy.is_file():
            return
        with whole_file(copy) as temporary:
            self._files.get_file(path, str(temporary))
        with whole_file(record) as temporary:
            temporary.write_text(json.dumps({**versions, copy.name: version}), encoding="utf-8")

    def _unreadable(self, error: Exception) -> PlaceError:
        return PlaceError(
            f"{self.url}: cannot be read ({first_line(error)}); expected a place that exists and that you may read."
        )
