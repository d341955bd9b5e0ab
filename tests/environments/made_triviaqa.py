"""Questions made up here in TriviaQA's layout, and passages that answer them; none of TriviaQA's own."""

import json
from pathlib import Path
from typing import Any

_ITEMS = (
    ("Amber Bay", "capital of the island of Sorrel", ("Amberbay", "The Amber Bay", "AMBER-BAY"), "Sorrel"),
    ("Clara Stone", "author of the novel Silent Garden", ("C. Stone", "Clara A. Stone"), "Silent Garden"),
    ("seven", "number of bridges in Amber Bay", ("7", "VII"), "Amber Bay bridges"),
    ("the river Thistle", "longest river on Sorrel", ("Thistle", "River Thistle"), None),
)


def questions(count: int) -> dict[str, Any]:
    """A file's content with `count` questions; the fields are those of `unfiltered-web-dev.json`."""
    return {
        "Data": [_question(number) for number in range(count)],
        "Domain": "unfiltered-web",
        "Split": "dev",
        "VerifiedEval": False,
        "Version": 1.0,
    }


def passages() -> list[dict[str, str]]:
    """Passages with the answers, titled as the questions' entity pages are."""
    return [{"title": page or "Thistle", "text": f"{answer} is the {what}."} for answer, what, _, page in _ITEMS]


def write(folder: Path, count: int = 12) -> None:
    """Writes questions into a benchmark's folder, and the passages beside it."""
    (folder / "triviaqa").mkdir()
    (folder / "triviaqa" / "unfiltered-web-dev.json").write_text(json.dumps(questions(count), indent=4))
    (folder / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages()))


def _question(number: int) -> dict[str, Any]:
    answer, what, aliases, page = _ITEMS[number % len(_ITEMS)]
    pages = [{"DocSource": "TagMe", "Filename": f"{page}.txt", "Title": page}] if page else []
    return {
        "Answer": {
            "Aliases": [answer, *aliases],
            "MatchedWikiEntityName": answer,
            "NormalizedAliases": [alias.lower() for alias in aliases],
            "NormalizedMatchedWikiEntityName": answer.lower(),
            "NormalizedValue": answer.lower(),
            "Type": "WikipediaEntity",
            "Value": answer,
        },
        "EntityPages": pages,
        "Question": f"What is the {what}? (asked for the {number + 1}. time)",
        "QuestionId": f"made_{number}",
        "QuestionSource": "made for tests",
        "SearchResults": [],
    }
