import io
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from rich.console import Console

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.checkpoint import evaluate_checkpoint, sweep_facts
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.folder_lock import locked
from tests.evaluation.made_run import make_run, save_steps, vocabulary

SWEEP = SweepConfig(
    name="held_in", tasks=("counting", "counting_far"), episodes_per_task=3, max_new_tokens=6, slots=4, max_length=256
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with an untrained checkpoint."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "parrot")
    save_steps(folder, 5)
    return folder


@pytest.mark.usefixtures("specs")
def test_one_call_gives_tables_results_and_report_and_a_second_one_plays_nothing(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    first = evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=printed, width=120))
    (result,) = first.results
    assert [column.name for column in result.columns] == ["parrot", "untrained", "random", "oracle"]
    assert result.mean("oracle", held_out=True).success_rate == 1.0
    summary = result.tasks[0].summaries["parrot"]
    assert summary.episodes == 3 and summary.tokens > 0
    assert "held-out mean" in printed.getvalue() and "parrot: 6 episodes" in printed.getvalue()
    page = first.page.read_text()
    assert "parrot, step 5" in page and "Training loss" in page
    assert {path.suffix for path in tmp_path.glob("report.*")} == {".md", ".html", ".csv", ".tex"}
    assert {path.name for path in (tmp_path / "held_in").iterdir()} == {column.name for column in result.columns} | {
        "sweep.json"
    }

    monkeypatch.setattr("agentbank_jax.evaluation.acting_model.Engine", None)
    second = evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=io.StringIO()))
    assert second.results == first.results


@pytest.mark.usefixtures("specs")
def test_trained_and_untrained_models_share_their_compiled_programs(model_dir: Path, tmp_path: Path) -> None:
    from agentbank_jax.generation import programs

    def compiled(sweep: SweepConfig, folder: Path) -> tuple[int, int]:
        jax.clear_caches()
        # How many episodes wait for a reply together must not depend on how fast processes are.
        evaluate_checkpoint([replace(sweep, processes=False)], model_dir, folder, console=Console(file=io.StringIO()))
        return programs.decode._cache_size(), programs.prefill._cache_size()

    alone = compiled(replace(SWEEP, baselines=()), tmp_path / "alone")
    assert compiled(SWEEP, tmp_path / "both") == alone > (0, 0)


@pytest.mark.usefixtures("specs")
def test_a_folder_that_another_evaluation_writes_to_is_left_to_it(model_dir: Path, tmp_path: Path) -> None:
    with (
        locked(tmp_path, "evaluate.py", "--model_dir"),
        pytest.raises(AgentBankError, match=r"another evaluate.py is writing there; wait until it ends, or choose"),
    ):
        evaluate_checkpoint([SWEEP], model_dir, tmp_path, console=Console(file=io.StringIO()))
    assert not list(tmp_path.glob("[!.]*"))


@pytest.mark.usefixtures("specs")
def test_more_episodes_at_once_than_slots_change_none_of_them(model_dir: Path, tmp_path: Path) -> None:
    def played(folder: str, **changes: int) -> list:
        sweep = replace(SWEEP, baselines=(), **changes)
        evaluation = evaluate_checkpoint([sweep], model_dir, tmp_path / folder, console=Console(file=io.StringIO()))
        return [
            (record.id, record.conversations, record.tokens)
            for task in evaluation.results[0].tasks
            for record in task.records["parrot"]
        ]

    assert played("few", slots=2) == played("many", slots=2, at_once=6)


@pytest.mark.usefixtures("specs")
def test_every_agent_drives_a_model_and_none_changes_what_another_does(tmp_path: Path) -> None:
    model_dir = make_run(tmp_path / "parrot")
    save_steps(model_dir, 1, max_length=2048)
    sweep = replace(SWEEP, tasks=("counting",), baselines=(), trials=2, max_length=None, processes=False)

    def play(*agents: str) -> dict[str, list[object]]:
        config = replace(sweep, agents=agents)
        evaluation = evaluate_checkpoint(
            [config], model_dir, tmp_path / "+".join(agents), console=Console(file=io.StringIO())
        )
        (task,) = evaluation.results[0].tasks
        return {
            records[0].agent: [
                (one.conversations, one.earlier, one.steps, one.terminate_reason, one.tokens) for one in records
            ]
            for records in task.records.values()
        }

    together = play("react", "act", "reflexion", "rewoo")
    for agent, episodes in together.items():
        assert play(agent) == {agent: episodes}
    # What fresh weights say is no action: both trials of Reflexion end by that, and the first is reflected on.
    assert {len(earlier) for _, earlier, *_ in together["reflexion"]} == {1}
    assert all(len(earlier[0]) == 2 * 4 for _, earlier, *_ in together["reflexion"])


@pytest.mark.usefixtures("specs")
def test_temperatures_that_differ_only_in_the_seventh_digit_are_two_contenders(model_dir: Path) -> None:
    model = ActingModel.load(model_dir)
    sweeps = [replace(SWEEP, temperature=0.5), replace(SWEEP, temperature=0.5000001)]
    assert len({model.contenders(sweep, TrainingManifest())[0].identity for sweep in sweeps}) == 2


@pytest.mark.usefixtures("specs")
def test_a_model_that_draws_or_chooses_is_another_contender_and_the_report_says_how_it_acts(model_dir: Path) -> None:
    model = ActingModel.load(model_dir)
    ways = [SWEEP, replace(SWEEP, temperature=0.7), replace(SWEEP, temperature=0.7, top_p=0.5),
            replace(SWEEP, choose_actions=True)]  # fmt: skip
    assert len({model.contenders(sweep, TrainingManifest())[0].identity for sweep in ways}) == len(ways)
    assert sweep_facts(ways, 1.0)["agent"] == (
        "react, greedy decoding; react, temperature 0.7; react, temperature 0.7, top_p 0.5; "
        "react, greedy decoding, actions of the list"
    )


@pytest.mark.usefixtures("specs")
@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ((), "No sweep"),
        ((SWEEP, SWEEP), "two have one name"),
        ((SweepConfig(tasks=("countng",)),), "Did you mean 'counting'"),
    ],
)
def test_wrong_sweeps_are_named_before_the_checkpoint_is_read(sweeps, message: str, tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=message):
        evaluate_checkpoint(sweeps, tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("specs")
def test_another_tokenizer_or_a_missing_manifest_is_refused(model_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(AgentBankError, match=r"manifest\.json is missing"):
        evaluate_checkpoint([SWEEP], copy, tmp_path / "out")
    shutil.copyfile(model_dir / "manifest.json", copy / "manifest.json")
    (copy / "tokenizer.model").write_bytes(vocabulary("Quite other words than those of the training."))
    with pytest.raises(AgentBankError, match="Put that tokenizer back"):
        evaluate_checkpoint([SWEEP], copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
