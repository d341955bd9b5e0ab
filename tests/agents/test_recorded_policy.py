"""What was recorded is played again, and what departs from the record says so."""

import json
from pathlib import Path

import pytest

from agentbank_jax.agents.act import Act
from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.episode import Outcome
from agentbank_jax.agents.policy import OraclePolicy, RandomPolicy
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.recorded_policy import DEPARTURES, RecordedPolicy, Recording
from agentbank_jax.agents.reflexion import Reflexion
from agentbank_jax.agents.rewoo import ReWOO
from agentbank_jax.environments import registry
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from tests.agents.playing import episodes_of, play_all
from tests.bank.made import starter_trajectory


@pytest.fixture
def spec() -> EnvironmentSpec:
    return registry.get("starter_math")


def record(path: Path, outcomes: list[Outcome]) -> Path:
    """Writes a sweep's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        EpisodeRecord.of(outcome, split="test", data="", index=0, model="m", trained_on=False, key="").to_json()
        for outcome in outcomes
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def replayed(place: Path, spec: EnvironmentSpec, agent: Agent, count: int) -> dict[str, Outcome]:
    policy = RecordedPolicy(Recording.read(place))
    return {outcome.episode.id: outcome for outcome in play_all(episodes_of(spec, agent, count), policy)}


@pytest.mark.parametrize("agent", [ReAct(), Act(), Reflexion(trials=2), ReWOO()], ids=lambda agent: agent.name)
@pytest.mark.parametrize("policy", [OraclePolicy, RandomPolicy])
def test_every_agents_episodes_are_played_again_as_they_were(agent: Agent, policy, spec, tmp_path: Path) -> None:
    outcomes = play_all(episodes_of(spec, agent, 3), policy())
    record(tmp_path / "s" / "m" / agent.name / "starter_math.jsonl", outcomes)
    again = replayed(tmp_path / "s" / "m" / agent.name, spec, agent, 3)
    for outcome in outcomes:
        other = again[outcome.episode.id]
        for name in ("turns", "earlier", "reward", "success", "steps", "invalid_actions", "terminate_reason", "info"):
            assert getattr(other, name) == getattr(outcome, name), name


def test_the_trajectories_of_a_bank_reach_their_reward_again(spec: EnvironmentSpec, tmp_path: Path) -> None:
    trajectories = [starter_trajectory(spec.name, index) for index in range(3)]
    write_parquet(tmp_path / "starter_math" / "train-00000-of-00001.parquet", trajectories)
    recording = Recording.read(tmp_path / "starter_math")
    outcomes = play_all(episodes_of(spec, ReAct(), 4, split="train"), RecordedPolicy(recording))
    assert recording.name == "recorded-starter_math"
    assert {outcome.episode.id: outcome.terminate_reason for outcome in outcomes} == {
        f"starter_math/train/{index}/0": "success" if index < 3 else "no_reply" for index in range(4)
    }
    assert not any(DEPARTURES in outcome.info for outcome in outcomes)


def test_an_episode_that_is_not_recorded_or_goes_on_after_its_record_has_no_reply(spec, tmp_path: Path) -> None:
    outcomes = play_all(episodes_of(spec, ReAct(), 1), OraclePolicy())
    path = record(tmp_path / "a.jsonl", outcomes)
    row = json.loads(path.read_text())
    assert len(row["conversations"]) > 2
    row["conversations"] = row["conversations"][:2]
    path.write_text(json.dumps(row))
    first, second = replayed(path, spec, ReAct(), 2).values()
    assert {first.terminate_reason, second.terminate_reason} == {"no_reply"}
    cut, absent = sorted((first, second), key=lambda outcome: -outcome.steps)
    assert (cut.steps, cut.success, absent.steps, absent.success) == (1, False, 0, False)
    assert cut.turns[-1].role == "assistant" and cut.final_observation and cut.invalid_actions == 0


def test_other_observations_than_the_recorded_ones_are_counted(spec: EnvironmentSpec, tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", play_all(episodes_of(spec, ReAct(), 1), OraclePolicy()))
    row = json.loads(path.read_text())
    row["conversations"][2]["value"] = "Observation: another one"
    path.write_text(json.dumps(row))
    (outcome,) = replayed(path, spec, ReAct(), 1).values()
    assert outcome.success and outcome.info[DEPARTURES] == 1
    figures = EpisodeRecord.of(outcome, split="test", data="", index=0, model="m", trained_on=False, key="").figures
    assert figures[DEPARTURES] == 1


def test_released_rows_are_found_by_their_ids_alone_and_the_last_of_an_id_counts(spec, tmp_path: Path) -> None:
    instance = spec.instance("test", 0)
    rows = [
        {"id": instance.id, "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": text}]}
        for text in ("Final Answer: no", "Final Answer: nothing")
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*rows, {"id": "empty", "conversations": []}]))
    (outcome,) = replayed(path, spec, ReAct(), 1).values()
    assert outcome.turns[-1].content == "Final Answer: nothing" and outcome.info[DEPARTURES] == 1


def test_an_instance_that_was_recorded_with_another_seed_is_found(spec: EnvironmentSpec, tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", play_all(episodes_of(spec, ReAct(), 1), OraclePolicy()))
    path.write_text(path.read_text().replace("starter_math/test/0/0", "starter_math/test/0/7"))
    (outcome,) = replayed(path, spec, ReAct(), 1).values()
    assert outcome.success


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; expected recorded episodes"),
        ("{broken", "row 0"),
        ('{"id": "a", "conversations": [{"from": "owl", "value": "x"}]}', r"conversations\[0\].from"),
        ('{"id": "a", "conversations": [{"from": "gpt", "value": "x"}], "earlier": [3]}', "row 0"),
        ('{"id": "a", "conversations": [{"from": "gpt", "value": "x"}], "earlier": 3}', "row 0"),
        ('{"conversations": [{"from": "gpt", "value": "x"}]}', "field id"),
    ],
)
def test_what_is_no_recording_is_one_clear_line(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AgentBankError, match=message) as told:
        Recording.read(path)
    assert "\n" not in str(told.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AgentBankError, match="expected the folder of a column"):
        Recording.read(tmp_path / "empty")


def test_a_column_of_a_sweep_is_called_after_its_model_and_agent_and_changes_with_its_content(spec, tmp_path) -> None:
    outcomes = play_all(episodes_of(spec, ReAct(), 1), OraclePolicy())
    path = record(tmp_path / "s" / "m" / "react" / "starter_math.jsonl", outcomes)
    (tmp_path / "s" / "sweep.json").write_text("{}")
    before = Recording.read(path.parent)
    assert before.name == "recorded-m-react" and Recording.read(path.parent).fingerprint == before.fingerprint
    path.write_text(path.read_text() + "\n")
    assert Recording.read(path.parent).fingerprint != before.fingerprint
