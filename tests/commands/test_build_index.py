"""The command builds an index of the users' files, says what is in it, and names mistakes in one line."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentbank_jax.commands.build_index import main
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.environments.index_build import MAX_WORDS
from agentbank_jax.environments.passage_index import PassageStore, read_manifest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> int:
    return report_errors(lambda: main([str(argument) for argument in arguments]))


def write_passages(path: Path, count: int) -> Path:
    rows = ({"title": f"T{number // 2}", "text": f"Passage {number} of this file."} for number in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_it_prints_what_the_index_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_passages(tmp_path / "a.jsonl", 1200)
    write_passages(tmp_path / "b.jsonl", 1202)
    assert run(f"--input={tmp_path / 'a.jsonl'}", "--input", tmp_path / "b.jsonl", f"--output={tmp_path}/index") == 0
    output = capsys.readouterr()
    shown = rf"{tmp_path}/index: 1,202 passages of 601 articles, 1,200 duplicates left out, in [\d.]+ s; content "
    assert re.fullmatch(f"{shown}{read_manifest(tmp_path / 'index').content[:12]}\n", output.out) and not output.err
    assert PassageStore(tmp_path / "index").search("passage 1201", 1)[0].title == "T600"


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--output=index"], "--input"),
        (["--input=missing.jsonl", "--output=index"], "--input=missing.jsonl: no such file or folder"),
        (["--input=a.jsonl", "--output=gs://bucket/index"], "--output=gs://bucket/index"),
        (["--input=a.jsonl", "--output=index", "--max_words=0"], "--max_words=0; expected at least 1"),
        (["--input=a.jsonl", "--output=index", "--max_word=9"], "Did you mean '--max_words'"),
        (["--input=a.jsonl", "--output=full"], "exists and is no index"),
        (["--input=a.jsonl", "--output=full/x.txt/index"], "cannot be written"),
        (["--input=full", "--output=index"], "x.txt"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_passages(tmp_path / "a.jsonl", 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("")
    assert run(*flags) == 2
    said = capsys.readouterr().err
    assert error in said and said.startswith("error: ") and said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "full"]


def test_help_waits_for_no_heavy_import_and_tells_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from agentbank_jax.commands.build_index import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('tantivy', 'jax', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().endswith("[]") and f"(default: {MAX_WORDS})" in done.stdout


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    write_passages(tmp_path / "a.jsonl", 400_000)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/build_index.py"), "--input=a.jsonl", "--output=index"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob(".index.*/tantivy/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and err.endswith("interrupted; nothing was written.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
