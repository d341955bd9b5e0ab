import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentbank_jax.agents.policy import OraclePolicy, RandomPolicy
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender, baseline_contenders
from agentbank_jax.evaluation.joining import Source, join
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_file import read_sweep
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import success_table
from agentbank_jax.trajectories.formats.agentbank import read_trajectories

pytestmark = pytest.mark.usefixtures("specs")

CONFIG = SweepConfig(name="small", tasks=["counting", "counting_far"], episodes_per_task=6, baselines=("random",),
                     processes=False)  # fmt: skip


def figures(result: SweepResult) -> object:
    """Everything but the wall time."""
    return [
        [
            (record.id, record.reward, record.steps, record.terminate_reason, record.conversations)
            for records in task.records.values()
            for record in records
        ]
        for task in result.tasks
    ]


class Killed(BaseException):
    pass


class DyingPolicy(RandomPolicy):
    """Dies in its fourth batch, as a process that is killed does."""

    calls = 0

    def collect(self):
        self.calls += 1
        if self.calls == 4:
            raise Killed
        return super().collect()


def test_the_oracle_reaches_everything_and_random_play_is_recorded_beside_it(tmp_path: Path) -> None:
    config = SweepConfig(name="s", tasks=("counting", "counting_far"), episodes_per_task=10)
    result = run_sweep(config, baseline_contenders(config), tmp_path)
    assert [column.name for column in result.columns] == ["random", "oracle"]
    for held_out in (False, True):
        mean = result.mean("oracle", held_out=held_out)
        assert mean is not None and mean.success_rate == 1.0 and 0.7 < mean.interval[0] < 0.75
    assert result.mean("random", held_out=False).success_rate < 1.0
    assert (tmp_path / "s" / "random" / "react" / "counting.jsonl").read_text().count("\n") == 10


def test_result_lines_are_in_the_released_layout_and_read_back_as_trajectories(tmp_path: Path) -> None:
    run_sweep(CONFIG, [Contender(name="oracle", identity="o", make=OraclePolicy)], tmp_path)
    path = tmp_path / "small" / "oracle" / "react" / "counting.jsonl"
    trajectories = list(read_trajectories(str(path), "counting", None))
    assert len(trajectories) == 6
    assert trajectories[0].turns[0].content == "Reach 2."
    line = json.loads(path.read_text().split("\n")[0])
    assert line["id"] == "counting/test/0/0" and line["success"] is True and line["protocol"] == "counting/1"
    assert {"reward", "steps", "terminate_reason", "tokens", "seconds", "model", "agent"} <= line.keys()


@pytest.mark.parametrize("torn", [b"", b'{"id": "counting/test/4", "conv', b'{"id": 1}\n', b"\xff\n"])
def test_a_killed_sweep_resumes_with_the_table_of_one_that_ran_through(tmp_path: Path, torn: bytes) -> None:
    whole = run_sweep(CONFIG, baseline_contenders(CONFIG), tmp_path / "whole")
    dying = Contender(name="random", identity="random/2", make=lambda: DyingPolicy(capacity=3))
    with pytest.raises(Killed):
        run_sweep(CONFIG, [dying], tmp_path / "killed")
    path = tmp_path / "killed" / "small" / "random" / "react" / "counting.jsonl"
    kept = path.read_bytes()
    assert 0 < kept.count(b"\n") < 12
    path.write_bytes(kept + torn)
    seen: list[int] = []
    resumed = run_sweep(
        CONFIG,
        baseline_contenders(CONFIG),
        tmp_path / "killed",
        progress=lambda sweep, model, done, total: seen.append(done),
    )
    assert figures(resumed) == figures(whole)
    assert seen[0] == kept.count(b"\n") and seen[-1] == 12
    assert path.read_bytes().startswith(kept) and path.read_bytes().count(b"\n") == 6


def test_a_finished_sweep_makes_no_policy_and_another_identity_plays_anew(tmp_path: Path) -> None:
    made: list[str] = []

    def contender(identity: str) -> Contender:
        return Contender(name="model", identity=identity, make=lambda: made.append(identity) or OraclePolicy())

    for identity in ("step 1", "step 1", "step 2"):
        run_sweep(CONFIG, [contender(identity)], tmp_path)
    assert made == ["step 1", "step 2"]
    assert (tmp_path / "small" / "model" / "react" / "counting.jsonl").read_text().count("\n") == 6


def test_episodes_of_other_conditions_are_put_aside_and_come_back(tmp_path: Path) -> None:
    shorter = replace(CONFIG, max_steps=1)
    first = run_sweep(CONFIG, baseline_contenders(CONFIG), tmp_path)
    assert figures(run_sweep(shorter, baseline_contenders(shorter), tmp_path)) != figures(first)
    silent = Contender(name="random", identity="random/2", make=pytest.fail, agents=False)
    for config in (CONFIG, shorter, CONFIG):
        result = run_sweep(config, [silent], tmp_path)
    assert figures(result) == figures(first)
    assert (tmp_path / "small/random/react/counting.jsonl").read_text().count("\n") == 6


def test_a_sweep_of_other_conditions_that_is_killed_reports_none_of_the_earlier_episodes(tmp_path: Path) -> None:
    config = replace(CONFIG, baselines=("random", "oracle"))
    run_sweep(config, baseline_contenders(config), tmp_path)
    changed = replace(config, max_steps=1)
    random, oracle = baseline_contenders(changed)
    with pytest.raises(Killed):
        run_sweep(changed, [replace(random, make=lambda: DyingPolicy(capacity=1)), oracle], tmp_path)
    task, _ = read_sweep(tmp_path / "small").tasks
    assert not task.records["oracle"] and all(record.steps == 1 for record in task.records["random"])


def test_a_task_that_cannot_run_is_not_run_and_counts_nowhere(tmp_path: Path) -> None:
    config = SweepConfig(name="s", tasks=("counting", "counting_absent"), episodes_per_task=4, baselines=("oracle",))
    result = run_sweep(config, baseline_contenders(config), tmp_path)
    assert [task.not_run for task in result.tasks] == [None, "the abacus is not installed"]
    assert result.tasks[1].summaries == {}
    assert result.mean("oracle", held_out=False).success_rate == 1.0
    assert result.mean("oracle", held_out=True) is None


def test_a_task_whose_instances_cannot_be_read_is_not_run_either(tmp_path: Path, specs) -> None:
    def size(split: str) -> int:
        raise AgentBankError("rows.jsonl:4: not JSON")

    registry._SPECS.pop("counting_far")
    specs(name="counting_far", size=size)
    result = run_sweep(CONFIG, baseline_contenders(CONFIG), tmp_path)
    assert [task.not_run for task in result.tasks] == [None, "rows.jsonl:4: not JSON"]
    assert len(result.tasks[0].records["random"]) == 6 and not result.tasks[1].records


def test_environment_errors_are_recorded_apart_and_do_not_stop_the_sweep(tmp_path: Path) -> None:
    config = SweepConfig(name="s", tasks=("counting_broken", "counting"), episodes_per_task=4, baselines=("oracle",))
    result = run_sweep(config, baseline_contenders(config), tmp_path)
    broken = result.tasks[0].summaries["oracle"]
    assert (broken.environment_errors, broken.success_rate) == (4, 0.0)
    assert result.tasks[0].records["oracle"][0].error == "RuntimeError: the engine broke"
    assert result.tasks[1].summaries["oracle"].success_rate == 1.0


def test_an_episode_that_the_environment_broke_is_played_again(tmp_path: Path, specs) -> None:
    config = SweepConfig(name="s", tasks=("counting_broken",), episodes_per_task=2, baselines=("oracle",))
    run_sweep(config, baseline_contenders(config), tmp_path)
    registry._SPECS.pop("counting_broken")
    specs(name="counting_broken", skill="web")
    again = run_sweep(config, baseline_contenders(config), tmp_path)
    assert again.tasks[0].summaries["oracle"].success_rate == 1.0


def test_results_over_other_data_are_not_reused(tmp_path: Path, specs) -> None:
    made: list[str] = []
    for version in ("one", "one", "two"):
        registry._SPECS.pop("counting")
        specs(name="counting", data_version=lambda version=version: version)
        contender = Contender(name="m", identity="i", make=lambda: made.append("played") or OraclePolicy())
        run_sweep(CONFIG, [contender], tmp_path)
    assert len(made) == 2


def test_trained_instances_are_left_out_and_a_trained_held_out_task_is_contaminated(tmp_path: Path) -> None:
    manifest = TrainingManifest.of({"counting": ["counting/test/1", "counting/train/5"], "counting_far": ["other"]})
    contender = Contender(name="model", identity="m", make=RandomPolicy, manifest=manifest)
    result = run_sweep(CONFIG, [contender, *baseline_contenders(CONFIG)], tmp_path)
    held_in, held_out = result.tasks
    assert not held_in.contaminated and held_out.contaminated == {"model"}
    for column in ("model", "random"):  # all are measured by the same instances
        assert (held_in.summaries[column].episodes, held_in.summaries[column].left_out) == (5, 1)
    assert result.mean("model", held_out=True) is None
    assert result.mean("random", held_out=True) is not None
    # Kept records are judged by the manifests of now.
    again = run_sweep(CONFIG, baseline_contenders(CONFIG), tmp_path)
    assert again.tasks[0].summaries["random"].episodes == 6 and not again.tasks[1].contaminated


def test_who_was_trained_on_unknown_problems_of_a_task_that_is_for_tests_alone_is_contaminated(
    tmp_path: Path, specs
) -> None:
    registry._SPECS.pop("counting")
    specs(name="counting", test_only=True)
    manifests = {
        "released": TrainingManifest.of({"counting": ["row_7"]}),
        "own": TrainingManifest.of({"counting": ["counting/test/1"]}),
        "clean": TrainingManifest.of({"other": ["row_7"]}),
    }
    contenders = [
        Contender(name=name, identity=name, make=OraclePolicy, manifest=manifest)
        for name, manifest in manifests.items()
    ]
    result = run_sweep(CONFIG, contenders, tmp_path)
    task = result.tasks[0]
    assert task.contaminated == {"released"} and task.summaries["own"].left_out == 1
    assert result.mean("released", held_out=False) is None and result.mean("own", held_out=False) is not None
    (sheet,) = join([Source(run="r", result=result)])
    assert (
        "counting: released was trained on problems of the test: not in its held-in mean." in success_table(sheet).notes
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ()}, "tasks is empty"),
        ({"tasks": ("counting", "counting")}, "twice"),
        ({"episodes_per_task": 0}, "episodes_per_task=0"),
        ({"baselines": ("randon",)}, "Did you mean 'random'"),
        ({"split": "dev"}, "split 'dev'"),
        ({"name": "a/b"}, "folder"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"at_once": 0}, "at_once=0"),
        ({"first_index": -1}, "first_index=-1"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"agents": ("reakt",)}, "Did you mean 'react'"),
        ({"agents": ()}, "agents is empty"),
        ({"seeds": (1, 1)}, "twice"),
        ({"answers": "exakt"}, "Did you mean 'exact'"),
        ({"agents": ("reflexion",), "trials": 0}, "trials is 0"),
        ({"agents": ("act",), "choose_actions": True}, "choose_actions"),
    ],
)
def test_wrong_configurations_are_named(fields: dict, message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        SweepConfig(**{"tasks": ("counting",), **fields})


def test_an_unknown_task_is_named_before_anything_is_written(tmp_path: Path) -> None:
    config = SweepConfig(tasks=("countin",))
    with pytest.raises(AgentBankError, match="Did you mean 'counting'"):
        run_sweep(config, baseline_contenders(config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_manifest_is_read_and_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(AgentBankError, match="missing"):
        TrainingManifest.load(path)
    path.write_text('{"tasks": {"counting": ["a", "b"]}, "more": 1}')
    manifest = TrainingManifest.load(path)
    assert manifest.trained_on_instance("counting", "a") and not manifest.trained_on_instance("counting", "c")
    assert not manifest.trained_on_task("counting_far")
    path.write_text('{"tasks": 3}')
    with pytest.raises(AgentBankError, match="expected"):
        TrainingManifest.load(path)
