"""InterCode-Bash's protocol: the reward worked by hand, and episodes in the sandbox."""

import math

import pytest

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.intercode_bash import (
    BashProblem,
    InterCodeBashEnvironment,
    bash_reward,
    tfidf_cosine,
)
from agentbank_jax.environments.intercode_files import Entry, FileState
from agentbank_jax.errors import AgentBankError

needs_bubblewrap = pytest.mark.skipif(sandbox.available() is not None, reason=str(sandbox.available()))

OLD, NEW, OTHER = (FileState(name, False) for name in ("old", "new", "other"))
BEFORE = {"/a": OLD, "/b": OLD}


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ("", "", 1.0),
        ("3", "3", 1.0),  # one character is no word
        ("3", "4", 0.0),
        ("", "word", 0.0),
        ("One two", "two one", 1.0),
        ("alpha", "beta", 0.0),
        # idf of a shared word is 1, of another ln(3/2) + 1 = 1.405: 1 / (1 + 1.405^2) = 0.3361
        ("same left", "same right", 1 / (1 + (math.log(1.5) + 1) ** 2)),
        # counts: "aa aa bb" against "aa": 2 / sqrt(4 + 1.405^2) = 0.8182
        ("aa aa bb", "aa", 2 / math.sqrt(4 + (math.log(1.5) + 1) ** 2)),
    ],
)
def test_tfidf_cosine_by_hand(first, second, expected):
    assert tfidf_cosine(first, second) == pytest.approx(expected, abs=1e-12)
    assert tfidf_cosine(second, first) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "agent, gold, outputs, expected",
    [
        # All alike: 0.01 + 0.33 + 0.33 + 0.33.
        (BEFORE, BEFORE, ("x", "x"), 1.0),
        ({**BEFORE, "/c": NEW}, {**BEFORE, "/c": NEW}, ("", ""), 1.0),
        # Another output: 0.01 + 0.33 + 0.33.
        (BEFORE, BEFORE, ("x", "y"), 0.67),
        # One change missing: round(0.33 (1 - erf(1)), 2) = round(0.33 * 0.1573, 2) = 0.05.
        (BEFORE, {**BEFORE, "/c": NEW}, ("x", "x"), 0.72),
        # One missing and one extra: round(0.33 (1 - erf(2)), 2) = 0.
        ({**BEFORE, "/d": NEW}, {**BEFORE, "/c": NEW}, ("x", "x"), 0.67),
        # The same path, but modified by one and deleted by the other: two unlike changes.
        ({"/a": OLD, "/b": NEW}, {"/a": OLD}, ("x", "x"), 0.67),
        # Of two added files one has another content: 0.01 + 0.33 + round(0.165, 2) + 0.33, and 0.165 rounds to 0.17.
        ({**BEFORE, "/c": NEW, "/d": NEW}, {**BEFORE, "/c": NEW, "/d": OTHER}, ("x", "x"), 0.84),
        # The content of a modified file is not compared.
        ({**BEFORE, "/a": NEW}, {**BEFORE, "/a": OTHER}, ("x", "x"), 1.0),
    ],
)
def test_the_reward_by_hand(agent, gold, outputs, expected):
    assert bash_reward(BEFORE, agent, gold, *outputs) == expected


ENTRIES = (
    Entry(path="/work", mode=0o755),
    Entry(path="/work/a.txt", content=b"one\ntwo\n"),
    Entry(path="/work/run.sh", content=b"echo run\n", mode=0o755),
)


def episode(gold: str, entries=ENTRIES, **arguments) -> InterCodeBashEnvironment:
    environment = InterCodeBashEnvironment(**arguments)
    problem = BashProblem(query="Do it.", gold=gold, entries=entries)
    observation, _ = environment.reset(options={"instance": Instance(id="t/0", fingerprint="0", payload=problem)})
    assert observation == "Do it."
    return environment


@needs_bubblewrap
def test_the_gold_command_earns_reward_one_bare_or_fenced():
    for command in ("wc -l < /work/a.txt", "```bash\nwc -l < /work/a.txt\n```"):
        environment = episode("wc -l < /work/a.txt")
        observation, reward, terminated, _, info = environment.step(command)
        assert (observation, reward, terminated) == ("2", 0.0, False)
        assert info == {"invalid_action": False, "sandbox": "bubblewrap", "exit_code": 0}
        assert environment.step("submit")[1:] == (
            1.0,
            True,
            False,
            {"invalid_action": False, "sandbox": "bubblewrap", "success": True},
        )


@needs_bubblewrap
def test_submitting_at_once_earns_no_success():
    assert episode("wc -l < /work/a.txt").step("submit")[1] == 0.67
    assert episode("rm /work/a.txt").step("submit")[1] == 0.72


@needs_bubblewrap
def test_the_directory_is_kept_and_may_vanish():
    environment = episode("true")
    assert environment.step("cd /work")[0] == "No output."
    assert environment.step("pwd; ls")[0] == "/work\na.txt\nrun.sh"
    environment.step("rm -r /work")
    assert environment.step("pwd")[0] == "/"
    assert "No such file" in environment.step("cd /nowhere")[0]


@needs_bubblewrap
def test_what_a_command_has_hidden_is_compared_all_the_same():
    gold = "mkdir /work/new; echo x > /work/new/y"
    environment = episode(gold)
    environment.step(gold)
    environment.step("chmod 000 /work/new/y /work/new; true")
    assert environment.step("submit")[1] == 1.0


@needs_bubblewrap
def test_a_link_to_the_host_is_compared_as_a_link():
    environment = episode("cat /etc/shadow > /work/out")
    environment.step("ln -s /etc/shadow /work/out; mkfifo /work/pipe")
    assert environment.step("submit")[1] < 1.0


@needs_bubblewrap
@pytest.mark.parametrize("action", ["", "```bash\n```", "echo a\0b", "x" * 200_000])
def test_what_is_no_command_is_answered(action):
    assert episode("true").step(action)[4]["invalid_action"]


@needs_bubblewrap
def test_long_and_endless_outputs_are_cut():
    environment = episode("true", max_characters=20, limits=sandbox.Limits(wall_seconds=0.5))
    assert environment.step("seq 100")[0] == "1\n2\n3\n4\n5\n6\n7\n8\n9\n10..."
    observation, _, _, _, info = environment.step("sleep 20")
    assert observation.endswith("Stopped: the limit of wall_seconds was reached.") and info["exit_code"] is None


@needs_bubblewrap
def test_a_gold_command_has_more_time_than_the_agent():
    environment = episode("sleep 0.6; echo done now", limits=sandbox.Limits(wall_seconds=0.3))
    assert environment.step("submit")[1] < 1


@needs_bubblewrap
def test_a_tree_that_is_too_deep_or_too_large_is_compared_all_the_same(monkeypatch):
    monkeypatch.setattr("agentbank_jax.environments.intercode_files._MAX_COMPARED_BYTES", 100)
    environment = episode("true")
    environment.step("cd /work; head -c 200 /dev/zero > big; for i in $(seq 150); do mkdir d; cd d; done")
    assert environment.step("submit")[1] < 1


def test_it_needs_a_file_system_of_its_own_and_says_so(monkeypatch):
    monkeypatch.setenv("AGENTBANK_SANDBOX", "rlimits")
    with pytest.raises(AgentBankError, match="needs SandboxConfig"):
        episode("true")
