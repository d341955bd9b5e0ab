"""The helper functions that WebArena's configurations name, such as `reddit_get_post_url('…')`.

They are looked up by name and given constants: nothing of a configuration is run as Python.
"""

import ast
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from agentbank_jax.environments.browser import Browser
from agentbank_jax.errors import AgentBankError, did_you_mean

ADMIN_VARIABLE = "WEBARENA_SHOPPING_ADMIN_LOGIN"
_ADMIN = "admin:admin1234"  # of the publisher's image of the shop
_SECONDS = 30


def call(text: str, browser: Browser) -> str:
    """Calls the function that `text` names, with its constants as arguments; `__page__` is the present page.

    Raises:
      AgentBankError: the text is no such call, or the site does not answer.
    """
    try:
        parsed = ast.parse(text.strip(), mode="eval").body
        assert isinstance(parsed, ast.Call) and isinstance(parsed.func, ast.Name)
        page = [one for one in parsed.args if not (isinstance(one, ast.Name) and one.id == "__page__")]
        arguments = [ast.literal_eval(one) for one in page]
    except (SyntaxError, ValueError, AssertionError):
        raise AgentBankError(f"WebArena's function {text[:80]!r} cannot be read; expected name(constants).") from None
    name = parsed.func.id
    if name not in FUNCTIONS:
        raise AgentBankError(f"WebArena has no function '{name}'.{did_you_mean(name, FUNCTIONS)}")
    return FUNCTIONS[name](browser, *arguments)


def _post_url(browser: Browser, url: str) -> str:
    """The address of a post, without what follows its number."""
    parts = urlsplit(url)
    path = parts.path.split("/")
    if len(path) < 4 or path[1] != "f":
        return url
    return f"{parts.scheme}://{parts.netloc}/f/{path[2]}/{path[3]}/"


def _member_role(browser: Browser, account: str) -> str:
    return str(
        browser.script(
            "const cells = \"td[data-label='Account'] span.gl-avatar-labeled-sublabel\";"
            "const names = [...document.querySelectorAll(cells)];"
            "const place = names.findIndex((one) => one.innerText === '@' + arguments[0]);"
            "const roles = document.querySelectorAll('td.col-max-role span');"
            "return place >= 0 && roles[place] ? roles[place].innerText : '';",
            account,
        )
    )


def _latest_order_url(browser: Browser) -> str:
    query = {
        "searchCriteria[sortOrders][0][field]": "created_at",
        "searchCriteria[sortOrders][0][direction]": "DESC",
        "searchCriteria[pageSize]": "1",
    }
    orders = _shop(f"/rest/V1/orders?{urlencode(query)}").get("items") or [{}]
    return f"{_shop_url()}/sales/order/view/order_id/{int(orders[0].get('increment_id', 0))}/"


def _review_author(browser: Browser, sku: str) -> str:
    reviews = _shop(f"/rest/V1/products/{quote(sku)}/reviews")
    return str(reviews[-1]["nickname"]) if reviews else ""


def _review_rating(browser: Browser, sku: str) -> str:
    reviews = _shop(f"/rest/V1/products/{quote(sku)}/reviews")
    return str(reviews[-1]["ratings"][0]["percent"]) if reviews else ""


FUNCTIONS: dict[str, Callable[..., str]] = {
    "reddit_get_post_url": _post_url,
    # The publisher's spelling.
    "gitlab_get_project_memeber_role": _member_role,
    "shopping_get_latest_order_url": _latest_order_url,
    "shopping_get_sku_latest_review_author": _review_author,
    "shopping_get_sku_latest_review_rating": _review_rating,
}


def _shop_url() -> str:
    return os.environ.get("SHOPPING", "").rstrip("/")


def _shop(path: str) -> Any:
    """What the shop's own interface answers, asked as its administrator."""
    name, _, password = os.environ.get(ADMIN_VARIABLE, _ADMIN).partition(":")
    token = _request("/rest/default/V1/integration/admin/token", {"username": name, "password": password}, {})
    return _request(path, None, {"Authorization": f"Bearer {token}"})


def _request(path: str, body: Any, headers: dict[str, str]) -> Any:
    url = _shop_url() + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            return json.load(reply)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise AgentBankError(f"{url} gave no answer ({error}); {ADMIN_VARIABLE} is NAME:PASSWORD.") from None
