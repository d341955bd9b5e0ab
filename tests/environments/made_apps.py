"""Writes a small made benchmark in the layouts of APPS: none of its problems is APPS's."""

import json
from pathlib import Path
from typing import Any

PROBLEMS: tuple[dict[str, Any], ...] = (
    {
        "question": "Read whole numbers, one in a line, and print twice each.",
        "input_output": {"inputs": ["1\n2\n", "30\n"], "outputs": ["2\n4\n", "60"]},
        "solutions": ["import sys\nfor line in sys.stdin:\n    print(2 * int(line))\n"],
        "difficulty": "introductory",
    },
    {
        "question": "Return the sum and the product of two numbers.",
        "input_output": {
            "fn_name": "both",
            "inputs": [[1, 2], [3, 4], [0, 5]],
            "outputs": [[3, 2], [[7, 12]], [5, 0]],
        },
        "solutions": ["class Solution:\n    def both(self, a, b):\n        return a + b, a * b\n"],
        "starter_code": "class Solution:\n    def both(self, a, b):\n",
        "difficulty": "interview",
    },
    {
        "question": "Print the words of a line in any order, and then, one in a line, two halves of a number.",
        "input_output": {"inputs": [["b a", "3"]], "outputs": [["a b", "1.5", "1.5"]]},
        "solutions": ["line = input()\nhalf = int(input()) / 2\nprint(line)\nprint(half, half, sep='\\n')\nexit(0)\n"],
        "difficulty": "competition",
    },
    {
        "question": "Return the value of the key 2.",
        "input_output": {"fn_name": "second", "inputs": [[{"1": "a", "2": "b"}]], "outputs": ["b"]},
        "solutions": ["second = lambda table: sorted(Counter(table).items())[1][1]\n"],
    },
    {
        "question": "A problem without tests is left out.",
        "input_output": {"inputs": [], "outputs": []},
        "solutions": [],
    },
)


def write_folders(benchmark: Path, split: str = "test") -> None:
    """Writes all problems as the publisher's folders `split/0000/…`."""
    for number, problem in enumerate(PROBLEMS):
        folder = benchmark / split / f"{number:04d}"
        folder.mkdir(parents=True)
        (folder / "question.txt").write_text(problem["question"])
        (folder / "input_output.json").write_text(json.dumps(problem["input_output"]))
        (folder / "solutions.json").write_text(json.dumps(problem["solutions"]))
        (folder / "metadata.json").write_text(json.dumps({"difficulty": problem.get("difficulty"), "url": "made"}))
        if "starter_code" in problem:
            (folder / "starter_code.py").write_text(problem["starter_code"])


def write_rows(path: Path) -> None:
    """Writes all problems as JSON lines, their parts as strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "problem_id": number,
            "question": problem["question"],
            "input_output": json.dumps(problem["input_output"]),
            "solutions": json.dumps(problem["solutions"]) if problem["solutions"] else "",
            "starter_code": problem.get("starter_code", ""),
            "difficulty": problem.get("difficulty", "interview"),
            "url": "made",
        }
        for number, problem in enumerate(PROBLEMS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
