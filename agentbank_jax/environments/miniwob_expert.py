"""Scripted experts, one per kind of MiniWoB++ task: they read what an agent reads, the instruction and the elements."""

import re
from collections.abc import Callable, Iterator

from agentbank_jax.environments.browser import Element
from agentbank_jax.environments.miniwob import MAX_STEPS, MiniWob
from agentbank_jax.errors import AgentBankError

Expert = Callable[["View"], Iterator[str]]

_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_WORD = re.compile(r"[^\W\d_]+")


class View:
    """What an expert sees of the present page."""

    def __init__(self, environment: MiniWob) -> None:
        self._environment = environment

    @property
    def goal(self) -> str:
        return self._environment.utterance

    @property
    def quoted(self) -> list[str]:
        """The phrases in quotation marks of the instruction."""
        return re.findall(r'"([^"]*)"', self.goal)

    @property
    def ordinals(self) -> list[int]:
        """The places that the instruction names, from 0."""
        return [int(number) - 1 for number in _ORDINAL.findall(self.goal)]

    @property
    def elements(self) -> tuple[Element, ...]:
        return self._environment.page.elements

    def all(self, *roles: str, name: str | None = None) -> list[Element]:
        """The elements of these roles (all, where none is given), of this name where one is given."""
        return [one for one in self.elements if (not roles or one.role in roles) and (name is None or one.name == name)]

    def one(self, *roles: str, name: str | None = None) -> Element:
        """The first of `all`."""
        found = self.all(*roles, name=name)
        if not found:
            raise AgentBankError(f"The expert misses {' or '.join(roles)} {name!r} on the page for {self.goal!r}.")
        return found[0]


def play(environment: MiniWob) -> list[str]:
    """Plays the task from its start and returns the actions that solved it.

    Raises:
      AgentBankError: there is no expert of this kind, or it failed.
    """
    kind = environment.task.kind
    if kind not in EXPERTS:
        raise AgentBankError(f"There is no expert for MiniWoB++ tasks of the kind '{kind}'.")
    actions: list[str] = []
    for action in EXPERTS[kind](View(environment)):
        actions.append(action)
        _, reward, done, _, _ = environment.step(action)
        if done and reward >= 1.0 and len(actions) <= MAX_STEPS:
            return actions
        if done or len(actions) > MAX_STEPS:
            break
    raise AgentBankError(f"The expert for '{kind}' failed at {environment.task.seed}: {actions}.")


def _click(element: Element) -> str:
    return f"click[{element.ref}]"


def _type(element: Element, text: object) -> str:
    return f"type[{element.ref}, {text}]"


def _click_the_button(view: View) -> Iterator[str]:
    yield _click(view.one("button"))


def _click_quoted(view: View) -> Iterator[str]:
    yield _click(view.one("button", "clickable", name=view.quoted[0]))


def _click_one(view: View) -> Iterator[str]:
    yield _click(view.one("button", name="ONE"))


def _click_one_two(view: View) -> Iterator[str]:
    yield _click(view.one("button", name="ONE"))
    yield _click(view.one("button", name="TWO"))


def _click_dialog(view: View) -> Iterator[str]:
    wanted = view.quoted[0]
    yield _click(view.one("button", name="Close" if wanted == "x" else wanted))


def _select_and_submit(view: View) -> Iterator[str]:
    wanted = re.fullmatch(r"Select (.*?)(?: from the (?:scroll )?list)? and click Submit\.", view.goal)
    for name in wanted[1].split(", ") if wanted and wanted[1] != "nothing" else ():
        yield _click(view.one("checkbox", "radio", "option", name=name))
    yield _click(view.one("button", name="Submit"))


def _type_and_submit(text: Callable[[View], object]) -> Expert:
    def expert(view: View) -> Iterator[str]:
        yield _type(view.one("textbox"), text(view))
        yield _click(view.one("button", name="Submit"))

    return expert


def _changed_case(view: View) -> str:
    return view.quoted[0].upper() if "upper case" in view.goal else view.quoted[0].lower()


def _date(view: View) -> str:
    month, day, year = re.findall(r"\d+", view.goal)[:3]
    return f"{year}-{month}-{day}"


def _time(view: View) -> str:
    hour, minute, half = re.findall(r"(\d+):(\d+)\s*([AP])M", view.goal)[0]
    return f"{int(hour) % 12 + (12 if half == 'P' else 0):02d}:{minute}"


def _nth_word(view: View) -> str:
    return _WORD.findall(view.one("text").name)[view.ordinals[0]]


def _arithmetic(view: View) -> int:
    left, sign, right = re.findall(r"(\d+) ([-+x]) (\d+)", view.one("text").name)[0]
    a, b = int(left), int(right)
    return {"+": a + b, "-": a - b, "x": a * b}[sign]


def _algebra(view: View) -> int:
    left, sign, right, total = re.findall(r"(\w+) ([-+]) (\w+) = (-?\d+)", view.one("text").name)[0]
    if sign == "+":
        return int(total) - int(right if left == "x" else left)
    return int(total) + int(right) if left == "x" else int(left) - int(total)


def _table(view: View) -> dict[str, str]:
    cells = [cell.name for cell in view.all("cell")]
    return dict(zip(cells[::2], cells[1::2], strict=True))


def _read_table(view: View) -> str:
    wanted = re.findall(r"Enter the value of (.*) into the text field", view.goal)[0]
    return _table(view)[wanted]


def _read_table_2(view: View) -> Iterator[str]:
    table = _table(view)
    labels = [one.name.rstrip(":") for one in view.elements if one.name.endswith(":")]
    for place, label in enumerate(labels):
        yield _type(view.all("textbox")[place], table[label])
    yield _click(view.one("button", name="Submit"))


def _enter_password(view: View) -> Iterator[str]:
    for place in range(2):
        yield _type(view.all("textbox")[place], view.quoted[0])
    yield _click(view.one("button", name="Submit"))


def _login_user(view: View) -> Iterator[str]:
    for place in range(2):
        yield _type(view.all("textbox")[place], view.quoted[place])
    yield _click(view.one("button", name="Login"))


def _focus(view: View) -> Iterator[str]:
    yield f"focus[{view.all('textbox')[view.ordinals[0] if view.ordinals else 0].ref}]"


def _click_tab(view: View) -> Iterator[str]:
    yield _click(view.one("link", name=re.findall(r"Tab #\d", view.goal)[0]))


def _search_parts(parts: Callable[[View], list[Element]]) -> Expert:
    """Opens one part of the page after another until the quoted link shows."""

    def expert(view: View) -> Iterator[str]:
        for place in range(len(parts(view))):
            if not view.all("clickable", name=view.quoted[0]):
                yield _click(parts(view)[place])
        yield _click(view.one("clickable", name=view.quoted[0]))

    return expert


def _click_color(view: View) -> Iterator[str]:
    wanted = re.findall(r"Click on the (\w+) colored box", view.goal)[0]
    yield _click(next(one for one in view.all("box") if one.states.get("color") == wanted))


def _shape_of(element: Element) -> tuple[str, str]:
    """What a shape is, exactly and roughly, as the pages call it."""
    if element.role == "text":
        return element.name, "digit" if element.name.isdigit() else "letter"
    return {"circle": "circle", "rect": "rectangle"}.get(element.role, "triangle"), "shape"


def _click_shape(view: View) -> Iterator[str]:
    *adjectives, noun = view.goal.removeprefix("Click on a ").split()
    shapes = [one for one in view.elements if "at" in one.states]

    def large(one: Element) -> bool:
        # Letters are drawn in a small and a large size as well; their height tells them apart.
        return int(one.states["size"].split("x")[1]) > 15

    for one in shapes:
        if noun != "item" and noun not in _shape_of(one):
            continue
        if all(word in (one.states["color"], "large" if large(one) else "small") for word in adjectives):
            yield _click(one)
            return


def _identify_shape(view: View) -> Iterator[str]:
    exact, rough = _shape_of(next(one for one in view.elements if "at" in one.states))
    name = {"letter": "Letter", "digit": "Number", "shape": exact.capitalize()}[rough]
    yield _click(view.one("button", name=name))


def _grid_coordinate(view: View) -> Iterator[str]:
    right, up = map(int, re.findall(r"-?\d+", view.goal))
    points = view.all("circle")
    across, down = ([int(one.states["at"].split(",")[axis]) for one in points] for axis in (0, 1))
    columns, rows = sorted(set(across)), sorted(set(down))
    at = f"{columns[right + 2]},{rows[2 - up]}"
    yield _click(next(one for one in points if one.states["at"] == at))


def _click_collapsible(view: View) -> Iterator[str]:
    yield _click(next(one for one in view.elements if one.name.startswith("Section #")))
    yield _click(view.one("button", name="Submit"))


def _click_menu(view: View) -> Iterator[str]:
    *parents, leaf = view.goal.removeprefix("Select ").split(">")
    for name in parents:
        yield f"hover[{view.one(name=name).ref}]"
    yield _click(view.one(name=leaf))


def _click_widget(view: View) -> Iterator[str]:
    # A page calls a field of one line text, and one of several lines textarea; both are textboxes here.
    role = {"text": "textbox", "textarea": "textbox"}.get(view.quoted[0], view.quoted[0])
    found = view.all(role)
    if view.quoted[0] in ("text", "textarea"):
        found = [one for one in found if ("multiline" in one.states) == (view.quoted[0] == "textarea")]
    yield _click(found[0])


def _navigate_tree(view: View) -> Iterator[str]:
    opened: set[int] = set()
    while not view.all(name=view.quoted[0]):
        handle = next(one for one in view.all("clickable") if "expandable" in one.name and one.ref not in opened)
        opened.add(handle.ref)
        yield _click(handle)
    yield _click(view.one(name=view.quoted[0]))


def _search_engine(view: View) -> Iterator[str]:
    page, place = divmod(view.ordinals[0], 3)
    yield _type(view.one("textbox"), view.quoted[0])
    yield _click(view.one("button", name="Search"))
    if page:
        yield _click(view.one("link", name=str(page + 1)))
    results = [link for link in view.all("link") if not link.name.isdigit() and link.name not in ("<", ">")]
    yield _click(results[place])


def _use_autocomplete(view: View) -> Iterator[str]:
    start, end = view.quoted[0], view.quoted[1] if len(view.quoted) > 1 else ""
    yield _type(view.one("textbox"), f"{start} {end}")
    yield _click(view.one("button", name="Submit"))


def _email_inbox(view: View) -> Iterator[str]:
    sender = re.findall(r"email by (\w+)", view.goal)[0]
    place = next(place for place, one in enumerate(view.elements) if one.name == sender)
    for icon, words in (("trash", "trash icon"), ("star", "star icon")):
        if words in view.goal:
            yield _click(next(one for one in view.elements[place:] if one.name == icon))
            return
    yield _click(view.elements[place])
    if "reply" in view.goal:
        yield _click(view.one(name="Reply"))
        yield _type(view.one("textbox"), view.quoted[0])
        yield _click(view.one(name="send-reply"))
    else:
        yield _click(view.one(name="Forward"))
        yield _type(view.one("textbox"), re.findall(r"forward that email to (\w+)", view.goal)[0])
        yield _click(view.one(name="send-forward"))


def _odd_or_even(view: View) -> Iterator[str]:
    numbers = [one.name for one in view.elements if re.fullmatch(r"-?\d+", one.name)]
    for place, number in enumerate(numbers):
        yield _click(view.all("button", name="Odd" if int(number) % 2 else "Even")[place])
    yield _click(view.one("button", name="Submit"))


def _guess_number(view: View) -> Iterator[str]:
    low, high = 0, 9
    while True:
        middle = (low + high) // 2
        yield _type(view.one("spinbutton"), middle)
        yield _click(view.one("button", name="Submit"))
        if any("higher than" in one.name for one in view.elements):
            low = middle + 1
        else:
            high = middle - 1


def _form_sequence_2(view: View) -> Iterator[str]:
    radio, field = view.ordinals
    yield _click(view.all("radio")[radio])
    yield _type(view.all("textbox")[field], view.quoted[0])
    yield _click(view.one("button", name="Submit"))


def _multi_orderings(view: View) -> Iterator[str]:
    genre, director, year = re.findall(r"for (.+) movies directed by (.+) from year (\d+)", view.goal)[0]
    labels = [one.name for one in view.all("cell")]
    values = {"Genre": genre, "Director": director, "Year": year}
    for place, label in enumerate(label for label in labels if label in values):
        yield _type(view.all("textbox")[place], values[label])
    yield _click(view.one("clickable", name="Submit"))


EXPERTS: dict[str, Expert] = {
    "click-button": _click_quoted,
    "click-button-sequence": _click_one_two,
    "click-checkboxes": _select_and_submit,
    "click-collapsible": _click_collapsible,
    "click-collapsible-2": _search_parts(lambda view: [one for one in view.elements if one.name.startswith("Section")]),
    "click-color": _click_color,
    "click-dialog": _click_the_button,
    "click-dialog-2": _click_dialog,
    "click-link": _click_quoted,
    "click-menu": _click_menu,
    "click-option": _select_and_submit,
    "click-scroll-list": _select_and_submit,
    "click-shape": _click_shape,
    "click-tab": _click_tab,
    "click-tab-2": _search_parts(lambda view: view.all("link")),
    "click-test": _click_the_button,
    "click-test-2": _click_one,
    "click-widget": _click_widget,
    "choose-list": _select_and_submit,
    "email-inbox": _email_inbox,
    "enter-date": _type_and_submit(_date),
    "enter-password": _enter_password,
    "enter-text": _type_and_submit(lambda view: view.quoted[0]),
    "enter-text-2": _type_and_submit(_changed_case),
    "enter-text-dynamic": _type_and_submit(lambda view: view.quoted[0]),
    "enter-time": _type_and_submit(_time),
    "find-word": _type_and_submit(_nth_word),
    "focus-text": _focus,
    "focus-text-2": _focus,
    "form-sequence-2": _form_sequence_2,
    "grid-coordinate": _grid_coordinate,
    "guess-number": _guess_number,
    "identify-shape": _identify_shape,
    "login-user": _login_user,
    "multi-orderings": _multi_orderings,
    "navigate-tree": _navigate_tree,
    "odd-or-even": _odd_or_even,
    "read-table": _type_and_submit(_read_table),
    "read-table-2": _read_table_2,
    "search-engine": _search_engine,
    "simple-algebra": _type_and_submit(_algebra),
    "simple-arithmetic": _type_and_submit(_arithmetic),
    "unicode-test": _click_quoted,
    "use-autocomplete": _use_autocomplete,
}
