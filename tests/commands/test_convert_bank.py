"""The command converts, says what was lost and skipped, and names mistakes in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentbank_jax.commands.convert_bank import main
from agentbank_jax.configuration.report_errors import report_errors

ROOT = Path(__file__).resolve().parents[2]


def messages(number: int, **last: object) -> str:
    talk = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "r", **last}]
    return json.dumps({"id": f"t/{number}", "messages": talk})


def run(*arguments: object) -> int:
    return report_errors(lambda: main([str(argument) for argument in arguments]))


def test_it_prints_how_many_trajectories_went_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(messages(n) for n in range(1500)))
    assert run(tmp_path / "a.jsonl", "--to=agentbank", f"--output={tmp_path}/bank", "--shard_rows=1000") == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"{tmp_path}/bank: 1,500 trajectories in 2 files in ") and output.err == ""
    assert len(output.out.splitlines()) == 1


def test_skipped_rows_are_counted_by_reason_and_the_first_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [messages(n, content=None) for n in range(23)] + ["{"] + [messages(0, role="robot")] * 2
    (tmp_path / "a.jsonl").write_text("\n".join([messages(0), *bad]))
    assert run(tmp_path / "a.jsonl", "--to=openai", f"--output={tmp_path}/b.jsonl", "--on_error=skip") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:5] == [
        "skipped: 26 rows, listed in skipped.jsonl",
        "  23: messages[].content: expected a string",
        "  2: messages[].role: expected a role: system, developer, user, assistant, tool, function",
        "  1: expected one row as JSON, in UTF-8, on each line",
    ]
    assert lines[5] == f"{tmp_path}/a.jsonl, row 1, field messages[1].content: None; expected a string."
    assert len(lines) == 5 + 20 + 1 and lines[-1] == "… and 6 more"
    listed = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().split("\n") if line]
    assert [row["row"] for row in listed] == list(range(1, 27))
    assert listed[0] == {
        "file": f"{tmp_path}/a.jsonl", "row": 1, "field": "messages[1].content", "message": lines[5]
    }  # fmt: skip


def test_what_is_lost_is_refused_and_then_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([messages(0, weight=0), messages(1)]))
    arguments = (tmp_path / "a.jsonl", "--to=sharegpt", f"--output={tmp_path}/b.jsonl")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --to=sharegpt would lose the mask of an untrained turn (1 in 1 trajectories)")
    assert not (tmp_path / "b.jsonl").exists()
    assert run(*arguments, "--lossy") == 0
    assert "lost: the mask of an untrained turn (1 in 1 trajectories)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to=openai", "--output=b.jsonl"], "the following arguments are required: INPUT"),
        (["a.jsonl", "--output=b.jsonl"], "required: --to"),
        (["a.jsonl", "--to=openai"], "required: --output"),
        (["a.jsonl", "--to=openai", "--output=b.jsonl", "--shard_row=3"], "Did you mean '--shard_rows'?"),
        (["a.jsonl", "--to=openai", "--output=b.jsonl", "--shard_rows=x"], "invalid int value"),
        (["a.jsonl", "--to=open", "--output=b.jsonl"], "no layout is called 'open'. Did you mean 'openai'?"),
        (["a.jsonl", "--from=chat", "--to=openai", "--output=b.jsonl"], "no layout is called 'chat'"),
        (["none.jsonl", "--to=openai", "--output=b.jsonl"], "none.jsonl: no such file"),
        (["a.jsonl", "--to=openai", "--output=a.jsonl"], "a.jsonl: exists"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(messages(0))
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_interruption_says_that_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text(messages(0))

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentbank_jax.progress.Progress.__call__", interrupt)
    assert run(tmp_path / "a.jsonl", "--to=openai", f"--output={tmp_path}/b.jsonl") == 130
    assert "interrupted; nothing was written." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_progress_goes_to_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(messages(n) for n in range(50)))
    monkeypatch.setattr("agentbank_jax.progress.LINE_EVERY_S", 0.0)
    assert run(tmp_path / "a.jsonl", "--to=openai", f"--output={tmp_path}/b.jsonl") == 0
    error = capsys.readouterr().err
    assert "100%, 50 trajectories" in error and error.count("\n") == 50


def test_help_waits_for_no_heavy_import() -> None:
    code = (
        "import sys; from agentbank_jax.commands.convert_bank import main\n"
        "try: main(['--help'])\n"
        "finally: print([name for name in ('jax', 'pyarrow', 'rich', 'tensorflow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0 and result.stdout.strip().endswith("[]"), result.stdout
    assert "convert_bank.py data/starter_math" in result.stdout
