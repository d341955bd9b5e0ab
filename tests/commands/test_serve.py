"""`python scripts/serve.py` as a user runs it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from agentbank_jax.commands import serve
from agentbank_jax.configuration.report_errors import report_errors
from tests.small_bank import ROOT, environment


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The server as a program of its own, and its address."""
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/serve.py"), "--port=0", "--slots=2", *flags],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        for line in program.stdout:
            if "serving on " in line:
                yield program, line.split("serving on ")[1].strip().removesuffix("/v1")
                break
        else:
            pytest.fail("the program ended")
    finally:
        program.kill()
        program.wait()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    with serving(tmp_path_factory.mktemp("serve"), "--grace=30") as running:
        yield running


def test_who_reads_where_it_serves_may_connect_and_replies_that_outlast_the_grace_are_told_so(tmp_path: Path) -> None:
    with serving(tmp_path, "--grace=1") as (program, url), ThreadPoolExecutor(1) as pool:
        assert httpx2.get(f"{url}/healthz", timeout=60).status_code == 200
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2000, "temperature": 0}
        path = f"{url}/v1/chat/completions"
        whole = pool.submit(httpx2.post, path, json=body, timeout=60)
        with httpx2.stream("POST", path, json={**body, "stream": True}, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            program.send_signal(signal.SIGTERM)
            last = [line for line in lines if line][-1]
        assert json.loads(last[6:])["error"]["code"] == "stopping"
        assert (whole.result().status_code, whole.result().json()["error"]["code"]) == (503, "stopping")
        assert program.wait(20) == 0
        assert "Traceback" not in program.stdout.read()  # type: ignore[union-attr]


def test_sigterm_lets_a_stream_end_and_then_the_program_with_status_0(
    started: tuple["subprocess.Popen[str]", str],
) -> None:
    program, url = started
    body = {"messages": [{"role": "user", "content": "Find the cup."}], "max_tokens": 150, "stream": True}
    body |= {"temperature": 0, "stream_options": {"include_usage": True}}
    whole = httpx2.post(f"{url}/v1/chat/completions", json={**body, "stream": False}, timeout=60).json()
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as response:
        lines = response.iter_lines()
        first = next(lines)
        program.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    pieces = [json.loads(line[6:]) for line in (first, *rest[:-1])]
    said = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces[:-1])
    assert said == whole["choices"][0]["message"]["content"]
    assert pieces[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] > 20
    assert program.wait(20) == 0
    assert "Traceback" not in program.stdout.read()  # type: ignore[union-attr]
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{url}/healthz")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--host=0.0.0.0", "error: --host=0.0.0.0 can be reached from elsewhere, and no key is set; expected one in "),
        ("--host=example", "error: --host=example can be reached from elsewhere"),
        ("--port=99999", "error: --port=99999: expected 0 to 65535."),
        ("--grace=-1", "error: --grace=-1: expected 0 seconds or more."),
        ("--queue=-1", "error: --queue=-1: expected 0 or more."),
        ("--max_body_bytes=0", "error: --max_body_bytes=0: expected at least 1."),
        ("--request_timeout=0", "error: --request_timeout=0.0: expected more than 0 seconds."),
        ("--slot=3", "error: unknown argument '--slot=3'. Did you mean '--slots'?"),
        ("--template=llama2", "error: --template=llama2: belongs to a checkpoint"),
        ("--checkpoint=/nowhere", "error: The checkpoint /nowhere does not exist."),
        ("--slots=0", "error: Engine: slots=0; expected at least 1."),
    ],
)
def test_a_mistake_is_one_line(
    flag: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AGENTBANK_API_KEY", raising=False)
    monkeypatch.setenv("AGENTBANK_COMPILATION_CACHE", str(tmp_path))
    assert report_errors(lambda: serve.main([flag])) == 2
    told = capsys.readouterr().err
    assert told.startswith(message) and told.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert report_errors(lambda: serve.main([f"--port={port}", "--checkpoint=/nowhere"])) == 2
    assert capsys.readouterr().err.startswith(f"error: --host=127.0.0.1 --port={port}: cannot listen there (Address")


def test_a_key_that_no_header_can_carry_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "two words")
    assert report_errors(lambda: serve.main(["--api_key_env=MY_KEY", "--host=0.0.0.0"])) == 2
    assert "$MY_KEY" in (told := capsys.readouterr().err) and "two words" not in told


def test_help_needs_neither_jax_nor_fastapi() -> None:
    code = (
        "import sys; from agentbank_jax.commands.serve import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([name for name in ('jax', 'fastapi', 'uvicorn') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("[]") and "--served_model_name" in result.stdout


def test_serving_needs_neither_tensorflow_nor_seqio() -> None:
    code = (
        "import sys, agentbank_jax.generation.engine, agentbank_jax.serving.app\n"
        "print([name for name in ('tensorflow', 'seqio', 'torch', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
