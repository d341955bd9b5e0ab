"""Checkpoints, models behind servers and recordings play beside the baselines, each under a name of its own."""

import io
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.checkpoint import Evaluation, evaluate_checkpoint
from agentbank_jax.evaluation.participant import UNKNOWN
from agentbank_jax.evaluation.participants import find_participants
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.serving.served_model import ServedModel, made_model
from tests.agents.counting import BrokenEnvironment
from tests.agents.test_endpoint_policy import says_the_sum
from tests.evaluation.made_run import make_run, save_steps
from tests.serving.running import serving
from tests.small_bank import ROOT

SWEEP = SweepConfig(
    name="s", tasks=("counting", "counting_far"), episodes_per_task=2, max_new_tokens=4, slots=2, max_length=256,
    baselines=(), processes=False,
)  # fmt: skip
ENDPOINT = "http://127.0.0.1:9/v1#made-tiny"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` (steps 1 and 2) and `b`."""
    folder = tmp_path_factory.mktemp("runs")
    save_steps(make_run(folder / "a"), 1, 2)
    save_steps(make_run(folder / "b"), 3)
    return folder


@pytest.fixture
def runs(made: Path, monkeypatch: pytest.MonkeyPatch, specs: Any) -> Path:
    monkeypatch.chdir(made)
    return made


def evaluate(checkpoint: str | None, output: Path, *sweeps: SweepConfig) -> tuple[Evaluation, str]:
    printed = io.StringIO()
    result = evaluate_checkpoint(sweeps or [SWEEP], checkpoint, output, console=Console(file=printed, width=200))
    return result, printed.getvalue()


def names(result: SweepResult) -> list[str]:
    return [column.name for column in result.columns]


def played(result: SweepResult, column: str) -> list[dict[str, Any]]:
    """What a column's episodes were, but for the time that they took."""
    return [
        {**record.to_json(), "seconds": 0} for task in result.tasks for record in task.records.get(column, ())
    ]  # fmt: skip


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def test_two_checkpoints_play_one_after_the_other_each_loaded_once_for_all_sweeps(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, weakref.ref[ActingModel]]] = []
    load = ActingModel.load

    def watched(checkpoint: Path, **options: Any) -> ActingModel:
        assert not any(model() for _, model in loaded), "the one before is still in memory"
        model = load(checkpoint, **options)
        loaded.append((model.name, weakref.ref(model)))
        return model

    monkeypatch.setattr(ActingModel, "load", watched)
    first = replace(SWEEP, models=("b",), baselines=("untrained", "random"))
    second = replace(SWEEP, name="t", tasks=("counting",), models=("b",))
    evaluation, _ = evaluate("a", tmp_path, first, second)
    assert [name for name, _ in loaded] == ["a", "b"]
    assert [names(result) for result in evaluation.results] == [["a", "b", "untrained", "random"], ["a", "b"]]
    page = evaluation.page.read_text()
    assert "a: checkpoint" in page and "b: checkpoint" in page and "a, b: how they act" in page

    alone, _ = evaluate("b", tmp_path / "alone", SWEEP)
    assert played(evaluation.results[0], "b") == played(alone.results[0], "b")
    again, _ = evaluate("a", tmp_path, first, second)
    assert again.results == evaluation.results


def test_an_environment_that_breaks_is_asked_once_more_but_not_again_for_each_model(
    runs: Path, tmp_path: Path, specs: Any
) -> None:
    made: list[int] = []

    def broken() -> BrokenEnvironment:
        made.append(1)
        return BrokenEnvironment("reset")

    specs(name="breaking", make=broken)
    sweep = replace(SWEEP, tasks=("breaking",), episodes_per_task=1, models=("b",))
    evaluation, _ = evaluate("a", tmp_path, sweep)
    assert evaluation.results[0].tasks[0].summaries["a"].environment_errors == 1
    assert len(made) == 4  # two models, each tried twice


def test_a_checkpoint_plays_only_in_the_sweeps_that_name_it(runs: Path, tmp_path: Path) -> None:
    sweeps = (replace(SWEEP, models=("a",)), replace(SWEEP, name="t", models=("b",), base="b"))
    evaluation, _ = evaluate(None, tmp_path, *sweeps)
    assert [names(result) for result in evaluation.results] == [["a"], ["b"]]
    assert [result.base for result in evaluation.results] == [None, "b"]


def test_steps_of_one_run_are_told_apart(runs: Path) -> None:
    places = ("a/checkpoints/1", "a/checkpoints/2", "a@best")
    entries = find_participants([replace(SWEEP, models=places)])
    assert [entry.name for entry in entries] == ["a-1", "a-2", "a-best"]
    (alone,) = find_participants([replace(SWEEP, models=places[:1])])
    assert alone.name == "a"
    (same,) = find_participants([replace(SWEEP, models=("a",))], "a")
    assert same.sweeps == {"s"}


@pytest.mark.parametrize(
    ("checkpoint", "fields", "message"),
    [
        (None, {}, "sweep 's': nobody plays"),
        (None, {"baselines": ("untrained", "oracle")}, "no checkpoint is named, .*'untrained'.*--checkpoint=PATH"),
        (None, {"baselines": ("untrained",), "models": (ENDPOINT,)}, "no checkpoint is named"),
        ("a", {"models": ("c",)}, "models names c, which is no folder"),
        ("a", {"models": ("aa/a",)}, r"aa/a and a would both be called 'a'|a and aa/a would both be called 'a'"),
        ("a", {"models": ("http://h/v1",)}, "names no model of a server"),
        ("a", {"models": ("htp://h/v1#m",)}, "is no folder; expected a checkpoint, http://HOST:PORT/v1#MODEL"),
        ("a", {"models": ("http://h/v1#random",)}, "cannot be called 'random'"),
        ("a", {"models": ("http://h/v1#b/..",)}, r"cannot be called '\.\.'"),
        ("a", {"models": ("http://h/v1#a",)}, "would both be called 'a'"),
        ("a", {"models": ("recording:absent",)}, "recording:absent does not exist"),
        ("a", {"models": (ENDPOINT,), "choose_actions": True}, "choose_actions needs a checkpoint"),
        ("a", {"base": "untraind", "baselines": ("untrained",)}, "Did you mean 'untrained'"),
        ("a", {"manifests": {"a": "a/manifest.json"}}, "a checkpoint brings its own"),
        ("a", {"models": (ENDPOINT,), "manifests": {"made-tin": "m"}}, "Did you mean 'made-tiny'"),
        ("a", {"models": (ENDPOINT,), "manifests": {"made-tiny": "absent.json"}}, r"absent\.json is missing"),
    ],
)  # fmt: skip
def test_who_cannot_play_is_named_before_anything_is_read_or_written(
    checkpoint: str | None, fields: dict[str, Any], message: str, runs: Path, tmp_path: Path, monkeypatch
) -> None:
    (runs / "aa").mkdir(exist_ok=True)
    (runs / "aa/a").mkdir(exist_ok=True)
    monkeypatch.setattr(ActingModel, "load", None)
    with pytest.raises(AgentBankError, match=message) as told:
        evaluate(checkpoint, tmp_path / "out", replace(SWEEP, **fields))
    assert "\n" not in str(told.value) and not (tmp_path / "out").exists()


# ---- models behind servers -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def model() -> ServedModel:
    return made_model()


@pytest.mark.usefixtures("specs")
def test_a_model_behind_a_server_plays_and_its_training_is_unknown_unless_a_manifest_says_it(
    model: ServedModel, tmp_path: Path
) -> None:
    with serving(model, say=says_the_sum, max_length=2048) as server:
        sweep = replace(SWEEP, models=(f"{server.url}/v1#made-tiny",), max_new_tokens=200, agents=("react", "act"))
        evaluation, _ = evaluate(None, tmp_path, sweep)
        (result,) = evaluation.results
        assert names(result) == ["made-tiny, react", "made-tiny, act"]
        assert result.mean("made-tiny, react", held_out=True).success_rate == 1.0
        assert result.tasks[0].summaries["made-tiny, react"].tokens > 0
        assert UNKNOWN in evaluation.page.read_text() and "made-tiny at http" in evaluation.page.read_text()
        (tmp_path / "m.json").write_text(json.dumps({"tasks": {"counting_far": ["x"]}}))
        known = replace(sweep, manifests={"made-tiny": str(tmp_path / "m.json")})
        evaluation, printed = evaluate(None, tmp_path, known)
    assert evaluation.results[0].tasks[1].contaminated == {"made-tiny"} and "CONTAMINATED" in printed
    assert UNKNOWN not in evaluation.page.read_text() and "counting_far (1)" in evaluation.page.read_text()


@pytest.mark.usefixtures("specs")
def test_a_server_that_is_gone_ends_the_evaluation_and_what_was_played_is_kept(
    model: ServedModel, tmp_path: Path
) -> None:
    with serving(model, say=says_the_sum, max_length=2048) as server:
        first = replace(SWEEP, models=(f"{server.url}/v1#made-tiny",), max_new_tokens=200, tasks=("counting",))
        whole, _ = evaluate(None, tmp_path / "whole", first)
        evaluate(None, tmp_path / "stopped", replace(first, episodes_per_task=1))
    with pytest.raises(AgentBankError, match="cannot be reached"):
        evaluate(None, tmp_path / "stopped", first)
    path = tmp_path / "stopped/s/made-tiny/react/counting.jsonl"
    assert path.read_text().count("\n") == 1
    path.write_text((tmp_path / "whole/s/made-tiny/react/counting.jsonl").read_text())
    again, _ = evaluate(None, tmp_path / "stopped", first)  # nobody is asked
    assert again.results == whole.results


# ---- recordings ------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("specs")
def test_a_recorded_column_plays_again_and_departures_are_told(tmp_path: Path) -> None:
    evaluate(None, tmp_path / "one", replace(SWEEP, baselines=("oracle",)))
    folder = tmp_path / "one/s/oracle/react"
    sweep = replace(SWEEP, models=(f"recording:{folder}",), agents=("react", "act"), episodes_per_task=3)
    evaluation, printed = evaluate(None, tmp_path / "two", sweep)
    (result,) = evaluation.results
    assert names(result) == ["recorded-oracle-react"]
    assert [task.summaries["recorded-oracle-react"].reasons for task in result.tasks] == [
        {"success": 2, "no_reply": 1}
    ] * 2
    assert "4 recorded episodes of" in evaluation.markdown.read_text()
    assert "than in the recording" not in printed and UNKNOWN in evaluation.page.read_text()

    path = folder / "counting.jsonl"
    path.write_text(path.read_text().replace("The sum is 2.", "The sum is 9."))
    evaluation, printed = evaluate(None, tmp_path / "two", sweep)
    line = "recorded-oracle-react, counting: in 2 of 3 episodes the environment said something else"
    assert line in printed and line in evaluation.markdown.read_text()
    assert evaluation.results[0].tasks[0].summaries["recorded-oracle-react"].success_rate > 0.6


# ---- without JAX -----------------------------------------------------------------------------------------------------
def test_where_no_checkpoint_plays_jax_is_not_imported(model: ServedModel, tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['jax'] = None  # as where it is not installed\n"
        "try: runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "finally: print([name for name in ('jax', 'jaxlib', 'flax', 'orbax', 'optax', 'tensorflow', 'seqio')"
        " if sys.modules.get(name)])"
    )
    with serving(model, say=lambda text: "Action: 1 + 1", max_length=4096) as server:
        flags = [
            "--gin_file=eval/starter_held_in.gin", "--seed=3",
            "--gin.SweepConfig.baselines=['oracle', 'random']",
            f"--gin.SweepConfig.models=['{server.url}/v1#made-tiny']",
            "--gin.SweepConfig.episodes_per_task=1", "--gin.starter_held_in/SweepConfig.tasks=['starter_math']",
            "--gin.SweepConfig.max_new_tokens=20",
        ]  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-c", code.replace("sys.argv[1]", repr(str(ROOT / "evaluate.py"))), *flags],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.rstrip().endswith("[]")
    folder = tmp_path / "runs/evaluation-starter_held_in"
    assert (folder / "report.html").is_file() and (
        folder / "starter_held_in/made-tiny/react/starter_math.jsonl"
    ).is_file()
    assert "starter_held_in/SweepConfig.seeds = [3]" in (folder / "operative_config.gin").read_text()


def test_a_missing_client_is_named_with_what_to_install(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(AgentBankError, match=r"not installed; expected pip install 'agentbank_jax\[endpoint\]'"):
        find_participants([replace(SWEEP, models=(ENDPOINT,))])
