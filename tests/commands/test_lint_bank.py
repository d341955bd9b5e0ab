"""The command's exit status, its messages, and its report, which does not depend on the workers."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.commands.lint_bank import main
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.trajectories.lint.rules import RULES
from tests.small_bank import ROOT, environment, run_program
from tests.trajectories.lint.made_rows import GOOD_TURNS, make_row, write_rows

QUESTION = " ".join(f"q{number}" for number in range(20))


def lint_bank(*arguments: object) -> int:
    return report_errors(lambda: main([str(argument) for argument in arguments]))


def write_planted_bank(folder: Path, rows: int = 700) -> dict[str, int]:
    """Writes a bank of two tasks, each file of several batches; returns the rows that hold each fault."""
    generator = random.Random(0)

    def text(words: int) -> str:
        return " ".join(f"w{generator.randrange(9999)}" for _ in range(words))

    planted = dict.fromkeys(RULES, 0)
    for task in ("gsm8k", "alfworld"):
        made: list[dict[str, Any]] = []
        for number in range(rows):
            last = GOOD_TURNS[3] if task == "gsm8k" else GOOD_TURNS[1]
            turns = [
                ("human", text(40)),
                GOOD_TURNS[1],
                ("human", f"Observation: He saw Ann in Rome. {text(40)}"),
                last,
            ]
            kind = {100: "personal-email", 200: "evaluation-overlap", 300: "empty-turn", 400: "exact-duplicate",
                    500: "near-duplicate", 600: "unfinished"}.get(number, "")  # fmt: skip
            if kind == "personal-email":
                turns[0] = ("human", f"{turns[0][1]} ann@example.org")
            elif kind == "evaluation-overlap":
                turns[0] = ("human", f"{turns[0][1]} {QUESTION}")
            elif kind == "empty-turn":
                turns[2] = ("human", "")
            elif kind in ("exact-duplicate", "near-duplicate"):
                turns = [(m["from"], m["value"]) for m in made[number - 301]["conversations"]]
                turns[0] = ("human", turns[0][1] + (" more" if kind == "near-duplicate" else ""))
            elif kind == "unfinished":
                turns = turns[:3]
            if kind:
                planted[kind] += 1
            made.append(make_row(*turns, id=f"{task}/{number}", source=f"source {number % 3}", reward=1.0))
        write_rows(folder / task / "train.jsonl", made)
    return {rule: count for rule, count in planted.items() if count}


def test_every_planted_fault_is_found_and_the_report_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    planted = write_planted_bank(tmp_path / "bank")
    write_rows(tmp_path / "test.jsonl", [{"question": QUESTION}, {"question": "never met " * 10}])
    reports = []
    for workers in (1, 2, 3):
        path = tmp_path / f"report{workers}.json"
        assert (
            lint_bank(
                tmp_path / "bank", "--against", tmp_path / "test.jsonl", f"--report={path}", f"--workers={workers}"
            )
            == 1
        )
        reports.append(path.read_bytes())
    assert reports[0] == reports[1] == reports[2]
    report = json.loads(reports[0])
    assert {name: rule["rows"] for name, rule in report["rules"].items() if rule["rows"]} == planted
    (item,) = report["overlap"]["items"]
    assert (item["item"], item["rows"], item["longest_run"]) == (0, 2, 20)
    assert report["overlap"]["files"][0] | {"path": ""} == {"path": "", "items": 2, "too_short": 0, "met": 1}
    assert [(s["task"], s["source"], s["rows"]) for s in report["sources"]][:2] == [
        ("alfworld", "source 0", 234),
        ("alfworld", "source 1", 233),
    ]
    # All but the row whose observation is empty.
    assert [s["places"] for s in report["sources"][:3]] == [
        [["Rome", s["pronouns"]["he"]]] for s in report["sources"][:3]
    ]
    assert sum(s["pronouns"]["he"] for s in report["sources"]) == 2 * 700 - 2


GOLDEN_SCHEMA = {
    "schema_version": "int",
    "settings": {
        "task": "null",
        "tokenizer": "null",
        "max_tokens": "null",
        "max_characters": "null",
        "near_threshold": "float",
        "ngram": "int",
        "region": "str",
        "max_examples": "int",
    },
    "files": [{"path": "str", "task": "str", "layout": "str", "rows": "int"}],
    "totals": dict.fromkeys(("rows", "turns", "words", "characters"), "int")
    | {"tokens": "null", "errors": "int", "warnings": "int", "notes": "int"},
    "rules": {
        "meaning": "str",
        "level": "str",
        "findings": {"error": "int", "warning": "int", "note": "int"},
        "rows": "int",
        "examples": [
            {
                "file": "str",
                "row": "int",
                "id": "str",
                "task": "str",
                "turn": "int",
                "field": "null",
                "level": "str",
                "detail": "str",
            }
        ],
    },
    "sources": [
        {"task": "str", "source": "str"}
        | dict.fromkeys(("rows", "turns", "assistant_turns", "trained_turns", "words", "characters"), "int")
        | {
            "tokens": "null",
            "longest": "int",
            "rewarded": "int",
            "mean_reward": "float",
            "least_reward": "float",
            "greatest_reward": "float",
            "licences": {"CC0-1.0": "int"},
            "annotations": {"": "int"},
            "pronouns": {"he": "int", "she": "int", "they": "int"},
            "names": [["str", "int"]],
            "places": [["str", "int"]],
        }
    ],
    "overlap": {
        "ngram": "int",
        "files": [{"path": "str", "items": "int", "too_short": "int", "met": "int"}],
        "items": [
            {
                "file": "str",
                "item": "int",
                "question": "str",
                "rows": "int",
                "longest_run": "int",
                "share": "float",
                "examples": [{"file": "str", "row": "int", "id": "str"}],
            }
        ],
    },
}


def shape(value: Any) -> Any:
    """The keys and types of a JSON value; of a list, those of its first entry, of a pair, both."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        is_pair = len(value) == 2 and isinstance(value[0], str)
        return [shape(each) for each in (value if is_pair else value[:1])]
    return "null" if value is None else type(value).__name__


def test_the_report_has_the_documented_schema(tmp_path: Path) -> None:
    # Whoever changes this raises SCHEMA_VERSION and mends the docstring of the module `report`.
    write_planted_bank(tmp_path / "bank", rows=350)
    write_rows(tmp_path / "test.jsonl", [{"question": QUESTION}])
    lint_bank(tmp_path / "bank", "--against", tmp_path / "test.jsonl", f"--report={tmp_path / 'r.json'}", "--workers=1")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["schema_version"] == 2 and list(report["rules"]) == list(RULES)
    report["rules"] = report["rules"]["empty-turn"]
    report["sources"][0]["names"] = report["sources"][0]["places"]
    assert shape(report) == GOLDEN_SCHEMA


@pytest.mark.parametrize(
    ("rows", "fail_on", "status"),
    [
        ([make_row()], "warning", 0),
        ([make_row(license=None)], "error", 0),
        ([make_row(license=None)], "warning", 1),
        ([make_row(*GOOD_TURNS[:3])], "error", 1),
        ([make_row(*GOOD_TURNS[:3])], "warning", 1),
        ([make_row(*GOOD_TURNS[:3])], "never", 0),
    ],
)
def test_the_exit_status_follows_the_level(tmp_path: Path, rows: list, fail_on: str, status: int) -> None:
    path = write_rows(tmp_path / "gsm8k" / "train.jsonl", rows)
    assert lint_bank(path, f"--fail_on={fail_on}", "--workers=1") == status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such.jsonl"], "no such file"),
        (["bank/none"], "holds no trajectories"),
        (["--mixture=startr"], "Did you mean 'starter'?"),
        (["--mixture=starter", "x.jsonl"], "not both"),
        (["--worker=2"], "Did you mean '--workers'?"),
        (["bank", "--task=gms8k"], "Did you mean 'gsm8k'?"),
        (["bank", "--format=opnai"], "Did you mean 'openai'?"),
        (["bank", "--fail_on=all"], "expected error, warning or never"),
        (["bank", "--workers=0"], "expected at least 1"),
        (["bank", "--against=no.jsonl"], "no such file"),
        (["bank", "--against=bank/train.jsonl", "--ngram=3"], "at least 5"),
        (["bank", "--near_threshold=2"], "0.5 to 1"),
        (["bank", "--region=XX"], "country's code"),
        (["bank", "--max_tokens=10"], "--tokenizer"),
        (["bank", "--max_examples=-1"], "0 or more"),
        (["bank", "--redact=bank"], "exists already"),
        (["bank", "--report=bank/train.jsonl/r.json"], "cannot be written"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "bank" / "train.jsonl", [make_row()])
    (tmp_path / "bank" / "none").mkdir()
    assert lint_bank(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_no_name_is_cut_in_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    known = {"source": "starter_programming", "license": "Apache-2.0", "annotation": "heuristic_search"}
    write_rows(tmp_path / "gsm8k" / "train.jsonl", [{**make_row(), **known}])
    assert lint_bank(tmp_path / "gsm8k", "--workers=1") == 0
    out = capsys.readouterr().out
    assert all(any(name in line for line in out.splitlines() if "gsm8k" in line) for name in known.values())


def test_the_redacted_copy_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = make_row(("human", f"{GOOD_TURNS[0][1]} ann@example.org"), *GOOD_TURNS[1:])
    path = write_rows(tmp_path / "gsm8k" / "train.jsonl", [row])
    assert lint_bank(path, f"--redact={tmp_path / 'copy'}", "--workers=1") == 1
    output = capsys.readouterr().out
    assert "1 email" in output and "ann@" not in output
    assert lint_bank(tmp_path / "copy", "--task=gsm8k", "--fail_on=warning", "--workers=1") == 0


def test_a_file_in_another_layout_is_linted_and_its_faults_are_named_by_row_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Final Answer: 1"}]}
    bad = {"messages": [good["messages"][0], {"role": "robot", "content": "r"}]}
    path = write_rows(tmp_path / "chats.jsonl", [{**good, "license": "MIT"}, {**bad, "license": "MIT"}])
    path.write_text("no row\n" + path.read_text())
    for flags in ([], ["--format=openai"]):
        assert lint_bank(path, *flags, "--workers=1", f"--report={tmp_path / 'r.json'}") == 1
        output = capsys.readouterr().out
        assert f"unreadable: {path}, row 0: line 1: not JSON" in output
        assert f"malformed-row: {path}, row 2 'chats/2', field messages[1].role: 'robot'; expected a role" in output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["files"] == [{"path": str(path), "task": "chats", "layout": "openai", "rows": 2}]
    (example,) = report["rules"]["malformed-row"]["examples"]
    assert (example["row"], example["field"]) == (2, "messages[1].role")
    # As the released layout it holds no trajectory at all.
    assert lint_bank(path, "--format=agentbank", "--workers=1", f"--report={tmp_path / 'r.json'}") == 1
    assert json.loads((tmp_path / "r.json").read_text())["rules"]["malformed-row"]["rows"] == 2


def test_a_mixture_is_linted_in_the_layout_that_training_reads(tmp_path: Path) -> None:
    row = make_row(*GOOD_TURNS)
    del row["id"]
    write_rows(tmp_path / "data" / "gsm8k" / "train.jsonl", [row])
    flags = ("--workers=1", f"--data_dir={tmp_path / 'data'}")
    assert lint_bank("--mixture=gsm8k", *flags) == 1
    # For another reader, ShareGPT, it is whole.
    assert lint_bank(tmp_path / "data" / "gsm8k", "--workers=1") == 0


def test_what_a_bank_says_is_shown_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = (("human", "Is it 1?"), ("gpt", "no"))
    row = make_row(*turns, id="[bold]x[/y] \ud800", task="[/red]", source="[b]s[/b] \x1b[2J\r\x9b", license="[MIT]")
    path = tmp_path / "[in]" / "train.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(row) + "\n")
    assert lint_bank(path, f"--report={tmp_path / '[r].json'}", "--fail_on=never", "--workers=1") == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output and "\r" not in output and "\x9b" not in output
    for text in ("[bold]x[/y] ?", "[/red]", "[b]s[/b]", "[MIT]", "[r].json", "[in]"):
        assert text in output.replace("\n", "")
    assert json.loads((tmp_path / "[r].json").read_text())["totals"]["errors"] == 1


def test_a_redacted_data_folder_can_stand_in_its_place(tmp_path: Path) -> None:
    write_rows(tmp_path / "data" / "gsm8k" / "train.jsonl", [make_row(*GOOD_TURNS, note="ann@example.org")])
    flags = ("--mixture=gsm8k", "--workers=1")
    assert lint_bank(*flags, f"--data_dir={tmp_path / 'data'}", f"--redact={tmp_path / 'copy'}") == 1
    assert lint_bank(*flags, f"--data_dir={tmp_path / 'copy'}", "--fail_on=warning") == 0


def test_the_data_folder_is_linted_where_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "data" / "gsm8k" / "train.jsonl", [make_row(*GOOD_TURNS[:3])])
    (tmp_path / "data" / "gsm8k" / "drops.jsonl").write_text('{"id": 1}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTBANK_DATA_DIR", raising=False)
    assert lint_bank("--workers=1") == 1
    monkeypatch.setenv("AGENTBANK_DATA_DIR", str(tmp_path / "elsewhere"))
    assert lint_bank("--workers=1") == 2


def test_the_script_imports_neither_tensorflow_nor_jax(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k" / "train.jsonl", [make_row()])
    code = "import sys, runpy\nsys.argv = ['lint_bank.py', 'gsm8k', '--workers=1']\n" \
        "try: runpy.run_path({!r}, run_name='__main__')\nexcept SystemExit as end: assert end.code == 0\n" \
        "print([name for name in ('tensorflow', 'seqio', 'jax') if name in sys.modules])"  # fmt: skip
    script = code.format(str(ROOT / "scripts/lint_bank.py"))
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert result.returncode == 0 and result.stdout.strip().endswith("[]"), result.stdout + result.stderr


def test_the_benchmark_finds_all_that_it_plants(tmp_path: Path) -> None:
    result = run_program(["scripts/bench_lint.py", "--megabytes=5", "--workers=1"], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "MB/s" in result.stdout
