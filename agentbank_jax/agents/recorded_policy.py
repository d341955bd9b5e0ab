"""Replies that were recorded: the episodes of a sweep, or the trajectories of a bank, played again.

It shows whether a file's conversations reach what they say they do, in the environments of now.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.agents.policy import ImmediatePolicy, Reply, Request
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.formats.agentbank import turns_from_row
from agentbank_jax.trajectories.formats.fields import identifier_of
from agentbank_jax.trajectories.rows.files import KINDS, RowReader
from agentbank_jax.trajectories.schema import Turn

DEPARTURES = "departures"
"""The figure of an episode in which the environment said something else than in the recording: how often."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Recorded conversations, by task and by the id of the episode or of its instance.

    Fields:
      name: of its folder or file.
      fingerprint: hash of its files.
      episodes: how many there are.
      trials: (task or "", id) → the conversations of an episode's trials, without instructions.
    """

    name: str
    fingerprint: str
    episodes: int
    trials: Mapping[tuple[str, str], Sequence[Sequence[Turn]]]

    @classmethod
    def read(cls, place: Path) -> "Recording":
        """Reads the episodes of one column of a sweep (`<sweep>/<model>/<agent>`), or trajectories in the released
        layout: a file, or a folder of files. Where an id comes several times the last one counts, as in the results of
        a sweep; among the seeds of an instance, the first.

        Raises:
          AgentBankError: there is none, or one that cannot be read.
        """
        files = _files(place)
        trials: dict[tuple[str, str], Sequence[Sequence[Turn]]] = {}
        by_instance: dict[tuple[str, str], Sequence[Sequence[Turn]]] = {}
        for file in files:
            for number, row in RowReader(file, columns=("id", "conversations")):
                where = f"{file}, row {number}"
                if not row.get("conversations"):  # its environment failed before it said anything
                    continue
                conversations = tuple(_conversation(one, where) for one in _conversations(row))
                task = str(row.get("task") or "")
                trials[task, identifier_of(row, where)] = conversations
                if row.get("instance_id"):
                    by_instance.setdefault((task, str(row["instance_id"])), conversations)
        return cls(
            name=recording_name(place),
            fingerprint=_fingerprint(files),
            episodes=len(trials),
            trials={**by_instance, **trials},
        )

    def of(self, task: str, episode: str, instance_id: str) -> Sequence[Sequence[Turn]] | None:
        """The conversations of an episode's trials; None where there is no such episode."""
        for key in ((task, episode), (task, instance_id), ("", episode), ("", instance_id)):
            if key in self.trials:
                return self.trials[key]
        return None


class RecordedPolicy(ImmediatePolicy):
    """The replies of a recording, one after the other, whatever the environment says.

    An observation other than the recorded one is counted in the episode's figure `departures`. An episode that was not
    recorded, or goes on after its record ended, has `no_reply`.
    """

    def __init__(self, recording: Recording, *, name: str | None = None, capacity: int = 64) -> None:
        super().__init__(name=name or recording.name, capacity=capacity)
        self._recording = recording

    def reply(self, request: Request) -> Reply:
        trials = self._recording.of(request.task, request.episode, request.instance_id) or ()
        recorded = trials[request.trial - 1] if request.trial <= len(trials) else ()
        told = [turn.content for turn in request.turns if turn.role == "user"]
        replies = [turn.content for turn in recorded if turn.role == "assistant"]
        said = sum(turn.role == "assistant" for turn in request.turns)
        if said >= len(replies):
            return Reply(text="", ended="no_reply")
        expected = [turn.content for turn in recorded if turn.role == "user"]
        departures = sum(here != there for here, there in zip(told, expected, strict=False))
        return Reply(text=replies[said], figures={DEPARTURES: departures} if departures else {})


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        beside = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
        raise AgentBankError(
            f"recording:{place} does not exist; expected recorded episodes, such as "
            f"runs/samoyed_tiny/evaluation/held_in/samoyed_tiny/react.{did_you_mean(place.name, beside)}"
        )
    files = sorted(path for path in place.iterdir() if path.name.lower().endswith(KINDS) and path.is_file())
    if not files:
        raise AgentBankError(
            f"recording:{place} holds no .jsonl, .json or .parquet; expected the folder of a column of a sweep, "
            "<sweep>/<model>/<agent>, or one of a bank."
        )
    return files


def recording_name(place: Path) -> str:
    """What a recording is called: `recorded-` and the model and agent of a sweep's column, or the file or folder."""
    place = place.absolute()
    # A column's folder is called as its agent is, and stands in that of its model.
    names = (place.parent.name, place.name) if (place.parent.parent / "sweep.json").is_file() else (place.name,)
    return "-".join(("recorded", *names)).split(".", 1)[0]


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _conversations(row: Mapping[str, Any]) -> list[Any]:
    earlier = row.get("earlier") or []
    return [*(earlier if isinstance(earlier, list) else [earlier]), row["conversations"]]


def _conversation(messages: Any, where: str) -> tuple[Turn, ...]:
    turns = turns_from_row({"conversations": messages}, where)
    return tuple(turn for turn in turns if turn.role != "system")
