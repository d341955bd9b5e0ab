"""What every HTML page of the project must be."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, _ in attributes:
            assert name not in ("src", "href", "onclick"), (tag, name)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str) -> set[str]:
    """Asserts that a page is balanced, needs nothing beside it, and holds no script; returns its tags."""
    checker = _Checker()
    checker.feed(text)
    assert checker.open == [] and "script" not in checker.tags
    assert "\x00" not in text and "prefers-color-scheme: dark" in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"] * text.count("<svg")
    assert not re.findall(r"@import|url\(", text)
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(svg)
    return checker.tags
