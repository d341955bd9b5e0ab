"""A small shop on the loopback that this project made, and tasks for it in WebArena's layout."""

import html
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PRODUCTS = {"mug": "7.50", "lamp": "31.00", "kettle": "24.99", "apron": "12.00", "clock": "5.25"}
_TOKEN = "made-token"


class Shop(BaseHTTPRequestHandler):
    """Products, a search, and a cart that lives in a cookie."""

    def log_message(self, *_: object) -> None:
        pass

    def _cookie(self, name: str) -> str:
        pairs = (part.strip().partition("=") for part in self.headers.get("Cookie", "").split(";"))
        return {key: value for key, _, value in pairs}.get(name, "")

    def _send(self, body: str, *, kind: str = "text/html", status: int = 200, **headers: str) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _page(self, title: str, body: str) -> None:
        head = f"<!DOCTYPE html><title>{title}</title><nav><a href=/>Home</a> <a href=/cart>Cart</a></nav>"
        self._send(f"{head}<h1>{title}</h1>{body}")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first, _, rest = parts.path.strip("/").partition("/")
        cart = [one for one in self._cookie("cart").split("+") if one]
        if first == "":
            links = "".join(f"<li><a href=/product/{name}>Made {name}</a></li>" for name in PRODUCTS)
            self._page(
                "Made shop", f"<form action=/search><input name=q aria-label=Search><button>Go</button></form>{links}"
            )
        elif first == "search":
            found = [name for name in PRODUCTS if query.get("q", "") in name]
            links = "".join(f"<li><a href=/product/{name}>Made {name}</a></li>" for name in found)
            self._page(f"Results for {html.escape(query.get('q', ''))}", links)
        elif first == "product" and rest in PRODUCTS:
            form = (
                f"<form method=post action=/cart><input type=hidden name=item value={rest}><button>Add to Cart</button>"
            )
            self._page(f"Made {rest}", f"<p class=price>${PRODUCTS[rest]}</p>{form}</form>")
        elif first == "cart":
            self._page("Cart", f"<ul id=cart>{''.join(f'<li>Made {one}</li>' for one in cart)}</ul>")
        elif first == "account":
            self._page("Account", f"<p id=who>{html.escape(self._cookie('user') or 'nobody')}</p>")
        elif first == "f":
            self._page("Post", "<p>A post &amp; a reply</p>")
        elif first == "traps":
            self._page("Traps", _TRAPS)
        elif first == "reload":
            self._send("<script>location.reload()</script>")
        elif self.path.startswith("/rest/V1/orders"):
            self._send(json.dumps({"items": [{"increment_id": "0042"}]}), kind="application/json")
        elif first == "sales":
            self._page("Order", f"<p id=order>Order {rest.rstrip('/').rpartition('/')[2]}</p>")
        elif self.path.startswith("/rest/V1/products/"):
            review = {"nickname": "Ann", "ratings": [{"rating_name": "Rating", "percent": 80}]}
            self._send(json.dumps([review] if "/S1/" in self.path else []), kind="application/json")
        else:
            self._send("nothing here", status=404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/rest/default/V1/integration/admin/token":
            self._send(json.dumps(_TOKEN), kind="application/json")
        elif self.path == "/cart":
            cart = "+".join(filter(None, [self._cookie("cart"), parse_qs(body)["item"][0]]))
            self._send("", status=303, Location="/cart", Set_Cookie=f"cart={cart}; Path=/")
        elif self.path.endswith("/chat/completions"):
            asked = json.loads(body)["messages"][0]["content"]
            said = "Yes." if "seven and a half" in asked else "No"
            reply = {"choices": [{"message": {"role": "assistant", "content": said}}]}
            self._send(json.dumps(reply), kind="application/json")


_TRAPS = """
<a href="http://192.0.2.1/">Elsewhere</a> <a href="javascript:alert('boo')">Boo</a>
<a href="file:///etc/passwd">File</a> <a href="/product/mug" target="_blank">Tab</a>
<button onclick="window.close()">Close</button> <button onclick="while (true) {}">Loop</button>
<button onclick="setInterval(() => alert('again'), 1)">Dialogs</button> <a href="/reload">Reload</a>
<button onclick="location = 'http://192.0.2.1/'">Leave</button>
"""


@contextmanager
def made_shop() -> Iterator[str]:
    """Serves the shop on the loopback and gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _evaluation(*kinds: str, **fields: object) -> dict:
    return {"eval_types": list(kinds), "reference_answers": None, "reference_url": "", "program_html": [], **fields}


def made_tasks() -> list[dict]:
    """Five tasks for each evaluator, and one for each further rule, with their reference actions."""
    rows: list[dict] = []

    def add(intent: str, evaluation: dict, *actions: str, **fields: object) -> None:
        rows.append(
            {
                "sites": ["shopping"],
                "task_id": len(rows),
                "require_login": False,
                "storage_state": None,
                "start_url": "__SHOPPING__",
                "intent": intent,
                "eval": evaluation,
                "reference_actions": list(actions),
                **fields,
            }
        )

    for place, (name, price) in enumerate(PRODUCTS.items()):
        visit = f'click [link "Made {name}"]'
        answer = {"must_include": [price]} if place % 2 else {"exact_match": f"${price}"}
        add(f"What costs the {name}?", _evaluation("string_match", reference_answers=answer), visit, f"stop [${price}]")
        url = f"__SHOPPING__/product/{name} |OR| __SHOPPING__/other"
        add(
            f"Show me the {name}.",
            _evaluation("url_match", reference_url=url, url_note="GOLD in PRED"),
            visit,
            "stop []",
        )
        target = {
            "url": "__SHOPPING__/cart" if place % 2 else "last",
            "locator": "document.querySelector('#cart').outerText",
            "required_contents": {"must_include": [f"Made {name} |OR| Nothing"]},
        }
        cart = _evaluation("program_html", program_html=[target])
        add(f"Put the {name} into the cart.", cart, visit, 'click [button "Add to Cart"]', "stop []")
    search = _evaluation("url_match", reference_url="__SHOPPING__/search?q=mug")
    add("Search for mug.", search, 'type [textbox "Search"] [mug] [1]', "stop []")
    add("Search for it.", search, 'type [textbox "Search"] [mug] [0]', 'click [button "Go"]', "stop []")
    both = _evaluation(
        "string_match", "url_match", reference_answers={"must_include": ["5"]}, reference_url="__SHOPPING__/cart"
    )
    add("How many products are there? Show the cart.", both, 'click [link "Cart"]', "stop [5 products]")
    nothing = _evaluation("string_match", reference_answers={"fuzzy_match": "N/A"}, string_note="There is no boat.")
    add("What costs the boat?", nothing, "stop [N/A]")
    order = {
        "url": "func:shopping_get_latest_order_url()",
        "locator": "document.querySelector('#order').outerText",
        "required_contents": {"exact_match": "order 42"},
    }
    add("Show the order.", _evaluation("program_html", program_html=[order]), "stop []")
    post = {
        "url": "func:reddit_get_post_url('__last_url__')",
        "locator": "",
        "required_contents": {"must_include": ["A post & a reply"]},
    }
    review = {
        "url": "last",
        "locator": "func:shopping_get_sku_latest_review_author('S1')",
        "required_contents": {"must_include": ["Ann"]},
    }
    posts = _evaluation("program_html", program_html=[post, review])
    add("Show the post.", posts, "goto [__SHOPPING__/f/news/3/a-title]", "stop []")
    who = {
        "url": "last",
        "locator": "document.querySelector('#who').outerText",
        "required_contents": {"exact_match": "emma"},
    }
    add(
        "Show my account.",
        _evaluation("program_html", program_html=[who]),
        "stop []",
        start_url="__SHOPPING__/account",
        require_login=True,
        storage_state="./.auth/shopping_state.json",
    )
    tabs = _evaluation("url_match", reference_url="__SHOPPING__/product/lamp")
    add("Show the lamp.", tabs, "tab_focus [1]", "stop []", start_url="__SHOPPING__ |AND| __SHOPPING__/product/lamp")
    fuzzy = _evaluation("string_match", reference_answers={"fuzzy_match": ["7.50 dollars"]})
    add("What costs the mug, in words?", fuzzy, "stop [seven and a half]")
    add("Show the project.", tabs, "stop []", sites=["gitlab"], start_url="__GITLAB__")
    return rows


def write_webarena(folder: Path, shop: str) -> Path:
    """Writes the made tasks and a login; the addresses of actions are filled in, as only they are the fixture's own."""
    text = json.dumps([{**row, "reference_actions": _filled(row["reference_actions"], shop)} for row in made_tasks()])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.raw.json").write_text(text)
    host = urlsplit(shop).hostname
    cookie = {"name": "user", "value": "emma", "domain": host, "path": "/", "expires": -1, "sameSite": "Lax"}
    (folder / ".auth").mkdir(exist_ok=True)
    (folder / ".auth" / "shopping_state.json").write_text(json.dumps({"cookies": [cookie], "origins": []}))
    return folder


def _filled(actions: list[str], shop: str) -> list[str]:
    return [action.replace("__SHOPPING__", shop) for action in actions]
