"""Thoughts for the commands of text games, by what a player has seen so far: no language model needed."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.game_memory import GameMemory
from agentbank_jax.bank.rationales.game_thoughts import THOUGHTS
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales, given_thoughts
from agentbank_jax.bank.thoughts import voice_of
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.registry import EnvironmentSpec

# The intents of steps of which nothing more is known than the action.
PLAIN = frozenset({"solve", "act"})

_MANNERS = {"stove": "fry", "oven": "roast", "barbeque": "grill"}

# The commands of all these games, by the intent that a step has at least; `_refined` looks closer.
_GRAMMAR: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (intent, re.compile(pattern, re.IGNORECASE))
    for intent, pattern in (
        ("explore", r"(?:move|go) (?P<direction>north|south|east|west)"),
        ("go_to", r"(?:go|teleport) to (?:the )?(?P<place>.+)"),
        ("open_door", r"open door to (?P<direction>north|south|east|west)"),
        ("open_way", r"open door to (?P<place>.+)"),
        ("close", r"close (?P<item>.+)"),
        ("look", r"look(?: around)?"),
        ("look_in", r"look in (?P<item>.+)"),
        ("look_at", r"(?:look at|examine) (?P<item>.+)"),
        ("inventory", r"inventory"),
        ("task", r"task"),
        ("read_map", r"read map"),
        ("read_book", r"read cookbook"),
        ("read_instructions", r"read instructions book"),
        ("read", r"read (?P<item>.+)"),
        ("take_problem", r"take math problem"),
        ("take_from", r"take (?P<item>.+) from (?P<place>.+)"),
        ("take", r"(?:take|pick up) (?P<item>.+)"),
        ("put", r"(?:put|insert) (?P<item>.+?) (?:in|on|into) (?P<place>.+)"),
        ("put", r"move (?P<item>.+?)(?: in .+)? to (?P<place>.+)"),
        ("drop", r"drop (?P<item>.+)"),
        ("unlock", r"unlock (?P<item>.+) with (?P<tool>.+)"),
        ("lock", r"lock (?P<item>.+) with (?P<tool>.+)"),
        ("cook", r"cook (?P<item>.+) in (?P<place>.+)"),
        ("cut", r"(?P<manner>chop|slice|dice) (?P<item>.+)"),
        ("prepare", r"prepare meal"),
        ("eat", r"eat (?P<item>.+)"),
        ("open", r"open (?P<item>.+)"),
        ("focus", r"focus on (?P<item>.+)"),
        ("activate", r"activate (?P<item>.+)"),
        ("deactivate", r"deactivate (?P<item>.+)"),
        ("measure", r"use (?P<tool>thermometer\b.*) on (?P<item>.+)"),
        ("use", r"use (?P<tool>.+) on (?P<item>.+)"),
        ("pour", r"pour (?P<item>.+?) (?:in|into) (?P<place>.+)"),
        ("connect", r"connect (?P<item>.+) to (?P<place>.+)"),
        ("disconnect", r"disconnect (?P<item>.+)"),
        ("mix", r"mix (?P<item>.+)"),
        ("wait", r"wait\d*"),
        ("choose", r"(?P<item>\d+)"),
        ("flush", r"flush (?P<item>.+)"),
    )
)


@dataclass(frozen=True, kw_only=True)
class GameRationales:
    """A `RationaleWriter` for TextWorld, TextWorldExpress and ScienceWorld, whose steps hold nothing but an action.

    The action is read by the games' grammar; what was observed before it decides between, say, exploring and going
    back. One voice speaks through a trajectory, chosen by its id. A Thought that the source gives stays. Steps of other
    intents, and actions that no rule reads, are worded by `TemplateRationales`, whose drops are passed on.

    Fields:
      seed: chooses the voice.
    """

    seed: int = 0

    def facts(self) -> Mapping[str, Any]:
        return {
            "rationales": "games",
            "seed": self.seed,
            "thoughts": {intent: list(wordings) for intent, wordings in THOUGHTS.items()},
            "grammar": [[intent, pattern.pattern] for intent, pattern in _GRAMMAR],
            "others": self._others.facts(),
        }

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...] | Drop:
        """See `RationaleWriter`; a Thought depends on the observations before its action alone."""
        voice = voice_of(instance.id, self.seed)
        memory, before = GameMemory(), None
        said: list[str] = []
        for step, given, observation in zip(sequence.steps, given_thoughts(sequence), observations, strict=True):
            memory.hear(before, observation)
            before = " ".join(step.action.lower().split())
            thought = given or _thought(step, memory, voice)
            if thought is None:
                alone = dataclasses.replace(sequence, steps=(step,), thoughts=())
                others = self._others.write(spec, instance, alone, (observation,))
                if isinstance(others, Drop):
                    return others
                (thought,) = others
            said.append(thought)
        return tuple(said)

    @property
    def _others(self) -> TemplateRationales:
        return TemplateRationales(seed=self.seed)


def intent_of(action: str, memory: GameMemory) -> tuple[str, Mapping[str, str]] | None:
    """What an action is for: an intent of `THOUGHTS` and its slots; None where no rule reads it."""
    action = " ".join(action.split())
    last = memory.last.lower()
    if f"simon says, '{action.lower()}'" in last:
        return "simon", {"order": action}
    if "current task is to" in last and action.lower() in last.replace(" the ", " "):
        return "book", {"order": last.partition("current task is to ")[2].split(".")[0]}
    for intent, pattern in _GRAMMAR:
        if found := pattern.fullmatch(action):
            slots = {name: _named(text) for name, text in found.groupdict().items()}
            return _refined(intent, slots, memory)
    return None


def _thought(step: ExpertStep, memory: GameMemory, voice: int) -> str | None:
    read = intent_of(step.action, memory) if step.intent in PLAIN else None
    if read is None:
        return None
    wordings = THOUGHTS[read[0]]
    text = wordings[voice % len(wordings)].format_map(read[1])
    return text[:1].upper() + text[1:]


def _refined(intent: str, slots: dict[str, str], memory: GameMemory) -> tuple[str, Mapping[str, str]]:
    """A closer intent, where what was seen tells more."""
    item, place = slots.get("item", "").lower(), slots.get("place", "").lower()
    goal, sought = memory.goal.lower(), memory.sought
    if intent == "explore":
        return _way(slots["direction"].lower(), memory)
    if intent == "look" and len(memory.actions) == 0:
        return "look_first", slots
    if intent in ("go_to", "focus") and (place or item) in goal:
        return f"{intent}_named", slots
    if intent == "look_at" and memory.actions and _named(memory.actions[-1]).endswith(item):
        return "look_again", slots
    if intent == "measure" and (degrees := memory.degrees) is not None:
        return "measure_again", {**slots, "degrees": degrees}
    if intent == "open" and sought:
        return "open_for", {**slots, "sought": sought}
    if intent == "read_map":
        return intent, {"sought": sought or "place"}
    if intent == "cook":
        return intent, {**slots, "manner": _MANNERS.get(place, "cook")}
    if intent == "take":
        return _taking(item, memory, slots)
    if intent == "open_way" and memory.sees_open(place):
        return "way_open", slots
    if intent == "put" and "sort objects by quantity" in goal and place == "box":
        return "put_least", slots
    if intent == "put" and "usual locations" in goal:
        return "put_usual", slots
    if intent == "put" and place in goal and (item in goal or "box" in place):
        return "put_asked", slots
    return intent, slots


def _taking(item: str, memory: GameMemory, slots: dict[str, str]) -> tuple[str, Mapping[str, str]]:
    solved = memory.solved
    if solved and item.split()[0] == str(solved[1]):
        return "take_result", {**slots, "sum": solved[0], "result": str(solved[1])}
    if "sort objects by quantity" in memory.goal:
        return "take_least", slots
    if "usual locations" in memory.goal:
        return "take_stray", slots
    return ("take_sought" if item in (memory.sought, *memory.needed) else "take"), slots


def _way(direction: str, memory: GameMemory) -> tuple[str, Mapping[str, str]]:
    if re.search(rf"\b{direction}\b", memory.goal.lower()):
        return "told_way", {"direction": direction}
    place, sought, target = memory.behind(direction), memory.sought, memory.target
    slots = {"direction": direction, "place": place or "", "sought": sought or "", "target": target or ""}
    if place is None:
        return ("explore_for" if sought and not target else "explore"), slots
    if target and place == target:
        return "arrive", slots
    if target and memory.leads_to(place, target):
        return "way", slots
    if place in memory.visited:
        return "return", slots
    return ("visit_for" if sought and not target else "visit"), slots


def _named(text: str) -> str:
    """A thing's name, without what ScienceWorld says of where it is carried."""
    return text.replace(" in inventory", "").replace(" in ", " in the ")
