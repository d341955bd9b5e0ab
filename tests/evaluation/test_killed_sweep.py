"""A sweep of several models, agents, seeds and tasks, killed anywhere and run again, is one that ran through."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.agents.policy import ImmediatePolicy, Reply, Request
from agentbank_jax.environments.held import Wants
from agentbank_jax.evaluation.contender import Contender, baseline_contenders
from agentbank_jax.evaluation.cost_tables import reasons_table
from agentbank_jax.evaluation.joining import Source, join
from agentbank_jax.evaluation.results import ResultFile
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import success_table

pytestmark = pytest.mark.usefixtures("specs")

CONFIG = SweepConfig(
    name="s", tasks=("counting", "counting_far"), episodes_per_task=3, agents=("react", "reflexion"), trials=2,
    seeds=(0, 1), baselines=("random",), slots=3, max_unparseable=2, processes=False,
)  # fmt: skip
EPISODES = (2 * 2 + 1) * 2 * 2 * 3  # (models x agents and the random column) x seeds x tasks x instances


class Killed(BaseException):
    """The end of a process, wherever it comes."""


class Clumsy(ImmediatePolicy):
    """Acts now and then as it should, and otherwise in every wrong way; the same in every process."""

    wants = Wants(valid_actions=True)

    def __init__(self, name: str, seed: int, tick: Callable[[], None]) -> None:
        super().__init__(name=name, capacity=3)
        self._seed, self._tick = seed, tick

    def collect(self) -> list[tuple[str, Reply]]:
        self._tick()
        return super().collect()

    def reply(self, request: Request) -> Reply:
        draw = request.draw(self._seed, 4)
        if request.purpose == "reflect":
            return Reply(text=f"I drew {draw}.", tokens=3)
        assert request.valid_actions is not None
        actions = (*request.valid_actions, "dance")
        text = request.written((("I draw.", actions[draw // 8 % len(actions)]),)) if draw % 4 else "?"
        return Reply(text=text, tokens=1 + draw % 5, prompt_tokens=10)


def play(folder: Path, tick: Callable[[], None] = lambda: None) -> SweepResult:
    models = [
        Contender(name=name, identity=name, make=lambda name=name, seed=seed: Clumsy(name, seed, tick))
        for seed, name in enumerate(("one", "two"))
    ]  # fmt: skip
    return run_sweep(CONFIG, (*models, *baseline_contenders(CONFIG)), folder)


def tables(result: SweepResult) -> list[str]:
    (sheet,) = join([Source(run="run", result=result)])
    return [table.to_markdown() for table in (success_table(sheet), reasons_table(sheet))]


def records(result: SweepResult) -> list[dict[str, Any]]:
    """All episodes in the order of the result, but for the time that they took."""
    return [
        {**record.to_json(), "seconds": 0}
        for task in result.tasks
        for column in result.columns
        for record in task.records[column.name]
    ]


def lines(folder: Path) -> dict[str, list[str]]:
    """All files' lines, in an order of their own, but for the time that episodes took."""
    return {
        str(path.relative_to(folder)): sorted(
            json.dumps({**json.loads(line), "seconds": 0}) for line in path.read_text().rstrip("\n").split("\n")
        )
        for path in folder.rglob("*.jsonl")
    }


def test_columns_are_called_by_model_and_agent_and_a_baseline_is_driven_by_the_first(tmp_path: Path) -> None:
    result = play(tmp_path)
    assert [column.name for column in result.columns] == [
        "one, react", "one, reflexion", "two, react", "two, reflexion", "random"
    ]  # fmt: skip
    assert len(records(result)) == EPISODES == sum(map(len, lines(tmp_path).values()))
    reasons = {record["terminate_reason"] for record in records(result)}
    assert reasons == {"success", "finished", "max_steps", "unparseable"}
    assert any(record["earlier"] for record in records(result))
    ways = {(record["model"], record["agent"], record["seed"]): record["conversations"] for record in records(result)}
    assert len({json.dumps(conversation) for conversation in ways.values()}) == len(ways)


@pytest.mark.parametrize("where", range(6))
def test_killed_while_it_waits_for_replies_and_run_again_it_is_one_that_ran_through(where: int, tmp_path: Path) -> None:
    asked = [0]

    def count() -> None:
        asked[0] += 1

    whole = play(tmp_path / "whole", count)
    at = random.Random(where).randint(1, asked[0])

    def die() -> None:
        asked[0] += 1
        if asked[0] == at:
            raise Killed

    asked[0] = 0
    with pytest.raises(Killed):
        play(tmp_path / "killed", die)
    again = play(tmp_path / "killed")
    assert tables(again) == tables(whole) and records(again) == records(whole)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


@pytest.mark.parametrize("where", range(6))
def test_killed_while_it_writes_an_episode_several_times_over_it_is_one_that_ran_through(
    where: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = play(tmp_path / "whole")
    append = ResultFile.append
    chance = random.Random(where)
    left = [0]

    def torn(file: ResultFile, record: Any) -> None:
        left[0] -= 1
        if left[0] > 0:
            append(file, record)
            return
        file.path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(record.to_json(), ensure_ascii=False) + "\n").encode()
        with file.path.open("ab") as written:
            written.write(line[: chance.randint(0, len(line))])
        raise Killed

    monkeypatch.setattr(ResultFile, "append", torn)
    for _ in range(3):
        left[0] = chance.randint(1, EPISODES // 4)
        with pytest.raises(Killed):
            play(tmp_path / "killed")
    monkeypatch.setattr(ResultFile, "append", append)
    again = play(tmp_path / "killed")
    assert tables(again) == tables(whole) and records(again) == records(whole)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
