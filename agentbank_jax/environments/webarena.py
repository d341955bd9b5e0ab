"""WebArena: tasks on self-hosted sites, in a real Chromium that is read as a list of elements.

The actions and the evaluators are WebArena's (Zhou et al. 2023, arXiv 2307.13854); the observation is this project's
list of visible elements in place of the accessibility tree of another driver.
"""

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, begun, payload_of
from agentbank_jax.environments.browser import Browser, Page, PageHangs, PageRefusal, read_number
from agentbank_jax.environments.webarena_evaluators import program_html, string_match, url_match
from agentbank_jax.environments.webarena_judge import judge_name
from agentbank_jax.environments.webarena_tasks import WebArenaTask, hosts, missing_sites, site_urls
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MAX_STEPS = 30

_TABS = 8
_STORED = "local_storage,indexeddb,service_workers,cache_storage,file_systems"  # beside cookies
_EMPTY = ("about:blank", "data:,", "chrome://new-tab-page/", "chrome://newtab/")
_AND = " |AND| "
_ACTION = re.compile(r"\s*(\w+)\s*(.*?)\s*", re.DOTALL)
_TYPE = re.compile(r"\[\s*(\d+)\s*\]\s*\[(.*?)\](?:\s*\[\s*(?:press_enter_after=)?([01])\s*\])?", re.DOTALL)
_DESCRIBED = re.compile(r'\[(\w+) "([^"]*)"\]')
_PLAIN = ("new_tab", "close_tab", "go_back", "go_forward")
_SYNTAX = (
    "Actions are click [number], type [number] [text] [0 or 1 for Enter], hover [number], press [keys], "
    "scroll [up or down], goto [url], go_back, go_forward, new_tab, tab_focus [index], close_tab and stop [answer]."
)


def protocol() -> str:
    """The protocol with the sites that are named and the judge, which decide what tasks there are."""
    sites = "+".join(name.lower() for name in site_urls()) or "none"
    return f"webarena_text/1 (sites {sites}, fuzzy_match by {judge_name() or 'nobody: left out'})"


class WebArena(TextEnvironment):
    """One task at a time on the sites that the environment variables name, in one Chromium.

    An observation is the address, the tabs where there are several, and what the window shows. Cookies are cleared at
    each reset and those of the task's login put in; what an agent changes on a site stays until its host resets it.
    Nothing but the sites can be reached; a page elsewhere is left at once.

    The reward is 0 until `stop [answer]`, and then 1 where all evaluators of the task are met. After `MAX_STEPS`
    actions the task is judged as if it had been stopped without an answer. `info` at the end holds `success` and
    `evaluations`, each evaluator's verdict.
    """

    def __init__(self) -> None:
        self.browser = Browser(size=(1280, 720), hosts=hosts(), view_only=True)
        self._task: WebArenaTask | None = None
        self._page: Page | None = None
        self._steps, self._done = 0, False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        task = payload_of(options, WebArenaTask, "webarena")
        if reason := missing_sites():
            raise AgentBankError(f"webarena cannot run: {reason}.")
        self._task = task
        self._begin()
        return f"Objective: {self.task.intent}\n{self._seen()}", {"invalid_action": False}

    def _begin(self) -> None:
        self._steps, self._done = 0, False
        try:
            self.browser.call(_forget)
            cookies = _cookies(self.task.storage_state)
            self.browser.call(lambda driver: [driver.execute_cdp_cmd("Network.setCookie", one) for one in cookies])
            first, *others = self.task.start_url.split(_AND)
            self.browser.open(first)
            for url in others:
                self._new_tab()
                self.browser.open(url)
            if others:
                self._focus_tab(0)
            self._page = self.browser.page()
        except (PageHangs, PageRefusal) as error:
            raise AgentBankError(f"WebArena's start page {self.task.start_url} does not open: {error}") from None

    @property
    def task(self) -> WebArenaTask:
        return begun(self._task, "webarena")

    @property
    def page(self) -> Page:
        """The page as it was last seen."""
        return begun(self._page, "webarena")

    def _seen(self) -> str:
        handles = self.browser.call(lambda driver: driver.window_handles)
        lines = [f"URL: {self.page.url}"]
        if len(handles) > 1:
            current = self.browser.call(lambda driver: handles.index(driver.current_window_handle))
            lines.append(f"Tabs: {len(handles)}, at {current}")
        return "\n".join([*lines, self.page.text])

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._done:
            return "The task is over.", 0.0, True, False, {"invalid_action": True, "success": False}
        self._steps += 1
        self.browser.notes.clear()
        said, invalid = "", False
        try:
            try:
                verb, argument = _parse(action)
                if verb == "stop":
                    return self._judge(argument, truncated=False)
                before = self.browser.call(lambda driver: driver.window_handles)
                self._perform(verb, argument)
                self._stay_on_the_sites(before)
            except PageRefusal as refusal:
                invalid, said = True, f"{refusal}\n"
            self._page = self.browser.page()
            if self._steps >= MAX_STEPS:
                return self._judge("", truncated=True)
            notes = "".join(f"{note[:300]}\n" for note in self.browser.notes[:5])
            return f"{said}{notes}{self._seen()}", 0.0, False, False, {"invalid_action": invalid}
        except (PageHangs, PageRefusal) as error:
            self._done = True
            info = {"invalid_action": False, "success": False, "hung": str(error)[:200]}
            return "The page does not answer any more.", 0.0, True, False, info

    def _judge(self, answer: str, *, truncated: bool) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._done = True
        evaluation, verdicts = self.task.evaluation, {}
        for kind in evaluation["eval_types"]:
            if kind == "string_match":
                verdicts[kind] = string_match(evaluation, answer, self.task.intent)
            elif kind == "url_match":
                verdicts[kind] = url_match(evaluation, self.browser.script("return location.href;"))
            else:
                verdicts[kind] = program_html(evaluation, self.browser)
        success = all(verdicts.values())
        info = {"invalid_action": False, "success": success, "evaluations": verdicts, "answer": answer[:500]}
        return "The task is over.", float(success), not truncated, truncated, info

    def _perform(self, verb: str, argument: str) -> None:
        browser = self.browser
        if verb == "type":
            match = _TYPE.fullmatch(argument)
            if match is None:
                raise PageRefusal(f"type needs a number and a text. {_SYNTAX}")
            browser.type(read_number(match[1], _SYNTAX), match[2])
            if match[3] != "0":
                browser.press("Enter")
        elif verb in ("click", "hover"):
            (browser.click if verb == "click" else browser.hover)(read_number(argument, _SYNTAX))
        elif verb == "press":
            browser.press(argument)
        elif verb == "scroll":
            browser.scroll(argument.removeprefix("direction="))
        elif verb == "goto":
            if not _on_the_sites(argument):
                raise PageRefusal(f"{argument[:100]} is none of the sites: {', '.join(site_urls().values())}.")
            browser.open(argument)
        elif verb == "go_back":
            browser.call(lambda driver: driver.back())
        elif verb == "go_forward":
            browser.call(lambda driver: driver.forward())
        elif verb == "new_tab":
            self._new_tab()
        elif verb == "tab_focus":
            self._focus_tab(read_number(argument, _SYNTAX))
        elif verb == "close_tab":
            self._close_tab()

    def _new_tab(self) -> None:
        if len(self.browser.call(lambda driver: driver.window_handles)) >= _TABS:
            raise PageRefusal(f"There are {_TABS} tabs already; close one first.")
        self.browser.call(lambda driver: driver.switch_to.new_window("tab"))

    def _focus_tab(self, index: int) -> None:
        handles = self.browser.call(lambda driver: driver.window_handles)
        if not 0 <= index < len(handles):
            raise PageRefusal(f"There is no tab {index}; there are {len(handles)}, from 0.")
        self.browser.call(lambda driver: driver.switch_to.window(handles[index]))

    def _close_tab(self) -> None:
        if len(self.browser.call(lambda driver: driver.window_handles)) == 1:
            raise PageRefusal("This is the only tab.")
        self.browser.call(lambda driver: driver.close())
        self._focus_tab(0)

    def _stay_on_the_sites(self, before: list[str]) -> None:
        """Goes to a tab that the action has opened, and back from a page that is on none of the sites."""
        handles = self.browser.call(lambda driver: driver.window_handles)
        opened = [handle for handle in handles if handle not in before]
        if opened or self.browser.call(_current_handle) not in handles:
            self.browser.call(lambda driver: driver.switch_to.window(handles[-1]))
        url = self.browser.call(lambda driver: driver.current_url)
        if _on_the_sites(url) or url in _EMPTY:
            return
        self.browser.call(lambda driver: driver.back())
        if not _on_the_sites(self.browser.call(lambda driver: driver.current_url)):
            self.browser.open(self.task.start_url.split(_AND)[0])
        raise PageRefusal(f"{url[:100]} is none of the sites, or cannot be reached.")

    def expert_steps(self) -> list[ExpertStep]:
        """The configuration's reference actions, their elements found by playing them, and the task begun again."""
        if not self.task.reference_actions:
            raise AgentBankError("This task of WebArena has no reference actions; the publisher gives none.")
        actions = []
        for described in self.task.reference_actions:
            actions.append(_DESCRIBED.sub(self._numbered, described))
            if not described.startswith("stop"):
                self.step(actions[-1])
        self._begin()
        return [ExpertStep(action=action, intent="operate") for action in actions]

    def _numbered(self, match: re.Match[str]) -> str:
        found = [one for one in self.page.elements if (one.role, one.name) == (match[1], match[2])]
        if not found:
            raise AgentBankError(f"The reference actions name {match[0]}, which is not on the page {self.page.url}.")
        return f"[{found[0].ref}]"

    def valid_actions(self) -> list[str]:
        """The clicks on what is seen, and the actions without an argument; texts and answers cannot be listed."""
        if self._done:
            return []
        clicks = [f"click [{element.ref}]" for element in self.page.elements]
        return list(dict.fromkeys([*clicks, "scroll [down]", "scroll [up]", "go_back", "go_forward", "stop []"]))

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or ["stop []"])

    def close(self) -> None:
        self.browser.close()


def _parse(action: str) -> tuple[str, str]:
    """Verb and argument, without the brackets where there is one argument."""
    match = _ACTION.fullmatch(action)
    verb, argument = (match[1].lower(), match[2]) if match else ("", "")
    if verb in _PLAIN and argument in ("", "[]"):
        return verb, ""
    if verb == "type":
        return verb, argument
    if verb in ("click", "hover", "press", "scroll", "goto", "tab_focus", "stop"):
        if argument.startswith("[") and argument.endswith("]"):
            return verb, argument[1:-1].strip()
        if verb == "stop" and not argument:
            return verb, ""
    raise PageRefusal(f"That is no action. {_SYNTAX}")


def _on_the_sites(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc in hosts()


def _current_handle(driver: "Chrome") -> str:
    from selenium.common.exceptions import NoSuchWindowException

    try:
        return driver.current_window_handle
    except NoSuchWindowException:  # the page has closed itself
        return ""


def _forget(driver: "Chrome") -> None:
    """Closes all tabs but a new one, and forgets what the sites have stored."""
    old = driver.window_handles
    driver.switch_to.window(old[-1])
    driver.switch_to.new_window("tab")
    kept = driver.current_window_handle
    for handle in old:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(kept)
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    for url in site_urls().values():
        parts = urlsplit(url)
        where = {"origin": f"{parts.scheme}://{parts.netloc}", "storageTypes": _STORED}
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", where)


def _cookies(state: str) -> list[dict[str, Any]]:
    """The cookies of a login, from a file as WebArena's `auto_login.py` writes it.

    Raises:
      AgentBankError: there is no such file, or it is of another layout.
    """
    if not state:
        return []
    try:
        cookies = json.loads(Path(state).read_text(encoding="utf-8"))["cookies"]
        fields = ("name", "value", "domain", "path", "httpOnly", "secure", "sameSite")
        return [{**{name: one[name] for name in fields if name in one}, **_expiry(one)} for one in cookies]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AgentBankError(
            f"{state}: no cookies of a login ({error}); make them with WebArena's browser_env/auto_login.py."
        ) from None


def _expiry(cookie: Mapping[str, Any]) -> dict[str, Any]:
    """-1 stands for the end of the session there."""
    return {"expires": cookie["expires"]} if cookie.get("expires", -1) > 0 else {}
