"""MiniWoB++ as text: small web pages in a real Chromium, read as a list of elements.

MiniWoB++: Liu et al. 2018, arXiv 1802.08802; the pages are those of the package `miniwob`. The text protocol is this
project's own: the benchmark's is pixels and DOM trees.
"""

import hashlib
import importlib.util
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment, begun, payload_of
from agentbank_jax.environments.browser import Browser, Page, PageHangs, PageRefusal, read_number
from agentbank_jax.environments.browser_process import missing
from agentbank_jax.environments.registry import EnvironmentRegistryError, check_split
from agentbank_jax.errors import AgentBankError

KINDS = (
    "click-test", "click-button", "enter-text", "click-link", "click-checkboxes", "focus-text", "click-option",
    "choose-list", "click-dialog", "login-user", "click-tab", "read-table", "click-collapsible", "enter-date",
    "click-color", "simple-arithmetic", "click-widget", "navigate-tree", "search-engine", "click-shape",
    "enter-password", "email-inbox", "click-menu", "use-autocomplete", "click-button-sequence", "identify-shape",
    "focus-text-2", "enter-time", "click-tab-2", "unicode-test", "find-word", "simple-algebra", "click-test-2",
    "click-collapsible-2", "enter-text-2", "read-table-2", "click-dialog-2", "odd-or-even", "enter-text-dynamic",
    "grid-coordinate", "click-scroll-list", "guess-number", "form-sequence-2", "multi-orderings",
)  # fmt: skip
"""The kinds of task that need neither a picture nor quick hands, in the order of the instances."""

SEEDS_PER_KIND = 10
MAX_STEPS = 15

_DISTRIBUTION = "miniwob"
_NOT_TASK = "#reward-display, #sync-task-cover, #click-canvas, #query"
_UNTIMED = 1_000_000_000  # milliseconds until a page gives up
_QUOTED = re.compile(r'"([^"]+)"')
_ACTION = re.compile(r"\s*(click|type|focus|press|hover|drag|scroll)\s*\[(.*)\]\s*", re.IGNORECASE | re.DOTALL)
_SYNTAX = (
    "Actions are click[number], type[number, text], focus[number], hover[number], press[key], "
    "drag[number, number], drag[number, right, down] and scroll[up or down]."
)
_START = """
core.EPISODE_MAX_TIME = arguments[0];
if (window.jQuery) jQuery.fx.off = true;
Math.seedrandom(arguments[1]);
core.startEpisodeReal();
return core.getUtterance();
"""
_RESULT = "return [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL, String(WOB_REWARD_REASON || '')];"


def protocol() -> str:
    """The protocol with the version of the pages."""
    try:
        return f"miniwob_text/1 (miniwob {version(_DISTRIBUTION)}, untimed)"
    except PackageNotFoundError:
        return "miniwob_text/1 (miniwob absent, untimed)"


def available() -> str | None:
    """None where the pages and a browser are here, else the reason and the remedy."""
    if _pages() is None:
        return "the package miniwob is not installed; install it with: pip install 'agentbank_jax[environments]'"
    return missing()


def _pages() -> Path | None:
    # Not imported: the package brings its own driver, numpy and pictures along.
    found = importlib.util.find_spec(_DISTRIBUTION)
    places = found.submodule_search_locations if found is not None else None
    return Path(places[0]) / "html" / "miniwob" if places else None


@dataclass(frozen=True, kw_only=True)
class MiniWobTask:
    """The payload of an instance: a kind of task, and what seeds its chance."""

    kind: str
    seed: str


def make_instance(split: str, index: int) -> Instance:
    """Instance `index` of a split: the kinds in turn, each time with another seed; the splits share no seed.

    Raises:
      EnvironmentRegistryError: there is no such split or instance.
    """
    check_split(split)
    if not 0 <= index < size(split):
        raise EnvironmentRegistryError(f"miniwob: problem {index} of {split}; it holds {size(split)}.")
    task = MiniWobTask(kind=KINDS[index % len(KINDS)], seed=f"{split}/{index // len(KINDS)}")
    return Instance(
        id=f"miniwob/{split}/{task.kind}/{index // len(KINDS)}",
        fingerprint=hashlib.sha256(f"{task.kind}/{task.seed}".encode()).hexdigest(),
        payload=task,
    )


def size(split: str) -> int:
    """Ten instances of each kind in each split."""
    return len(KINDS) * SEEDS_PER_KIND


class MiniWob(TextEnvironment):
    """One MiniWoB++ page at a time, in one Chromium that stays open until `close`.

    The first observation is the page's instruction and the elements; each later one the elements. A page has no time
    limit, and its animations are off.

    The reward is 0 until the page ends the episode, and then the page's own reward without its decay over time, at
    least 0: some pages give a part for a part. `info` at the end holds `success` (reward 1), `raw_reward` (in [-1, 1])
    and `kind`. Others count any `raw_reward` above 0 as success; the figure can be had from that field.
    """

    def __init__(self) -> None:
        self.browser = Browser(size=(500, 600), skipped=_NOT_TASK)
        self.utterance = ""
        self._task: MiniWobTask | None = None
        self._page: Page | None = None
        self._done = False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._task = payload_of(options, MiniWobTask, "miniwob")
        self._begin()
        return f"{self.utterance}\n{self.page.text}", {"invalid_action": False}

    def _begin(self) -> None:
        folder = _pages()
        if folder is None:
            raise AgentBankError(f"miniwob cannot run: {available()}.")
        file = folder / f"{self.task.kind}.html"
        if self.task.kind not in KINDS or not file.is_file():
            raise AgentBankError(f"MiniWoB++ has no task of the kind {self.task.kind!r} here; kinds are file names.")
        try:
            # The page is loaded anew: some pages keep things from one episode to the next.
            self.browser.open(file.as_uri())
            self.utterance = self.browser.script(_START, _UNTIMED, self.task.seed)
            self._page = self.browser.page()
        except (PageHangs, PageRefusal) as error:
            raise AgentBankError(f"Chromium could not open {file.name}: {error}.") from None
        self._done = False

    @property
    def task(self) -> MiniWobTask:
        return begun(self._task, "miniwob")

    @property
    def page(self) -> Page:
        """The page as it was last seen."""
        return begun(self._page, "miniwob")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._done:
            return "The task is over.", 0.0, True, False, {"invalid_action": True, "success": False}
        self.browser.notes.clear()
        try:
            invalid = False
            try:
                perform(self.browser, action)
                said = ""
            except PageRefusal as refusal:
                invalid, said = True, f"{refusal}\n"
            done, raw, reason = self.browser.script(_RESULT)
            if done:
                return self._end(float(raw), reason, invalid)
            self._page = self.browser.page()
        except (PageHangs, PageRefusal) as error:
            self._done = True
            info = {"invalid_action": False, "success": False, "raw_reward": 0.0, "kind": self.task.kind}
            return "The page does not answer any more.", 0.0, True, False, {**info, "hung": str(error)[:200]}
        notes = "".join(f"{note[:300]}\n" for note in self.browser.notes[:5])
        return f"{said}{notes}{self.page.text}", 0.0, False, False, {"invalid_action": invalid}

    def _end(self, raw: float, reason: str, invalid: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._done = True
        reward = min(max(raw, 0.0), 1.0)
        info = {
            "invalid_action": invalid,
            "success": reward >= 1.0,
            "raw_reward": raw,
            "kind": self.task.kind,
            "reason": reason[:200],
        }
        return "The task is over.", reward, True, False, info

    def expert_steps(self) -> list[ExpertStep]:
        """Plays the task with the expert of its kind, then begins it again."""
        from agentbank_jax.environments.miniwob_expert import play

        actions = play(self)
        self._begin()
        return [ExpertStep(action=action, intent="operate") for action in actions]

    def valid_actions(self) -> list[str]:
        """Every click, and the phrases that the instruction quotes (else its words) typed into every field."""
        if self._done:
            return []
        phrases = _QUOTED.findall(self.utterance) or self.utterance.split()
        clicks = [f"click[{element.ref}]" for element in self.page.elements]
        fields = [element.ref for element in self.page.elements if element.role in ("textbox", "spinbutton")]
        typing = [f"type[{ref}, {phrase}]" for ref in fields for phrase in phrases]
        return list(dict.fromkeys([*clicks, *typing]))

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or ["scroll[down]"])

    def close(self) -> None:
        self.browser.close()


def perform(browser: Browser, action: str) -> None:
    """Does what `action` says.

    Raises:
      PageRefusal: where it cannot be understood or done.
      PageHangs: the page has stopped answering.
    """
    match = _ACTION.fullmatch(action)
    if match is None:
        raise PageRefusal(f"That is no action. {_SYNTAX}")
    verb, argument = match[1].lower(), match[2]
    if verb == "press":
        browser.press(argument.strip())
    elif verb == "scroll":
        browser.scroll(argument)
    elif verb == "type":
        ref, comma, text = argument.partition(",")
        if not comma:
            raise PageRefusal(f"type needs a number and a text. {_SYNTAX}")
        browser.type(read_number(ref, _SYNTAX), text.removeprefix(" "))
    elif verb == "drag":
        first, *rest = (read_number(part, _SYNTAX) for part in argument.split(","))
        if len(rest) not in (1, 2):
            raise PageRefusal(f"drag needs two or three numbers. {_SYNTAX}")
        browser.drag(first, rest[0] if len(rest) == 1 else (rest[0], rest[1]))
    else:
        {"click": browser.click, "focus": browser.focus, "hover": browser.hover}[verb](read_number(argument, _SYNTAX))
