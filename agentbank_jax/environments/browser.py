"""A headless Chromium that is read and used as text: elements with numbers, and actions on them.

The driver is selenium with Chromium's own chromedriver. Both are the user's; nothing is fetched.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agentbank_jax.environments import browser_script
from agentbank_jax.environments.browser_process import start_chromium, stop_chromium
from agentbank_jax.errors import first_line

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

_NAME_LIMIT = 300  # characters of one element's name or value
_ELEMENT_LIMIT = 250
_TEXT_LIMIT = 4000  # characters that one action may type
_KEYS_LIMIT = 200  # beyond it text is put in at once, not key by key
_POLL_SECONDS, _SETTLE_SECONDS = 0.02, 0.5
_HOVER_SECONDS = 0.35  # menus open a little after the pointer came

T = TypeVar("T")

KEYS = (
    "Enter", "Tab", "Escape", "Backspace", "Delete", "Space", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight",
    "Home", "End", "PageUp", "PageDown",
)  # fmt: skip
MODIFIERS = ("Control", "Shift", "Alt")
_SHORTCUTS = "acvxz"  # with Control; others open windows or leave the page


class PageRefusal(Exception):
    """An action that the page does not allow; the message is an observation, and the page is as it was."""


class PageHangs(Exception):
    """The page does not answer any more; the browser has been ended, and the next one starts afresh."""


@dataclass(frozen=True, kw_only=True)
class Element:
    """A visible element of a page.

    Fields:
      ref: its number, by which actions name it.
      role: what it is: button, link, textbox, checkbox, text, …
      name: its text or label.
      states: `value`, `checked`, `color`, …; an empty value stands for a state that holds.
      key: its id, else its class.
      box: left, top, width, height in the window, in pixels.
    """

    ref: int
    role: str
    name: str
    states: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def line(self) -> str:
        """`[12] textbox "Name" value="Ann"`."""
        states = [f'{name}="{value}"' if value or name == "value" else name for name, value in self.states.items()]
        named = [f'"{self.name}"'] if self.name else []
        return " ".join([f"[{self.ref}]", self.role, *named, *states])


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is seen of a page.

    Fields:
      url, title: of the page.
      elements: in the order of the document.
      left: how many more there are, below.
      busy: whether more is about to show.
    """

    url: str
    title: str
    elements: tuple[Element, ...]
    left: int = 0
    busy: bool = False

    @property
    def text(self) -> str:
        """A line per element."""
        lines = [element.line for element in self.elements]
        return "\n".join([*lines, f"({self.left} more below)"] if self.left else lines)


class Browser:
    """One Chromium with one window, started at the first use and again after a hang.

    Every method that acts raises `PageRefusal` where the page does not allow the action and `PageHangs` where the page
    has stopped answering. Nothing but `hosts` can be reached: all else goes to a proxy that does not exist.

    Browser, driver and profile go when this process ends, however it ends.

    Args:
      size: of the window, in pixels.
      hosts: `host` or `host:port` that pages may come from.
      seconds: that a page may take for one action.
      skipped: CSS selector of elements that are not shown.
      view_only: show what the window shows, not the whole page.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        hosts: Sequence[str] = (),
        seconds: float = 15.0,
        skipped: str = "",
        view_only: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self._size, self._hosts, self._seconds = size, tuple(hosts), seconds
        self._skipped, self._view_only = skipped, view_only
        self._driver: Chrome | None = None

    @property
    def driver(self) -> "Chrome":
        """The running driver; starts it where there is none."""
        if self._driver is None:
            self._driver = start_chromium(size=self._size, hosts=self._hosts, seconds=self._seconds)
        return self._driver

    def close(self) -> None:
        """Ends the browser and its driver at once, without asking them; may be called again."""
        driver, self._driver = self._driver, None
        if driver is not None:
            stop_chromium(driver)

    def call(self, work: Callable[["Chrome"], T]) -> T:
        """Lets `work` use the driver and turns its errors into this module's."""
        from selenium.common import exceptions
        from urllib3.exceptions import HTTPError

        for attempt in range(4):
            try:
                return work(self.driver)
            except exceptions.UnexpectedAlertPresentException as error:
                self.notes.append(f"The page said: {error.alert_text or ''}")
            except (exceptions.TimeoutException, HTTPError, TimeoutError) as error:
                raise self._hang(error) from None
            except (exceptions.InvalidSessionIdException, exceptions.NoSuchWindowException) as error:
                raise self._hang(error) from None
            except exceptions.ElementClickInterceptedException:
                raise PageRefusal("Something else covers the element.") from None
            except (exceptions.StaleElementReferenceException, exceptions.NoSuchElementException):
                raise PageRefusal("The element is no longer there.") from None
            except (
                exceptions.ElementNotInteractableException,
                exceptions.InvalidElementStateException,
                exceptions.MoveTargetOutOfBoundsException,
            ):
                raise PageRefusal("The element cannot be used like that.") from None
            except exceptions.WebDriverException as error:
                # A page that is just being left answers with errors of many kinds, and then does not.
                if attempt == 3:
                    raise self._hang(error) from None
                time.sleep(0.2)
        raise self._hang(PageHangs("the page opens one dialog after another"))

    def _hang(self, error: Exception) -> PageHangs:
        self.close()
        return PageHangs(first_line(error))

    def script(self, code: str, *arguments: object) -> Any:
        """Runs JavaScript in the page and returns what it returns."""
        return self.call(lambda driver: driver.execute_script(code, *arguments))

    def open(self, url: str) -> None:
        """Goes to an address, which the caller has checked."""
        from selenium.common.exceptions import WebDriverException

        def go(driver: "Chrome") -> bool:
            try:
                driver.get(url)
            except WebDriverException as error:
                if "net::ERR" not in str(error):
                    raise
                return False
            return True

        # Some failures are no error but a page that tells of it.
        if not self.call(go) or self.script("return location.protocol;") == "chrome-error:":
            raise PageRefusal(f"{url[:200]} cannot be reached.")

    def page(self) -> Page:
        """The page as it is when two looks at it agree and it is not busy, or after half a second.

        Elements get their numbers then alone: else those that show for a moment would take some, by chance.
        """
        seen = self._look(numbered=False)
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
            again = self._look(numbered=False)
            if again == seen and not again.busy:
                break
            seen = again
        return self._look(numbered=True)

    def _look(self, *, numbered: bool) -> Page:
        arguments = (self._skipped, _NAME_LIMIT, _ELEMENT_LIMIT, self._view_only, numbered)
        found = None
        for _ in range(3):  # a dialog that opens while a script runs leaves it without a result
            found = found or self.script(browser_script.OBSERVE, *arguments)
        if found is None:
            raise self._hang(PageHangs("the page cannot be read"))
        elements = tuple(Element(**{**one, "box": tuple(one["box"])}) for one in found["elements"])
        return Page(url=found["url"], title=found["title"], elements=elements, left=found["left"], busy=found["busy"])

    def _find(self, ref: int) -> "WebElement":
        element = self.script(browser_script.FIND, ref)
        if element is None:
            raise PageRefusal(f"There is no element [{ref}] on the page.")
        return element

    def click(self, ref: int) -> None:
        """Clicks the middle of an element, or a place of it that nothing covers."""
        from selenium.common.exceptions import ElementClickInterceptedException
        from selenium.webdriver.common.action_chains import ActionChains

        element = self._find(ref)

        def press(driver: "Chrome") -> None:
            try:
                element.click()
            except ElementClickInterceptedException:
                place = driver.execute_script(browser_script.UNCOVERED, element)
                if place is None:
                    raise
                chain = ActionChains(driver, duration=0)
                chain.w3c_actions.pointer_action.move_to_location(*place).click()
                chain.perform()

        self.call(press)

    def hover(self, ref: int) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        element = self._find(ref)
        self.call(lambda driver: ActionChains(driver, duration=50).move_to_element(element).perform())
        time.sleep(_HOVER_SECONDS)

    def focus(self, ref: int) -> None:
        self.script("arguments[0].focus();", self._find(ref))

    def drag(self, ref: int, target: int | tuple[int, int]) -> None:
        """Drags an element onto another, or by (right, down) pixels."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self._find(ref)
        other = self._find(target) if isinstance(target, int) else None
        # A drag that fails midway would end as a click.
        if not self.script(browser_script.CAN_DRAG, element, other, *(target if isinstance(target, tuple) else (0, 0))):
            raise PageRefusal("The drag ends outside the window.")

        def pull(driver: "Chrome") -> None:
            chain = ActionChains(driver, duration=50).click_and_hold(element)
            if other is not None:
                chain = chain.move_to_element(other)
            elif isinstance(target, tuple):
                chain = chain.move_by_offset(*target)
            chain.release().perform()

        self.call(pull)

    def type(self, ref: int, text: str) -> None:
        """Puts `text` into a field in place of what is there; a date is written YYYY-MM-DD, a time HH:MM."""
        if len(text) > _TEXT_LIMIT:
            raise PageRefusal(f"The text has {len(text)} characters; at most {_TEXT_LIMIT} can be typed.")
        element = self._find(ref)
        tag, kind, editable = self.script(browser_script.KIND, element)
        if kind in ("date", "time", "color", "range", "month", "week", "datetime-local"):
            if self.script(browser_script.SET_VALUE, element, text) != text:
                raise PageRefusal(f"The {kind} field does not take {text[:40]!r}.")
            return
        if not (editable or tag == "textarea" or (tag == "input" and kind not in ("checkbox", "radio", "file"))):
            raise PageRefusal(f"Element [{ref}] takes no text.")
        # selenium reads characters of this range as keys such as Escape.
        text = "".join(character for character in text if not "\ue000" <= character <= "\uf8ff")
        if tag == "input":
            text = " ".join(text.splitlines())

        def enter(driver: "Chrome") -> None:
            element.click()
            driver.execute_script(browser_script.SELECT_ALL, element)
            if not text:
                element.send_keys("\ue017")
            elif len(text) > _KEYS_LIMIT or max(text) > "\uffff":
                driver.execute_cdp_cmd("Input.insertText", {"text": text})
            else:
                element.send_keys(text)

        self.call(enter)

    def press(self, combination: str) -> None:
        """Presses a key such as `Enter`, a character, or `Control+a`, where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        *held, key = combination.split("+") if len(combination) > 1 else [combination]
        names = {"ctrl": "Control", **{name.lower(): name for name in (*KEYS, *MODIFIERS)}}
        held = [names.get(name.strip().lower(), name) for name in held]
        key = names.get(key.strip().lower(), key)
        if any(name not in MODIFIERS for name in held) or not (key in KEYS or (len(key) == 1 and key.isprintable())):
            raise PageRefusal(f"There is no key {combination[:40]!r}; there are {', '.join(KEYS)} and characters.")
        if "Control" in held and key not in KEYS and key.lower() not in _SHORTCUTS:
            raise PageRefusal(f"{combination[:40]} is not allowed; with Control there are {', '.join(_SHORTCUTS)}.")
        code = getattr(Keys, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).upper()) if key in KEYS else key

        def strike(driver: "Chrome") -> None:
            chain = ActionChains(driver)
            for name in held:
                chain = chain.key_down(getattr(Keys, name.upper()))
            chain = chain.send_keys(code)
            for name in reversed(held):
                chain = chain.key_up(getattr(Keys, name.upper()))
            chain.perform()

        self.call(strike)

    def scroll(self, direction: str, ref: int | None = None) -> None:
        """Scrolls the page, or the element `ref`, by nine tenths of what it shows."""
        sign = {"up": -1, "down": 1}.get(direction.strip().lower())
        if sign is None:
            raise PageRefusal(f"scroll goes up or down, not {direction[:40]!r}.")
        element = self._find(ref) if ref is not None else None
        self.script(
            "const one = arguments[1]; const part = arguments[0] * 0.9;"
            "if (one) one.scrollBy(0, part * one.clientHeight); else scrollBy(0, part * innerHeight);",
            sign,
            element,
        )


def read_number(text: str, syntax: str) -> int:
    """The number of an element as an action names it, with or without brackets.

    Raises:
      PageRefusal: where it is none; the message adds `syntax`.
    """
    text = text.strip().strip("[]")
    if not re.fullmatch(r"-?[0-9]{1,6}", text):
        raise PageRefusal(f"{text[:40]!r} is no number of an element. {syntax}")
    return int(text)
