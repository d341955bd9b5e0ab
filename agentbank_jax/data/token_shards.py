"""Shards: the tokens of a span of rows, made one by one, in any order and by any process, and always the same."""

import io
import itertools
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.data.over_long import OverLongPolicy, check_policy, fit_to_length
from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.trajectories.formats.registry import AUTO, detect_format, get_format
from agentbank_jax.trajectories.rows.files import RowReader, RowSpan
from agentbank_jax.trajectories.rows.spans import find_spans
from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.whole_files import whole_file

SHARD_ROWS = 1024
"""Rows of a shard: what is lost when a process is killed, and what one has to do at least."""

AGENTBANK = "agentbank"
"""The name of the released layout."""

# Trajectories that are tokenised by one call.
_BATCH = 256

COUNTS = ("read", "kept", "dropped", "truncated", "split", "lost_turns")

TOKEN_DTYPES = (np.dtype(np.uint16), np.dtype(np.int32))
"""Of ids: the first where every id fits into it."""

# What NumPy raises of a file that is no whole archive of plain arrays; it reads no pickles.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)


class TokenCacheError(AgentBankError):
    """A cache that is damaged or cannot be written, or sources without a usable trajectory."""


@dataclass(frozen=True, kw_only=True)
class ShardRecipe:
    """What turns rows into tokens, the same for all shards.

    Fields:
      template: turns trajectories into ids; holds the tokenizer.
      max_length: places of a row of tokens; a trajectory of n tokens takes n - 1 of them.
      over_long: what becomes of trajectories that do not fit.

    Raises:
      AgentBankError: on an unknown policy.
    """

    template: ChatTemplate
    max_length: int
    over_long: OverLongPolicy

    def __post_init__(self) -> None:
        check_policy(self.over_long)

    @property
    def dtype(self) -> np.dtype:
        """Of the ids."""
        return TOKEN_DTYPES[self.template.tokenizer.vocab_size > 1 << 16]


@dataclass(frozen=True, kw_only=True)
class ShardSource:
    """The rows of a shard.

    Fields:
      name: the shard's file, such as `shard-00003-of-00052.npz`.
      task: the task's name.
      instruction: the system turn of its trajectories; None where they bring their own or none.
      layout: of the rows, a name out of `trajectories.formats.registry.FORMATS`.
      path, span: where the rows stand.
    """

    name: str
    task: str
    instruction: str | None
    layout: str
    path: Path
    span: RowSpan

    def trajectories(self) -> Iterator[Trajectory]:
        """Yields what the rows say.

        Raises:
          TrajectoryError: on a file or a row that breaks the layout; names file, row and field.
        """
        layout = get_format(self.layout)
        for number, row in RowReader(self.path, columns=layout.columns, span=self.span):
            yield layout.trajectory_from_row(
                layout.with_id(row, self.path, number),
                where=f"{self.path}, row {number}",
                task=self.task,
                instruction=self.instruction,
            )


@dataclass(frozen=True, kw_only=True)
class TokenShard:
    """The tokens of a shard's trajectories.

    Fields:
      tokens: token ids of all trajectories, one after the other.
      trained: whether each token is trained.
      lengths: tokens of each trajectory.
      turns: assistant turns of each trajectory.
      ids: the trajectories' ids.
      counts: how many of `COUNTS`; see `TaskTokens.manifest`.
    """

    tokens: Int[np.ndarray, " tokens"]
    trained: Bool[np.ndarray, " tokens"]
    lengths: Int[np.ndarray, " trajectories"]
    turns: Int[np.ndarray, " trajectories"]
    ids: tuple[str, ...]
    counts: dict[str, int]

    def to_bytes(self) -> bytes:
        """Returns the content of the shard's file, an `.npz`, whose parts carry checksums."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            tokens=self.tokens,
            trained=self.trained,
            lengths=self.lengths,
            turns=self.turns,
            ids=np.frombuffer(json.dumps(self.ids).encode(), np.uint8),
            counts=np.array([self.counts[name] for name in COUNTS], np.int64),
        )
        return buffer.getvalue()

    @classmethod
    def from_file(cls, path: Path) -> "TokenShard":
        """Reads a shard and checks its checksums.

        Raises:
          TokenCacheError: where it is damaged or cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(
                    tokens=arrays["tokens"],
                    trained=arrays["trained"],
                    lengths=arrays["lengths"],
                    turns=arrays["turns"],
                    ids=tuple(json.loads(arrays["ids"].tobytes())),
                    counts=dict(zip(COUNTS, arrays["counts"].tolist(), strict=True)),
                )
        except _UNREADABLE as error:
            raise TokenCacheError(f"{path}: damaged ({first_line(error)}). Remove it; it will be made again.") from None


def divide_into_shards(task: str, files: Sequence[Path], *, instruction: str | None, layout: str) -> list[ShardSource]:
    """Returns the shards of a task's files, in order; they depend on nothing but the files.

    Args:
      task, instruction, layout: as the fields of `ShardSource`; `auto` tells a file's layout by its first row.
      files: what holds the rows.

    Raises:
      TrajectoryError: on a file of an unknown kind or, with `auto`, one that cannot be read or is of no known layout.
    """
    spans = [(path, span) for path in files for span in find_spans(path, SHARD_ROWS)]
    layouts = {path: _layout_of(path, span) if layout == AUTO else layout for path, span in reversed(spans)}
    return [
        ShardSource(
            name=f"shard-{number:05d}-of-{len(spans):05d}.npz",
            task=task,
            instruction=instruction,
            layout=layouts[path],
            path=path,
            span=span,
        )
        for number, (path, span) in enumerate(spans)
    ]


def _layout_of(path: Path, span: RowSpan) -> str:
    for number, row in RowReader(path, span=span):
        return detect_format(row, f"{path}, row {number}").name
    return AGENTBANK


def make_shard(source: ShardSource, recipe: ShardRecipe, *, num_threads: int = 1) -> TokenShard:
    """Tokenises the rows of a shard.

    Args:
      source: its rows.
      recipe: how they become tokens.
      num_threads: of the tokenizer.

    Raises:
      TrajectoryError: on a row that breaks the layout or that the template cannot represent.
    """
    tokens: list[np.ndarray] = []
    trained: list[np.ndarray] = []
    turns: list[int] = []
    ids: list[str] = []
    counts = dict.fromkeys(COUNTS, 0)
    trajectories = source.trajectories()
    while batch := list(itertools.islice(trajectories, _BATCH)):
        for encoded in recipe.template.encode_batch(batch, num_threads=num_threads):
            fitted = fit_to_length(encoded, recipe.max_length + 1, recipe.over_long)
            counts["read"] += 1
            if not fitted.parts:
                counts["dropped"] += 1
                continue
            counts["kept"] += len(fitted.parts)
            counts["lost_turns"] += fitted.lost_turns
            if fitted.parts[0] is not encoded:
                counts["split" if recipe.over_long == "split_at_turn" else "truncated"] += 1
            for part in fitted.parts:
                tokens.append(part.tokens.astype(recipe.dtype))
                trained.append(part.trained)
                turns.append(part.assistant_turns)
                ids.append(part.id)
    return TokenShard(
        tokens=np.concatenate([np.zeros(0, recipe.dtype), *tokens]),
        trained=np.concatenate([np.zeros(0, np.bool_), *trained]),
        lengths=np.array([len(part) for part in tokens], np.int64),
        turns=np.array(turns, np.int32),
        ids=tuple(ids),
        counts=counts,
    )


def write_shard(source: ShardSource, recipe: ShardRecipe, folder: str | os.PathLike[str], *, num_threads: int) -> None:
    """Makes a shard and writes it into `folder`, where it appears only when it is whole.

    Raises:
      AgentBankError: as `make_shard`, or where the folder cannot be written.
    """
    shard = make_shard(source, recipe, num_threads=num_threads)
    path = Path(folder) / source.name
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(shard.to_bytes())
    except OSError as error:
        raise TokenCacheError(f"{path}: cannot be written ({error.strerror}); name another folder.") from None
