"""The browser: what it shows, what it refuses, and that nothing of it stays."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentbank_jax.environments import browser_process
from agentbank_jax.environments.browser import Browser, Element, Page, PageHangs, PageRefusal
from agentbank_jax.errors import AgentBankError
from tests.environments.web_actions import need_browser

SECONDS = 4


def test_an_element_is_a_line() -> None:
    assert Element(ref=12, role="button", name="OK").line == '[12] button "OK"'
    field = Element(ref=3, role="textbox", name="", states={"value": "", "focused": ""})
    assert field.line == '[3] textbox value="" focused'
    assert Page(url="", title="", elements=(field,), left=2).text == f"{field.line}\n(2 more below)"


def test_a_missing_program_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser_process.DRIVER_VARIABLE, "/nowhere/chromedriver")
    monkeypatch.setenv(browser_process.CHROMIUM_VARIABLE, sys.executable)
    with pytest.raises(AgentBankError, match=r"MINIWOB_CHROMEDRIVER is '/nowhere/chromedriver', which is no program"):
        browser_process.find_programs()
    pytest.importorskip("selenium", reason="without selenium it is what is missing first")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(browser_process.CHROMIUM_VARIABLE)
    assert "install chromium" in (browser_process.missing() or "")


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    need_browser()
    browser = Browser(size=(500, 600), seconds=SECONDS)
    yield browser
    browser.close()


def show(window: Browser, folder: Path, html: str) -> str:
    page = folder / "page.html"
    page.write_text(f"<meta charset=utf-8>{html}")
    window.notes.clear()
    window.open(page.as_uri())
    return window.page().text


@pytest.mark.arena
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<button>Buy <b>now</b></button>", '[1] button "Buy now"'),
        ("<label>Name <input value='Ann'></label>", '[1] textbox "Name" value="Ann"'),
        ("<input type=checkbox checked disabled>", "[1] checkbox checked disabled"),
        (
            "<select><option>a<option selected>b</select>",
            '[1] combobox\n[2] option "a"\n[3] option "b" selected',
        ),
        ("<p>one <a href=#>two</a> three", '[1] text "one"\n[2] link "two"\n[1] text "three"'),
        ("<p style='display:none'>x</p><p style='visibility:hidden'>y</p><p>z", '[1] text "z"'),
        ("<svg><circle cx=20 cy=20 r=5 fill=red /></svg>", '[1] circle at="28,28" color="red" size="10x10"'),
        ("<div style='background:rgb(0,0,255);width:9px;height:9px'></div>", '[1] box color="blue"'),
        ("<ul><li>Folder<ul><li>File</ul></ul>", '[1] item "Folder"\n[2] item "File"'),
        ("<script>x</script><style>p{}</style><img alt='a cat' src=x width=9 height=9>", '[1] img "a cat"'),
    ],
)
def test_a_page_is_shown_by_what_is_visible(window: Browser, tmp_path: Path, html: str, text: str) -> None:
    assert show(window, tmp_path, html) == text


@pytest.mark.arena
def test_numbers_stay_while_the_page_does_and_stale_ones_are_refused(window: Browser, tmp_path: Path) -> None:
    show(window, tmp_path, "<button onclick=this.remove()>a</button><button onclick=\"document.title='b'\">b</button>")
    window.click(1)
    assert window.page().text == '[2] button "b"'
    window.click(2)
    assert window.page().title == "b"
    for ref in (1, 0, -1, 10**6):
        with pytest.raises(PageRefusal, match="There is no element"):
            window.click(ref)


@pytest.mark.arena
def test_typing_replaces_what_is_there(window: Browser, tmp_path: Path) -> None:
    show(window, tmp_path, "<input value=old><textarea>old</textarea><input type=date><button>x</button>")
    # The second holds a character that selenium would read as the key Escape.
    window.type(1, "two\nlines 😀\ue00c")
    window.type(2, "x" * 300 + "\ny")
    window.type(3, "2020-02-29")
    states = [element.states["value"] for element in window.page().elements[:3]]
    assert states == ["two lines 😀", "x" * 300 + "...", "2020-02-29"]
    window.type(1, "")
    assert window.page().elements[0].states["value"] == ""
    for ref, text in ((3, "2021-02-29"), (4, "x"), (1, "x" * 5000)):
        with pytest.raises(PageRefusal):
            window.type(ref, text)


@pytest.mark.arena
def test_what_is_covered_is_clicked_where_it_is_free_and_refused_where_it_is_not(
    window: Browser, tmp_path: Path
) -> None:
    html = (
        "<button style='position:absolute;left:0;top:0;width:90px;height:90px' onclick=\"document.title='low'\">"
        "</button><button style='position:absolute;left:{0}px;top:{0}px;width:90px;height:90px'></button>"
    )
    show(window, tmp_path, html.format(20))
    window.click(1)
    assert window.page().title == "low"
    show(window, tmp_path, html.format(0))
    with pytest.raises(PageRefusal, match="covers"):
        window.click(1)


@pytest.mark.arena
@pytest.mark.parametrize("key", ["F4", "", "Control+w", "Control+t", "Alt+F4", "Meta+a", "Enter+Enter", "\ue00c"])
def test_keys_that_leave_the_page_or_do_not_exist_are_refused(window: Browser, tmp_path: Path, key: str) -> None:
    show(window, tmp_path, "<input>")
    with pytest.raises(PageRefusal):
        window.press(key)


@pytest.mark.arena
def test_keys_reach_the_focus(window: Browser, tmp_path: Path) -> None:
    show(window, tmp_path, "<input value=abc><input>")
    window.focus(1)
    for key in ("Control+a", "Control+c", "Tab", "Control+v", "Backspace", "+", "é"):
        window.press(key)
    assert window.page().elements[1].states["value"] == "ab+é"


class SlowPicture(BaseHTTPRequestHandler):
    """A page with an icon that comes late, between two buttons."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        page = "<button>a</button><span id=icon style='content:url(/icon.svg);cursor:pointer'></span><button>b</button>"
        kind, content = "text/html", f"<script>setTimeout(() => document.body.innerHTML = `{page}`, 0)</script><body>"
        if self.path == "/icon.svg":
            time.sleep(0.2)
            kind, content = "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content.encode())


@pytest.mark.arena
def test_a_picture_that_comes_late_is_waited_for_so_that_numbers_do_not_follow_chance() -> None:
    need_browser()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowPicture)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    browser = Browser(size=(300, 300), hosts=[f"127.0.0.1:{server.server_port}"])
    try:
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        assert browser.page().text == '[1] button "a"\n[2] clickable "icon"\n[3] button "b"'
    finally:
        browser.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.arena
def test_a_dialog_is_told_and_dismissed(window: Browser, tmp_path: Path) -> None:
    show(window, tmp_path, "<button onclick=\"alert('hello')\">a</button>")
    window.click(1)
    assert window.page().text == '[1] button "a" focused'
    assert window.notes == ["The page said: hello"]


@pytest.mark.arena
@pytest.mark.parametrize(
    "html",
    [
        "<button onclick='while(1);'>a</button>",
        "<button onclick='setTimeout(() => {while(1);}, 1)'>a</button>",
        "<button onclick='setInterval(() => alert(1), 1)'>a</button>",
    ],
)
def test_a_page_that_hangs_is_given_up_and_the_next_one_opens(window: Browser, tmp_path: Path, html: str) -> None:
    show(window, tmp_path, html)
    start = time.monotonic()
    with pytest.raises(PageHangs):
        window.click(1)
        for _ in range(3):
            time.sleep(0.1)
            window.page()
    assert time.monotonic() - start < 3 * SECONDS + 5
    assert show(window, tmp_path, "<button>a</button>") == '[1] button "a"'


@pytest.mark.arena
def test_nothing_but_the_given_hosts_is_reached(window: Browser) -> None:
    for url in ("http://192.0.2.1/", "http://example.org/", "http://127.0.0.1:8000/", "http://localhost/"):
        with pytest.raises(PageRefusal, match="cannot be reached"):
            window.open(url)


def _descendants(root: int) -> list[int]:
    rows = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.splitlines()
    children: dict[int, list[int]] = {}
    for pid, parent in (map(int, row.split()) for row in rows):
        children.setdefault(parent, []).append(pid)
    found, left = [], [root]
    while left:
        found += children.get(left[0], [])
        left += children.get(left.pop(0), [])
    return found


def _with_folder(folder: Path) -> list[int]:
    """The processes that were started with this folder as theirs, whoever their parents are now."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={folder}/".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


HOLDER = """
import sys, time
from agentbank_jax.environments.browser import Browser
browser = Browser(size=(300, 300))
browser.open("about:blank")
print(flush=True)
time.sleep(600)
"""


@pytest.mark.arena
def test_a_killed_process_leaves_no_browser_and_no_file(short_folder: Path) -> None:
    need_browser()
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(short_folder)}
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    started = _with_folder(short_folder)
    assert len(started) >= 4 and list(short_folder.iterdir()), "driver, browser and its helpers"
    worker.kill()
    worker.wait()
    end = time.monotonic() + 10
    while (any(map(_alive, started)) or list(short_folder.iterdir())) and time.monotonic() < end:
        time.sleep(0.1)
    assert [pid for pid in started if _alive(pid)] == []
    assert list(short_folder.iterdir()) == []


@pytest.mark.arena
def test_closing_ends_the_processes_and_may_be_repeated() -> None:
    need_browser()
    browser = Browser(size=(300, 300))
    browser.close()
    before = set(_descendants(os.getpid()))
    browser.open("about:blank")
    started = set(_descendants(os.getpid())) - before
    assert started
    browser.close()
    browser.close()
    time.sleep(0.5)
    assert [pid for pid in started if _alive(pid)] == []
