"""The cache of calls: whole replies, of several processes and killed ones, and errors that say what to do."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentbank_jax.agents.policy import Reply
from agentbank_jax.bank.forcing.call_cache import CallCache, CallCacheError, Cost, call_key

ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import sys
from pathlib import Path
from agentbank_jax.agents.policy import Reply
from agentbank_jax.bank.forcing.call_cache import CallCache
cache = CallCache(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    cache.keep(f"{number % 1000}", Reply(text=f"{number % 1000} " * 500, tokens=1, prompt_tokens=2), "account")
    print(number, flush=True)
"""


def test_a_key_names_model_messages_and_sampling_in_any_order() -> None:
    body = {"messages": [{"role": "user", "content": "ü"}], "seed": 1}
    key = call_key("m", body)
    assert key == call_key("m", dict(reversed(body.items()))) and len(key) == 64
    others = [call_key("n", body), call_key("m", body | {"seed": 2}), call_key("m", body | {"messages": []})]
    assert len({key, *others}) == 4


def test_the_first_reply_stays_and_both_are_charged(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "made" / "calls")
    assert cache.find("a") is None and cache.costs() == {}
    first, second = Reply(text="one\n\x00ü", tokens=3, prompt_tokens=7), Reply(text="two", tokens=1, prompt_tokens=7)
    assert cache.keep("a", first, "x") == first == cache.keep("a", second, "y")
    cache.count_cached(4, "x")
    cache.close()
    cache = CallCache(tmp_path / "made" / "calls")
    assert cache.find("a") == first
    assert cache.costs() == {
        "x": Cost(requests=1, cached=4, prompt_tokens=7, completion_tokens=3),
        "y": Cost(requests=1, prompt_tokens=7, completion_tokens=1),
    }
    cache.close()


def test_many_threads_and_new_files_go_together(tmp_path: Path) -> None:
    def write(number: int) -> str:
        cache = CallCache(tmp_path / "calls")
        try:
            return cache.keep(str(number % 10), Reply(text=str(number)), "a").text
        finally:
            cache.close()

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(write, range(80)))
    cache = CallCache(tmp_path / "calls")
    assert all(cache.find(str(number % 10)) == Reply(text=text) for number, text in enumerate(kept))
    assert cache.costs()["a"].requests == 80
    cache.close()


def test_what_killed_processes_have_kept_is_whole_and_charged(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "calls"), "1000000"]
    writers = [subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(30):
            writer.stdout.readline()
    time.sleep(0.1)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        assert writer.stdout is not None
        writer.stdout.close()
    cache = CallCache(tmp_path / "calls")
    for number in range(30):
        assert cache.find(str(number)) == Reply(text=f"{number} " * 500, tokens=1, prompt_tokens=2)
    cost = cache.costs()["account"]
    assert cost.requests >= 60 and cost.prompt_tokens == 2 * cost.requests == 2 * cost.completion_tokens
    cache.close()
    (sound,) = sqlite3.connect(tmp_path / "calls").execute("PRAGMA integrity_check").fetchone()
    assert sound == "ok"


def test_files_that_are_no_cache_are_refused_and_stay(tmp_path: Path) -> None:
    text, other, newer, folder = (tmp_path / name for name in ("text", "other", "newer", "folder"))
    text.write_text("not a database, but long enough to be looked at " * 50)
    folder.mkdir()
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (x)")
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 99")
    before = {path: path.read_bytes() for path in (text, other, newer)}
    for path, words in ((text, "not a database"), (other, "another program"), (newer, "version 99"), (folder, "open")):
        with pytest.raises(CallCacheError, match=words):
            CallCache(path)
    with pytest.raises(CallCacheError, match="expected a file of its own"):
        CallCache(text / "below")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CallCacheError, match="cannot be used"):
        CallCache(tmp_path / "calls")


def test_many_may_open_a_new_cache_at_once(tmp_path: Path) -> None:
    def opened(number: int) -> None:
        CallCache(tmp_path / f"calls{number // 16}").close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(opened, range(16 * 40)))
