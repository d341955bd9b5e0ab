"""What every HTML page of the project must be."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from xml.etree import ElementTree


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "script":
            self.scripts.append(dict(attributes).get("type"))
        for name, _ in attributes:
            assert name not in ("src", "href", "onclick"), (tag, name)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str, *, scripts: int = 0) -> set[str]:
    """Asserts that a page is balanced, needs nothing beside it, and runs so many scripts of its own; returns its tags.

    What a browser neither runs nor shows, since its type is that of plain text, is no script. What one runs, the page's
    policy names by its digest.
    """
    checker = _Checker()
    checker.feed(text)
    assert checker.open == []
    assert [kind for kind in checker.scripts if kind != "text/plain"] == [None] * scripts
    (allowed,) = re.findall(r"script-src ([^\"]*)\"", text)
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'"
        for each in re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    ]
    assert allowed == (" ".join(digests) or "'none'")
    assert "\x00" not in text and "prefers-color-scheme: dark" in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"] * text.count("<svg")
    assert not re.findall(r"@import|url\(", text)
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(svg)
    return checker.tags
