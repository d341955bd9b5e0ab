"""The pages of Mind2Web as short lists of the elements that may be acted on."""

import html
import json
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CANDIDATES = 50
"""The elements of one page: the published evaluation lets a model choose among the 50 best ranked."""

_WORDS, _LIST_WORDS = 10, 60
_LINE_LIMIT = 200  # characters of one name
_TOKEN = re.compile(r"<(/?)([A-Za-z][\w:.-]*)([^>]*?)(/?)>|([^<]+)")
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_TELLING = (
    "role", "type", "aria_label", "aria-label", "placeholder", "title", "alt", "name", "label", "value", "input_value",
    "input_checked", "option_selected",
)  # fmt: skip
_VOID = frozenset(("input", "img", "br", "hr", "meta", "link", "area", "source", "col"))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An element that may be chosen.

    Fields:
      number: by which an answer names it, from 1 in the order of the page.
      tag: its HTML tag.
      text: the first words in it.
      attributes: what tells it from others, as `name="value"`.
      right: whether choosing it is right.
    """

    number: int
    tag: str
    text: str
    attributes: str
    right: bool

    @property
    def line(self) -> str:
        """`[3] button "Search" role="link"`."""
        named = f' "{self.text}"' if self.text else ""
        return f"[{self.number}] {self.tag}{named}{' ' if self.attributes else ''}{self.attributes}"


def candidates_of(action: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """The elements of a recorded step that are shown: all right ones, and others up to `CANDIDATES`.

    The others are drawn with the step's id as seed, and all stand in the order of the page. The published evaluation
    takes those that its own ranking model puts first; that ranking is a download of its own.
    """
    right = [_node(one) for one in action["pos_candidates"]]
    wrong = [node for node in map(_node, action["neg_candidates"]) if node not in right]
    rng = random.Random(str(action["action_uid"]))
    drawn = rng.sample(wrong, min(len(wrong), max(CANDIDATES - len(right), 0)))
    chosen = dict.fromkeys([*right, *drawn])
    elements = _read(action["cleaned_html"], chosen)
    given = {_node(one): one for one in (*action["pos_candidates"], *action["neg_candidates"])}
    order = {node: place for place, node in enumerate(elements)}
    shown = []
    for number, node in enumerate(sorted(chosen, key=lambda node: order.get(node, len(order))), start=1):
        tag, attributes, words = elements.get(node) or (str(given[node].get("tag", "")), _own(given[node]), [])
        telling = (f'{name}="{attributes[name][:_LINE_LIMIT]}"' for name in _TELLING if attributes.get(name))
        text = " ".join(words)[:_LINE_LIMIT]
        shown.append(Candidate(number=number, tag=tag, text=text, attributes=" ".join(telling), right=node in right))
    return tuple(shown)


def _node(candidate: Mapping[str, Any]) -> str:
    return str(candidate["backend_node_id"])


def _own(candidate: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that a candidate itself carries, as JSON in a string."""
    try:
        found = json.loads(candidate.get("attributes") or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _read(page: str, wanted: Iterable[str]) -> dict[str, tuple[str, dict[str, str], list[str]]]:
    """Tag, attributes and first words of the wanted nodes, in the order of the page."""
    wanted = set(wanted)
    found: dict[str, tuple[str, dict[str, str], list[str]]] = {}
    open_nodes: list[tuple[str, list[str] | None]] = []
    for closing, tag, attributes, empty, text in _TOKEN.findall(page):
        if text:
            words = html.unescape(text).split()
            for name, heard in open_nodes if words else ():
                if heard is not None:
                    limit = _LIST_WORDS if name == "select" else _WORDS
                    heard += words[: limit - len(heard)]
        elif closing:
            while open_nodes and open_nodes.pop()[0] != tag:
                pass
        else:
            named = {name: html.unescape(one or other) for name, one, other in _ATTRIBUTE.findall(attributes)}
            node = named.get("backend_node_id", "")
            heard = [] if node in wanted else None
            if heard is not None:
                found[node] = (tag, named, heard)
            if not empty and tag not in _VOID:
                open_nodes.append((tag, heard))
    return found
