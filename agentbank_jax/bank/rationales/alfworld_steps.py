"""Thoughts for ALFWorld: why a step is taken, read off the goal and what was observed up to then.

A planner's walkthrough tells no reasons, and it knows where things are that nobody has seen. So an intent is found for
each step from the goal, the actions before it and the observations before it alone; a place where nothing wanted was
seen is a place to look at.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.alfworld_thoughts import THOUGHTS
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales
from agentbank_jax.environments.alfworld_games import AlfworldGame
from agentbank_jax.environments.alfworld_goals import AlfworldGoal, Change, goal_of
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.registry import EnvironmentSpec

_VERSION = 1

_ACTIONS = {
    verb: re.compile(pattern)
    for verb, pattern in {
        "go": r"go to (?P<place>.+)",
        "open": r"open (?P<place>.+)",
        "close": r"close (?P<place>.+)",
        "take": r"take (?P<item>.+) from (?P<place>.+)",
        "put": r"put (?P<item>.+) in/on (?P<place>.+)",
        "move": r"move (?P<item>.+) to (?P<place>.+)",
        "change": r"(?P<change>clean|heat|cool) (?P<item>.+) with (?P<place>.+)",
        "use": r"(?:use|toggle) (?P<item>.+)",
    }.items()
}
_LISTED = re.compile(
    r"(?:On the (?P<on>[a-z]+ \d+), you see|The (?P<open>[a-z]+ \d+) is open\. In it, you see) (?P<items>.+?)\."
)
_CLOSED = re.compile(r"The ([a-z]+ \d+) is closed\.")
_NAME = re.compile(r"\ban? ([a-z]+ \d+)")
_APPLIANCES: dict[Change, str] = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_CHANGED: dict[Change, str] = {"clean": "clean", "heat": "hot", "cool": "cool"}


@dataclass(frozen=True, kw_only=True)
class AlfworldRationales:
    """A `RationaleWriter` for ALFWorld, published or made, in either wording.

    A step that serves the goal in a way that is understood gets a Thought of its intent (`alfworld_thoughts.py`); any
    other is worded as `TemplateRationales` does. One voice speaks through a trajectory, chosen by its id.

    Fields:
      seed: chooses the voice.
      keep_given: whether the source's own Thoughts are kept.
    """

    seed: int = 0
    keep_given: bool = True

    def _templates(self) -> TemplateRationales:
        return TemplateRationales(seed=self.seed, templates=THOUGHTS, keep_given=self.keep_given)

    def facts(self) -> Mapping[str, Any]:
        return {**self._templates().facts(), "rationales": "alfworld", "version": _VERSION}

    def write(
        self, spec: EnvironmentSpec, instance: Instance, sequence: ActionSequence, observations: Sequence[str]
    ) -> tuple[str, ...] | Drop:
        """See `RationaleWriter`."""
        steps = understood(instance.payload, sequence.steps, observations)
        return self._templates().write(spec, instance, dataclasses.replace(sequence, steps=steps), observations)


def understood(game: AlfworldGame, steps: Sequence[ExpertStep], observations: Sequence[str]) -> tuple[ExpertStep, ...]:
    """The steps with intents and slots; one that is not understood stays as it is.

    Args:
      game: tells the goal.
      steps: that are taken.
      observations: what was said before each of them.
    """
    goal = goal_of(game.pddl_problem())
    if goal is None:
        return tuple(steps)
    mind = _Mind(goal=goal)
    found = []
    for step, observation in zip(steps, observations, strict=True):
        mind.observe(observation)
        verb, parts = _parsed(step.action)
        intent = mind.intent(verb, parts)
        found.append(step if intent is None else dataclasses.replace(step, intent=intent, slots=mind.slots(parts)))
        mind.act(verb, parts)
    return tuple(found)


def _parsed(action: str) -> tuple[str, Mapping[str, str]]:
    for verb, pattern in _ACTIONS.items():
        match = pattern.fullmatch(action.lower())
        if match:
            return {"move": "put"}.get(verb, verb), match.groupdict()
    return "", {}


def _kind(name: str) -> str:
    return name.rpartition(" ")[0]


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


@dataclass(kw_only=True)
class _Mind:
    """What somebody knows who has seen what was said so far.

    Fields:
      goal: what has to become true.
      at: the place they stand at; empty in the middle of the room.
      held: the object in hand; empty where there is none.
      seen: object → where it was seen last; one in hand is nowhere.
      closed: places that are known to be closed.
      changed: objects that were cleaned, heated or cooled as the goal wants it.
      delivered: objects → where the goal wants them.
      looked: whether a place was looked at since something else was last looked for.
    """

    goal: AlfworldGoal
    at: str = ""
    held: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    delivered: dict[str, str] = field(default_factory=dict)
    looked: bool = False

    @property
    def wanted(self) -> str:
        return self.goal.object_type.lower()

    @property
    def target(self) -> str:
        return self.goal.target_type.lower()

    def observe(self, text: str) -> None:
        for place in _CLOSED.findall(text):
            self.closed.add(place)
        for listing in _LISTED.finditer(text):
            place = listing["on"] or listing["open"]
            self.closed.discard(place)
            self.seen.update(dict.fromkeys(_NAME.findall(listing["items"]), place))
            self.looked = True

    def act(self, verb: str, parts: Mapping[str, str]) -> None:
        """Keeps what an action did; all actions of a solution are done."""
        item, place = parts.get("item", ""), parts.get("place", "")
        match verb:
            case "go":
                self.at = place
            case "take":
                self.held, self.looked = item, False
                self.seen.pop(item, None)
                self.delivered.pop(item, None)
            case "put":
                self.held, self.looked = "", False
                self.seen[item] = place
                if self._ready(item) and _kind(place) == self.target:
                    self.delivered[item] = place
            case "change" if parts["change"] == self.goal.change:
                self.changed.add(item)

    def intent(self, verb: str, parts: Mapping[str, str]) -> str | None:
        """Why an action is taken; None where nothing known is a reason."""
        item, place = parts.get("item", ""), parts.get("place", "")
        ready = self._ready(self.held)
        match verb:
            case "go" if not self.held:
                return self._go_and_find(place)
            case "go" if self.goal.lamp and ready:
                return self._go_to_lamp(place)
            case "go" if ready and _kind(place) == self.target:
                return "go_put"
            case "go" if self._appliance(place):
                return "go_change"
            case "open" if place in self.closed and not self.held and not self._known(self.wanted):
                return "open_look"
            case "open" if place in self.closed and ready and _kind(place) == self.target:
                return "open_put"
            case "take" if _kind(item) == self.wanted and self.seen.get(item) == place:
                return "take"
            case "change" if parts["change"] == self.goal.change and self._appliance(place):
                return "change"
            case "put" if ready and _kind(place) == self.target:
                return "put_first" if len(self.delivered) + 1 < self.goal.count else "put"
            case "use" if self.goal.lamp and _kind(item) == self.target and self.seen.get(item) == self.at:
                beside = self.at in self._known(self.wanted).values()
                return "use" if ready else "use_first" if beside and not self.held else None
        return None

    def slots(self, parts: Mapping[str, str]) -> dict[str, str]:
        """The values that templates of any intent mention."""
        place = parts.get("place") or self.at
        seen = [item for item, where in self._known(self.wanted).items() if where == place]
        which = ("first ", "second ")[min(len(self.delivered), 1)]
        return {
            "object": self.wanted,
            "an_object": _with_article(self.wanted),
            "target": self.target,
            "a_target": _with_article(self.target),
            "item": self.held or parts.get("item") or next(iter(seen), ""),
            "place": place,
            "which": which if self.goal.count > 1 else "",
            "change": self.goal.change or "",
            "changed": _CHANGED[self.goal.change] if self.goal.change else "",
        }

    def _ready(self, item: str) -> bool:
        """Whether an object is one that the goal wants as it is."""
        return _kind(item) == self.wanted and (self.goal.change is None or item in self.changed)

    def _appliance(self, place: str) -> bool:
        """Whether the object in hand has to be changed, and that is done here."""
        change = self.goal.change
        wanted = _kind(self.held) == self.wanted and not self._ready(self.held)
        return change is not None and wanted and _kind(place) == _APPLIANCES[change]

    def _known(self, kind: str) -> dict[str, str]:
        """The objects of a type that were seen and are not where they belong, and where they are."""
        return {item: at for item, at in self.seen.items() if _kind(item) == kind and item not in self.delivered}

    def _go_and_find(self, place: str) -> str | None:
        known = self._known(self.wanted)
        if known:
            return "go_take" if place in known.values() else None
        if self.looked and self.at not in self.closed:
            return "explore_next"
        return "explore_another" if self.delivered else "explore_first"

    def _go_to_lamp(self, place: str) -> str | None:
        known = self._known(self.target)
        if known:
            return "go_lamp" if place in known.values() else None
        return "explore_lamp"
