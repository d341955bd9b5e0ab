"""Where the user keeps the published benchmarks, and the problems in their files.

The project ships none of them. Each benchmark has a folder of its name, in the layout of its publisher, in the folder
that `BenchmarkConfig.data_dir` or the environment variable `AGENTBANK_BENCHMARKS` names.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias, TypedDict

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentRegistryError, Split, check_index, check_split
from agentbank_jax.errors import AgentBankError

DATA_VARIABLE = "AGENTBANK_BENCHMARKS"

Reader: TypeAlias = Callable[[Path, Split], Iterable[Instance]]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Where benchmarks are.

    Fields:
      data_dir: a folder that holds one folder per benchmark, such as `gsm8k`; None takes the environment
        variable AGENTBANK_BENCHMARKS.
      paths: benchmark → its folder, or the file of its test problems, where it lies elsewhere; or benchmark/split → the
        file of that split, such as `gsm8k/train`.
    """

    data_dir: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)

    def folder(self, name: str) -> Path | None:
        """The folder or file of a benchmark; None where nothing names one."""
        if name in self.paths:
            return Path(self.paths[name]).expanduser()
        root = self.data_dir or os.environ.get(DATA_VARIABLE)
        return Path(root).expanduser() / name if root else None


_config: list[BenchmarkConfig] = [BenchmarkConfig()]


def configure(config: BenchmarkConfig) -> None:
    """Lets all benchmarks be looked for where `config` says."""
    _config[0] = config


def folder(name: str) -> Path | None:
    """The configured folder or file of a benchmark; None where nothing names one."""
    return _config[0].folder(name)


class Bound(TypedDict):
    """Those fields of an `EnvironmentSpec` that follow from its data."""

    name: str
    instance: Callable[[str, int], Instance]
    size: Callable[[str], int]
    data_version: Callable[[], str]
    available: Callable[[], str | None]
    engine: Callable[[], str | None]


@dataclass(frozen=True, kw_only=True)
class PublishedData:
    """The problems of one benchmark, read once and kept.

    Fields:
      name: of the benchmark and its folder.
      files: split → patterns of its files in the folder; they are read in the order of their names.
      read: yields the instances of one file; raises `AgentBankError` naming file, row and field.
      source: where a user gets the test problems: the publisher and, in brackets, the path there.
      train_source: where a user gets the training problems, in the same form; empty where the publisher has none.
      engine: None where what plays them can run here, else the reason and the remedy.
    """

    name: str
    files: Mapping[Split, tuple[str, ...]]
    read: Reader
    source: str
    engine: Callable[[], str | None] = field(default=lambda: None)
    train_source: str = ""

    def bound(self) -> Bound:
        """What the environment of the benchmark takes from its data; the rest of an `EnvironmentSpec` is its own."""
        return Bound(
            name=self.name,
            instance=self.instance,
            size=self.size,
            data_version=self.version,
            available=self.available,
            engine=self.engine,
        )

    def instance(self, split: str, index: int) -> Instance:
        """Returns problem `index` of a split.

        Raises:
          EnvironmentRegistryError: there is no such split, file or problem, or a file that is named for training is
            called as those with test problems are.
          AgentBankError: a file cannot be read.
        """
        instances = self.instances(split)
        check_index(self.name, split, index, len(instances))
        return instances[index]

    def instances(self, split: str) -> tuple[Instance, ...]:
        """Returns all problems of a split; raises as `instance`."""
        files = self._files(check_split(split))
        if not files:
            raise EnvironmentRegistryError(f"{self.name}: {self._missing(check_split(split))}.")
        if split == "train" and (named := self._named_file("train")) is not None and self._is_test_file(named):
            raise EnvironmentRegistryError(
                f"{self.name}: {named} is named as test problems are; expected train problems from "
                f"{self._source('train')}: rename the file if it holds such."
            )
        return _read(self.read, tuple((path, path.stat().st_mtime_ns) for path in files), check_split(split))

    def size(self, split: str) -> int:
        """Returns how many problems a split holds; raises as `instance`."""
        return len(self.instances(split))

    def available(self) -> str | None:
        """None where the test problems can be played here, else the reason and the remedy."""
        if not self._files("test"):
            return self._missing("test")
        return self.engine()

    def version(self) -> str:
        """A hash of the files of all splits."""
        digest = hashlib.sha256()
        # One file may hold both splits.
        for path in dict.fromkeys(path for split in sorted(self.files) for path in self._files(split)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def _files(self, split: Split) -> list[Path]:
        if (named := self._named_file(split)) is not None:
            return [named] if named.is_file() else []
        place = folder(self.name)
        if place is None:
            return []
        if place.is_file():
            return [place] if split == "test" else []
        return sorted({path for pattern in self.files.get(split, ()) for path in place.glob(pattern)})

    def _named_file(self, split: Split) -> Path | None:
        name = f"{self.name}/{split}"
        return folder(name) if name in _config[0].paths else None

    def _source(self, split: Split) -> str:
        return self.train_source if split == "train" else self.source

    def _is_test_file(self, path: Path) -> bool:
        # Where the publisher has no train problems, the user may name those of test as such.
        if "train" not in self.files:
            return False
        whole = path.absolute()
        return any(whole.match(pattern) for pattern in self.files.get("test", ())) and not any(
            whole.match(pattern) for pattern in self.files["train"]
        )

    def _missing(self, split: Split) -> str:
        if (named := self._named_file(split)) is not None:
            if split not in self.files:
                return f"{named} is no file; its publisher has no {split} problems: expected a file used as such"
            return f"{named} is no file; expected {split} problems from {self._source(split)}"
        if split not in self.files:
            return (
                f"its publisher has no {split} problems; name a file that may be used as such with "
                f"--gin.BenchmarkConfig.paths=\"{{'{self.name}/{split}': 'FILE'}}\""
            )
        place = folder(self.name)
        patterns = " or ".join(self.files[split])
        if place is None:
            where = "no folder of benchmarks is named"
        elif place.is_file():
            where = f"{place} has problems of test alone: it is a file"
        else:
            where = f"{place} holds no {patterns}"
        return (
            f"{where}; get it from {self._source(split)}, put it into a folder {self.name}/, and name the folder "
            f"around that with --gin.BenchmarkConfig.data_dir=PATH or {DATA_VARIABLE}"
        )


@lru_cache(maxsize=32)
def _read(read: Reader, files: tuple[tuple[Path, int], ...], split: Split) -> tuple[Instance, ...]:
    instances = tuple(instance for path, _ in files for instance in read(path, split))
    if not instances:
        raise AgentBankError(f"{files[0][0]}: holds no row; expected at least one.")
    return instances
