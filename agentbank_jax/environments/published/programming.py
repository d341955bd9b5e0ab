"""Benchmarks of the skill `programming`."""

import functools
from pathlib import Path

from agentbank_jax.environments import apps, humaneval, intercode_bash, intercode_data, intercode_sql, mbpp, sandbox
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.code_problems import PROTOCOL, CodeEnvironment
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.registry import EnvironmentSpec

_PROGRAM = (
    f"Write a Python program for the task. {FORM} The action is a block of Python code, or submit; you see which of "
    "its tests fail."
)
_NEEDS_PYTHON = functools.partial(sandbox.available, file_system=False, python=True)

HUMANEVAL = PublishedData(
    name="humaneval",
    files={"test": ("HumanEval*.jsonl*", "humaneval*.jsonl*")},
    read=humaneval.read_instances,
    source="github.com/openai/human-eval (data/HumanEval.jsonl.gz)",
    engine=_NEEDS_PYTHON,
)
MBPP = PublishedData(
    name="mbpp",
    # One file for both.
    files={"test": ("*mbpp*.json", "*mbpp*.jsonl*"), "train": ("*mbpp*.json", "*mbpp*.jsonl*")},
    read=mbpp.read_instances,
    source="github.com/princeton-nlp/intercode (data/python/mbpp/ic_mbpp.json)",
    train_source="github.com/princeton-nlp/intercode (data/python/mbpp/ic_mbpp.json)",
    engine=_NEEDS_PYTHON,
)
APPS = PublishedData(
    name="apps",
    files={
        "test": ("test/*/question.txt", "test*.jsonl*"),
        "train": ("train/*/question.txt", "train*.jsonl*"),
    },
    read=apps.read_instances,
    source="github.com/hendrycks/apps (APPS.tar.gz: the folder test/)",
    train_source="github.com/hendrycks/apps (APPS.tar.gz: the folder train/)",
    engine=_NEEDS_PYTHON,
)
INTERCODE_SQL = PublishedData(
    name="intercode_sql",
    files={"test": ("*spider_dev*.json", "*spider_dev*.jsonl*"), "train": ("train_spider*.json*",)},
    read=intercode_data.read_sql,
    source="github.com/princeton-nlp/intercode (data/sql/spider/ic_spider_dev.json)",
    train_source="yale-lily.github.io/spider (train_spider.json and the folder database/)",
    engine=intercode_data.databases_missing,
)
INTERCODE_BASH = PublishedData(
    name="intercode_bash",
    files={"test": ("queries_fs_*.json", "nl2bash_fs_*.json")},
    read=intercode_data.read_bash,
    source="github.com/princeton-nlp/intercode (data/nl2bash)",
    engine=sandbox.available,
)


# The published queries search whole file systems: real time that suffices on a busy machine.
_BASH_LIMITS = sandbox.Limits(wall_seconds=30.0, cpu_seconds=10)


def _code(
    data: PublishedData, *, licence: str, file: str, step_seconds: float = 120.0, test_only: bool = False
) -> EnvironmentSpec:
    return EnvironmentSpec(
        **data.bound(),
        skill="programming",
        action_space="continuous",
        max_steps=10,
        # Which programs pass depends on the interpreter, too.
        protocol=f"{PROTOCOL} ({Path(sandbox.PYTHON).resolve().name if sandbox.PYTHON else 'no python'})",
        instruction=_PROGRAM,
        licence=licence,
        requires=(file, "bubblewrap", "Python 3 of the system"),
        make=CodeEnvironment,
        step_seconds=step_seconds,
        test_only=test_only,
    )


SPECS = (
    _code(HUMANEVAL, licence="MIT", file="HumanEval.jsonl.gz, from its publisher", test_only=True),
    # All 974 problems are played; AgentBank's 648 rows are more than the 474 outside the publisher's test split.
    _code(MBPP, licence="CC-BY-4.0", file="MBPP's problems, from their publisher or InterCode", test_only=True),
    _code(APPS, licence="MIT", file="APPS's folder, from its publisher", step_seconds=300.0),
    EnvironmentSpec(
        **INTERCODE_SQL.bound(),
        skill="programming",
        action_space="continuous",
        max_steps=10,
        protocol=intercode_sql.PROTOCOL,
        instruction=f"Answer the question from a database. {FORM} The action is a block of SQL, such as SHOW TABLES, "
        "or submit when the last result is right.",
        licence="CC-BY-SA-4.0",
        requires=("Spider's questions in InterCode's layout, and its databases",),
        make=intercode_sql.InterCodeSQLEnvironment,
    ),
    EnvironmentSpec(
        **INTERCODE_BASH.bound(),
        skill="programming",
        action_space="continuous",
        max_steps=10,
        protocol=intercode_bash.PROTOCOL,
        instruction=f"Do the task in a Bash shell. {FORM} The action is a block of Bash, or submit when the task is "
        "done.",
        licence="MIT",
        requires=("NL2Bash's queries and their file systems, from InterCode", "bubblewrap"),
        held_out=True,
        make=functools.partial(intercode_bash.InterCodeBashEnvironment, limits=_BASH_LIMITS),
        step_seconds=300.0,
    ),
)
