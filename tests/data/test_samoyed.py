"""`samoyed` holds the agent tasks and the user's own conversations, at the rates and from the files that are named."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.data.declarations import GENERAL, MissingFilesError, get_mixture, get_task
from agentbank_jax.data.samoyed import CODE_TASK, GENERAL_TASK, SamoyedConfig, configure_samoyed
from agentbank_jax.data.sources import count_rows, read_task, task_files
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.conversion import convert
from agentbank_jax.trajectories.templates.registry import Llama2Template


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    configure_samoyed(SamoyedConfig())


def conversation(number: int) -> dict[str, object]:
    return {
        "conversations": [
            {"from": "human", "value": f"Hello {number}."},
            {"from": "gpt", "value": f"Good day {number}."},
        ]
    }


def test_without_configuration_it_holds_all_three_parts_once() -> None:
    rates = get_mixture("samoyed").rates
    assert rates == {**get_mixture("agentbank").rates, GENERAL_TASK: 1.0, CODE_TASK: 1.0}
    for name in (GENERAL_TASK, CODE_TASK):
        assert get_task(name).skill == GENERAL and get_task(name).resolve_instruction() == ""


def test_rates_are_the_configured_ones_and_0_leaves_a_part_out() -> None:
    configure_samoyed(SamoyedConfig(agentbank_rate=2.0, general_rate=0.25, code_rate=0))
    assert get_mixture("samoyed").rates == {**dict.fromkeys(get_mixture("agentbank").rates, 2.0), GENERAL_TASK: 0.25}
    configure_samoyed(SamoyedConfig(agentbank_rate=0, general_rate=0, code_rate=3))
    assert get_mixture("samoyed").rates == {CODE_TASK: 3}


def test_files_are_folders_files_and_patterns_inside_and_outside_the_data_folder(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (data / "chats").mkdir(parents=True)
    elsewhere.mkdir()
    (data / "chats/one.json").write_text(json.dumps([conversation(0), conversation(1)]))
    (data / "chats/README.md").write_text("no rows")
    (data / "more-1.jsonl").write_text(json.dumps(conversation(2)) + "\n")
    (data / "more-2.jsonl.gz").write_bytes(gzip.compress((json.dumps(conversation(3)) + "\n").encode()))
    messages = [{"role": "user", "content": "Hello 4."}, {"role": "assistant", "content": "Good day 4."}]
    (elsewhere / "openai.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    configure_samoyed(SamoyedConfig(general_files=("chats", "more-*", str(elsewhere / "openai.jsonl"))))
    task = get_task(GENERAL_TASK)
    trajectories = list(read_task(task, data))
    assert sorted(t.turns[-1].content for t in trajectories) == [f"Good day {number}." for number in range(5)]
    assert {turn.role for t in trajectories for turn in t.turns} == {"user", "assistant"}
    assert {t.task for t in trajectories} == {GENERAL_TASK} and len({t.id for t in trajectories}) == 5
    assert count_rows(task, data) == 5


def test_a_folder_may_hold_what_a_conversion_skipped_and_what_is_hidden(tmp_path: Path) -> None:
    source = tmp_path / "chats.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in (conversation(0), {"conversations": []})))
    data = tmp_path / "data"
    for output in ("general/chats.JSONL", "code"):
        convert([source], data / output, to="sharegpt", format="sharegpt", on_error="skip")
    (data / "general/.half.jsonl").write_text("{")
    (data / "general/old.jsonl").mkdir()
    for name, file in ((GENERAL_TASK, "chats.JSONL"), (CODE_TASK, "train-00000-of-00001.parquet")):
        folder = data / ("general" if name == GENERAL_TASK else "code")
        assert (folder / "skipped.jsonl").is_file()
        assert task_files(get_task(name), data) == [folder / file]
        assert count_rows(get_task(name), data) == 1


def test_a_named_layout_is_the_one_that_reads(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    row = {"id": "a", "system": "Write Python.", **conversation(0)}
    (tmp_path / "code/rows.jsonl").write_text(json.dumps(row) + "\n")
    roles = {}
    for layout in ("auto", "agentbank", "sharegpt"):
        configure_samoyed(SamoyedConfig(code_layout=layout))
        (trajectory,) = read_task(get_task(CODE_TASK), tmp_path)
        roles[layout] = [turn.role for turn in trajectory.turns]
    assert roles["auto"] == roles["sharegpt"] == ["system", "user", "assistant"]
    # There `system` is a column like any other.
    assert roles["agentbank"] == ["user", "assistant"]


@pytest.mark.parametrize("missing", ["none", "none/*.json", "/nowhere/chats.json"])
def test_each_missing_path_is_named_with_the_remedy(tmp_path: Path, missing: str) -> None:
    (tmp_path / "there.jsonl").write_text(json.dumps(conversation(0)) + "\n")
    (tmp_path / "empty").mkdir()
    configure_samoyed(SamoyedConfig(general_files=("there.jsonl", missing)))
    with pytest.raises(MissingFilesError) as caught:
        task_files(get_task(GENERAL_TASK), tmp_path)
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / missing) in message
    assert "general_files=['PATH']" in message and "general_rate=0" in message and f"{tmp_path}/general" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general_rate": -1.0}, r"general_rate = -1.0: expected .* 0 or more"),
        ({"code_rate": float("nan")}, "code_rate = nan"),
        ({"code_rate": float("inf")}, "code_rate = inf"),
        ({"agentbank_rate": 0, "general_rate": 0, "code_rate": 0}, "all rates are 0"),
        ({"general_layout": "sharegtp"}, "'sharegtp'.*Did you mean 'sharegpt'"),
        ({"code_files": ()}, "code_files is empty"),
    ],
)
def test_malformed_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        SamoyedConfig(**changes)  # type: ignore[arg-type]


def test_what_was_read_in_another_layout_is_never_read_from_the_cache(tmp_path: Path, template: Llama2Template) -> None:
    (tmp_path / "code").mkdir()
    row = {"id": "a", "system": "the bread lake", **conversation(0)}
    (tmp_path / "code/rows.jsonl").write_text(json.dumps(row) + "\n")
    lengths = {}
    for layout in ("agentbank", "sharegpt", "agentbank"):
        configure_samoyed(SamoyedConfig(code_layout=layout))
        cache = build_cache(CODE_TASK, template, max_length=200, data_dir=tmp_path, cache_dir=tmp_path / "cache")
        assert lengths.setdefault(layout, cache.lengths.tolist()) == cache.lengths.tolist()
    assert lengths["sharegpt"] > lengths["agentbank"]
