import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.environments import packages
from agentbank_jax.environments.answer_algebra import Algebra
from agentbank_jax.environments.answers import AnswerJudge, PublishedAnswer
from agentbank_jax.errors import AgentBankError


@pytest.fixture(scope="module")
def algebra() -> Iterator[Algebra]:
    algebra = Algebra()
    yield algebra
    algebra.close()


def process_id(algebra: Algebra) -> int:
    assert algebra._process is not None
    return algebra._process.pid


def test_equal_expressions_are_found_equal(algebra: Algebra) -> None:
    assert algebra.same(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}") and not algebra.same("x+1", "y+1")


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "endless",
    [
        r"9^{9^{9^{9}}}",
        *(pytest.param(each, marks=pytest.mark.arena) for each in ("99999999!", r"\prod_{n=1}^{100000000} n")),
        pytest.param("(x^2+y^2+z^2+w^2)^{90}", marks=pytest.mark.arena),
    ],
)
def test_an_endless_expression_is_wrong_and_its_process_is_replaced(algebra: Algebra, endless: str) -> None:
    algebra.same("x", "y")
    before, process = children_seconds(), process_id(algebra)
    assert not algebra.same("5", endless)
    # The limit of 3 seconds, and what the process used before it.
    assert children_seconds() - before < 10 and not Path(f"/proc/{process}").exists()
    assert algebra.same("5", r"\sqrt{25}")


@pytest.mark.parametrize("deep", ["{" * 900, r"\frac{" * 160, "(" * 999, r"\sqrt{" * 99 + "1" + "}" * 99])
def test_deep_nesting_is_wrong_at_once(algebra: Algebra, deep: str) -> None:
    started = time.monotonic()
    assert not algebra.same("5", deep)
    assert time.monotonic() - started < 1


HOSTILE = [
    "__import__('os').system('touch {file}')", r"\text{{__import__('os').system('touch {file}')}}",
    "exec(open('/etc/passwd').read())", "\0", "\ud800", "$$$$", "\\", r"\left", "%%%", "1/" * 400 + "1", "\n\n",
    '"]}}', "9" * 200 + "." + "9" * 200, r"\frac{{1}}{{0}}", r"\end{{document}}", "</s>", "x" * 999, "a," * 400,
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_answer_runs_code_or_raises(tmp_path: Path, hostile: str, shared_judge: AnswerJudge) -> None:
    file = tmp_path / "made"
    stated = hostile.format(file=file) if "{" in hostile else hostile
    for answer in (
        PublishedAnswer(kind="expression", text=r"\sqrt{2}"),
        PublishedAnswer(kind="measured", text="2.5"),
        PublishedAnswer(kind="list", text="1,2"),
    ):
        assert not shared_judge.right(stated, answer)
    assert not file.exists()


@pytest.fixture(scope="module")
def shared_judge() -> Iterator[AnswerJudge]:
    judge = AnswerJudge()
    yield judge
    judge.close()


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789+-*/(){}[]., ^\\=<!xyfracsqrtpi", max_size=24))
def test_no_text_raises(shared_judge: AnswerJudge, text: str) -> None:
    shared_judge.right(text, PublishedAnswer(kind="expression", text=r"\sqrt{2}+x"))


def test_an_answer_that_is_too_long_is_wrong(shared_judge: AnswerJudge) -> None:
    assert not shared_judge.right("5" + " " * 10 + "+0" * 600, PublishedAnswer(kind="expression", text="5"))


def test_it_works_outside_of_the_main_thread() -> None:
    found: list[bool] = []

    def ask() -> None:
        algebra = Algebra()
        found.append(algebra.same("x^2-1", "(x-1)(x+1)"))
        algebra.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(60)
    assert found == [True]


def test_a_killed_process_is_replaced(algebra: Algebra) -> None:
    assert algebra.same("x+y", "y+x")
    os.kill(process_id(algebra), signal.SIGKILL)
    time.sleep(0.1)
    assert algebra.same("x+y", "y+x")


def test_the_process_ends_with_whoever_started_it() -> None:
    code = (
        "import os, signal; from agentbank_jax.environments.answer_algebra import Algebra\n"
        "algebra = Algebra(); algebra.same('x', 'y'); print(algebra._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    child = Path("/proc") / done.stdout.strip()
    deadline = time.monotonic() + 10
    while child.exists() and "Z" not in (child / "stat").read_text().split(")")[1][:3] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_close_ends_the_process_and_may_be_called_twice() -> None:
    algebra = Algebra()
    algebra.same("x", "y")
    pid = process_id(algebra)
    algebra.close()
    algebra.close()
    assert not Path(f"/proc/{pid}").exists()


def test_without_math_verify_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(AgentBankError, match=r"pip install 'math-verify\[antlr4_13_2\]'"):
        Algebra().same("x", "y")
