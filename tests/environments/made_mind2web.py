"""Recorded tasks that this project made, in the files and fields of Mind2Web's publisher."""

import json
from pathlib import Path

NEGATIVES = 70


def _page(number: int, chosen: str) -> tuple[str, list[dict], list[dict]]:
    """A page with a field, a list, a button and many links; `chosen` is the tag of the right element."""
    right, wrong, parts = [], [], []
    for place, tag in enumerate(["input", "select", "button", *["a"] * NEGATIVES]):
        node = str(100 + place * 2)
        attributes = json.dumps({"backend_node_id": node, "class": "x", "data_pw_testid_buckeye_candidate": "1"})
        candidate = {"tag": tag, "attributes": attributes, "backend_node_id": node, "is_original_target": False}
        (right if tag == chosen else wrong).append(candidate)
        inner = {
            "input": "",
            "select": "".join(f"<option>City {city}</option>" for city in range(4)),
            "button": f'<span backend_node_id="9{place}"><text>Search &amp; find {number}</text></span>',
        }.get(tag, f"<text>Link {place}</text>")
        marks = {"input": 'placeholder="Where to?" type="text"', "select": 'aria_label="City"', "button": ""}.get(
            tag, ""
        )
        parts.append(f'<{tag} backend_node_id="{node}" {marks}>{inner}</{tag}>')
    half = len(parts) // 2
    parts = [*parts[3:half], *parts[:3], *parts[half:]]
    html = f'<html backend_node_id="1"><body backend_node_id="2"><div>{"".join(parts)}</div></body></html>'
    return html, right, wrong


def _action(uid: str, number: int, tag: str, op: str, value: str) -> dict:
    html, right, wrong = _page(number, tag)
    return {
        "action_uid": uid,
        "raw_html": "<html/>",
        "cleaned_html": html,
        "operation": {"op": op, "original_op": op, "value": value},
        "pos_candidates": right,
        "neg_candidates": wrong,
    }


def write_mind2web(folder: Path, *, tasks: int = 12, per_file: int = 5) -> Path:
    """Writes `tasks` made tasks as files of the test set `test_task`."""
    rows = []
    for number in range(tasks):
        actions = [
            _action(f"{number}-0", number, "input", "TYPE", f"New York {number}"),
            _action(f"{number}-1", number, "select", "SELECT", f"City {number % 4}"),
            _action(f"{number}-2", number, "button", "CLICK", ""),
        ]
        representations = [
            f"[textbox]  Where to? -> TYPE: New York {number}",
            f"[combobox]  City -> SELECT: City {number % 4}",
            f"[button]  Search & find {number} -> CLICK",
        ]
        if number == 3:  # a step for which no element was recorded
            actions.append({**actions[2], "action_uid": "3-3", "pos_candidates": []})
            representations.append("[link]  Lost -> CLICK")
        rows.append(
            {
                "website": f"site{number % 3}",
                "domain": "Travel",
                "subdomain": "Hotel",
                "annotation_id": f"made-{number}",
                "confirmed_task": f"Find a hotel in New York, number {number}",
                "action_reprs": representations,
                "actions": actions,
            }
        )
    place = folder / "test_task"
    place.mkdir(parents=True, exist_ok=True)
    for start in range(0, tasks, per_file):
        (place / f"test_task_{start // per_file}.json").write_text(json.dumps(rows[start : start + per_file]))
    return folder
