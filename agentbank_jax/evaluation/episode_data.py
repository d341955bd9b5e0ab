"""The episodes of a report, packed into its page: `episodes.js` unpacks what a reader opens or searches."""

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.episode import TERMINATE_REASONS
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.failure import explain, first_invalid
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.presentation.printable import printable

_BLOCK = 50
_LEVEL = 6
_SHORT = 2_000
_FIELDS = ("sweep", "task", "model", "outcome", "reason", "reward", "steps", "id", "instance", "block", "place")
_FAILURE, _SUCCESS, _ERROR, _LEFT_OUT = range(4)
_SPEAKERS = {"human": "environment", "gpt": "agent"}


@dataclass(kw_only=True)
class PackedEpisodes:
    """Episodes as HTML.

    Fields:
      html: data that no browser runs or shows.
      shown, known: how many episodes are in it, and how many there are.
    """

    html: str = ""
    shown: int = 0
    known: int = 0


def pack(sheets: Sequence[Sheet], *, limit: int | None = None) -> PackedEpisodes:
    """Packs episodes in blocks: an index that says what there is, and the texts.

    Args:
      sheets: all of them.
      limit: at most so many episodes of each task and player, the first; None for all.
    """
    packed = PackedEpisodes()
    index = _Index(sheets)
    parts: list[str] = []
    for sheet, task, player, records in _groups(sheets):
        kept = records[:limit]
        packed.known, packed.shown = packed.known + len(records), packed.shown + len(kept)
        for start in range(0, len(kept), _BLOCK):
            chosen = kept[start : start + _BLOCK]
            for place, record in enumerate(chosen):
                index.add(record, sheet=sheet, task=task, player=player, block=len(parts), place=place)
            parts.append(_data(f"block-{len(parts)}", [_content(record) for record in chosen]))
    packed.html = "\n".join([_data("index", index.content()), *parts])
    return packed


def episode_turns(record: EpisodeRecord) -> list[tuple[str, str]]:
    """(speaker, text) of each turn, and what came after the last action."""
    turns = _turns(record.conversations)
    if record.final_observation is not None:
        turns.append(("environment", printable(record.final_observation)))
    if record.error:
        turns.append(("error", printable(record.error)))
    return turns


def _turns(messages: Sequence[Any]) -> list[tuple[str, str]]:
    return [(_SPEAKERS.get(one["from"], "agent"), printable(one["value"])) for one in messages]


def _groups(sheets: Sequence[Sheet]) -> Iterator[tuple[str, str, str, Sequence[EpisodeRecord]]]:
    for sheet in sheets:
        for row in sheet.rows:
            for player in sheet.players:
                cell = row.cells.get(player.name)
                if cell is not None and cell.records:
                    yield sheet.name, row.name, player.name, cell.records


class _Index:
    """What the list shows and filters by; names are numbers into lists."""

    def __init__(self, sheets: Sequence[Sheet]) -> None:
        self.sweeps = [sheet.name for sheet in sheets]
        self.tasks = list(dict.fromkeys(row.name for sheet in sheets for row in sheet.rows))
        self.models = list(dict.fromkeys(player.name for sheet in sheets for player in sheet.players))
        self.reasons: list[str] = list(TERMINATE_REASONS)
        self.rows: list[list[Any]] = []

    def add(self, record: EpisodeRecord, *, sheet: str, task: str, player: str, block: int, place: int) -> None:
        failed = record.terminate_reason == "environment_error"
        outcome = _LEFT_OUT if record.trained_on else _ERROR if failed else _SUCCESS if record.success else _FAILURE
        if record.terminate_reason not in self.reasons:
            self.reasons.append(record.terminate_reason)
        row = [
            self.sweeps.index(sheet),
            self.tasks.index(task),
            self.models.index(player),
            outcome,
            self.reasons.index(record.terminate_reason),
            round(record.reward, 4),
            record.steps,
            printable(record.id),
            # What the id begins with, whatever the seed.
            printable(record.id.rsplit("/", 1)[0] + "/"),
            block,
            place,
        ]
        self.rows.append(row)

    def content(self) -> dict[str, Any]:
        names = {"sweeps": self.sweeps, "tasks": self.tasks, "models": self.models}
        shown: dict[str, Any] = {kind: [printable(name) for name in each] for kind, each in names.items()}
        shown["reasons"] = [printable(reason).replace("_", " ") for reason in self.reasons]
        return {**shown, "fields": _FIELDS, "rows": self.rows}


def _content(record: EpisodeRecord) -> dict[str, Any]:
    last = record.error or record.final_observation or ""
    return {
        "turns": episode_turns(record),
        "earlier": [_turns(trial) for trial in record.earlier],
        "why": explain(record),
        "seen": "" if record.success else printable(last)[:_SHORT],
        "invalid": first_invalid(record),
        "facts": [(name, printable(value)) for name, value in _facts(record).items()],
    }


def _facts(record: EpisodeRecord) -> dict[str, str]:
    facts = {
        "instance": f"{record.instance_id or 'could not be made'}, seed {record.seed}",
        "played by": f"{record.model}, {record.agent}",
        "protocol": f"{record.protocol}, answers {record.answers}",
        "cost": f"{record.tokens:,} tokens generated, {record.prompt_tokens:,} read, {record.seconds:.1f} s",
    }
    measured = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in record.figures.items()
    )
    return facts | ({"measured": measured} if measured else {})


def _data(name: str, content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    packed = gzip.compress(text.encode("utf-8", "replace"), compresslevel=_LEVEL, mtime=0)
    return f'<script type="text/plain" id="{name}">{base64.b64encode(packed).decode()}</script>'
