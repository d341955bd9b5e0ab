"""The whole path through the entry points, on a bank of a few trajectories."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest

from tests.small_bank import ROOT, SMALL_SWEEPS, SMALL_TRAINING, ProgramRunner, run_program
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import (
    LLAMA3_JINJA,
    LLAMA3_SPECIALS,
    byte_level_json,
    texts_of,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def run_folder(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `train.py` has run once; its run is in `runs/samoyed_tiny`."""
    cwd = tmp_path_factory.mktemp("work")
    result = run_program(["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING], data_dir=data_dir, cwd=cwd)
    assert result.returncode == 0, result.stderr
    (cwd / "first_output.txt").write_text(result.stdout)
    return cwd


def test_one_command_trains_acts_and_reports(run_folder: Path) -> None:
    run = run_folder / "runs/samoyed_tiny"
    assert {path.name for path in (run / "checkpoints").iterdir() if path.is_dir()} == {"2"}
    for name in ("manifest.json", "metrics.jsonl", "tokenizer.model", "operative_config.gin"):
        assert (run / name).is_file()
    assert (run / "evaluation/report.html").is_file() and (run / "evaluation/report.md").is_file()
    output = (run_folder / "first_output.txt").read_text()
    for word in ("starter_math", "samoyed_tiny", "untrained", "random", "oracle", "report:"):
        assert word in output


def test_the_manifest_lists_what_was_trained_on(run_folder: Path) -> None:
    tasks = json.loads((run_folder / "runs/samoyed_tiny/manifest.json").read_text())["tasks"]
    assert set(tasks) == {f"starter_{skill}" for skill in ("reasoning", "math", "programming", "web", "embodied")}
    assert all(len(ids) == 5 for ids in tasks.values())


def test_the_operative_config_trains_again_as_it_is_and_the_finished_run_is_recognised(
    run_here: ProgramRunner, run_folder: Path, data_dir: Path
) -> None:
    saved = run_folder / "runs/samoyed_tiny/operative_config.gin"
    before = saved.read_text()
    result = run_here(
        ["train.py", f"--gin_file={saved}", "--model_dir=runs/samoyed_tiny"], data_dir=data_dir, cwd=run_folder
    )
    assert result.returncode == 0, result.stderr
    # The same settings: nothing is trained or played again, and the table is the same.
    assert "goes on after step 2" in result.stderr and "compiled in" not in result.stderr
    assert saved.read_text() == before
    table = (run_folder / "first_output.txt").read_text()
    row = next(line for line in table.split("\n") if "starter_math" in line)
    assert row in result.stdout


def test_a_bank_at_a_url_is_copied_and_trained_on(run_here: ProgramRunner, data_dir: Path, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    for pattern in ("*/train*", "vocabulary/*"):
        for file in data_dir.glob(pattern):
            files.pipe(f"/train/banks/{file.relative_to(data_dir)}", file.read_bytes())
    where = "--gin.DataConfig.data_dir='memory://train/banks'"
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.RunConfig.sweeps=[]", where]
    plan = run_here([*arguments, "--dry_run"], data_dir=data_dir, cwd=tmp_path)
    assert plan.returncode == 0 and "nothing is missing" in plan.stdout, plan.stdout + plan.stderr
    assert not (tmp_path / "data").exists()
    result = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    copy = tmp_path / "data/remote/memory/train/banks"
    assert {path.name for path in copy.iterdir()} >= {"starter_math", "vocabulary", "token_cache"}
    assert not (tmp_path / "memory:").exists()


def test_evaluate_runs_a_sweep_alone(run_here: ProgramRunner, run_folder: Path, data_dir: Path) -> None:
    result = run_here(
        ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/samoyed_tiny", *SMALL_SWEEPS],
        data_dir=data_dir,
        cwd=run_folder,
    )
    assert result.returncode == 0, result.stderr
    assert (run_folder / "runs/samoyed_tiny/evaluation-starter_held_in/report.md").is_file()


def test_an_unknown_checkpoint_is_one_line_and_writes_nothing(
    run_here: ProgramRunner, run_folder: Path, data_dir: Path
) -> None:
    before = set(run_folder.rglob("*"))
    result = run_here(
        ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/samoyed_tny"],
        data_dir=data_dir,
        cwd=run_folder,
    )
    assert result.returncode == 2
    assert "samoyed_tny" in result.stderr and "Did you mean 'samoyed_tiny'" in result.stderr
    assert "Traceback" not in result.stderr and set(run_folder.rglob("*")) == before


def test_a_run_that_goes_on_with_another_model_is_refused(
    run_here: ProgramRunner, run_folder: Path, data_dir: Path
) -> None:
    result = run_here(
        ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.LlamaConfig.intermediate_size=32"],
        data_dir=data_dir,
        cwd=run_folder,
    )
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "intermediate_size" in result.stderr


def test_a_run_goes_on_with_other_settings_that_allow_change_names(
    run_here: ProgramRunner, run_folder: Path, data_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder / "runs", tmp_path / "runs")
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.RunConfig.sweeps=[]",
                 "--gin.LlamaConfig.rope_theta=5e5", "--gin.TrainConfig.steps=3"]  # fmt: skip
    refused = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
    assert refused.returncode == 2 and "model.rope_theta: 500.0 in the checkpoint, 500000.0 now" in refused.stderr
    result = run_here([*arguments, "--allow_change=template,model.rope_theta"], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0 and "goes on after step 2" in result.stderr, result.stderr


def test_another_run_starts_from_the_weights_that_checkpoint_names(
    run_here: ProgramRunner, run_folder: Path, data_dir: Path
) -> None:
    result = run_here(
        [
            "train.py",
            "--gin_file=samoyed_tiny.gin",
            *SMALL_TRAINING,
            "--gin.TrainConfig.steps=1",
            "--gin.RunConfig.sweeps=[]",
            "--checkpoint=runs/samoyed_tiny",
            "--model_dir=runs/second",
        ],
        data_dir=data_dir,
        cwd=run_folder,
    )
    assert result.returncode == 0, result.stderr
    first = [json.loads(line) for line in (run_folder / "runs/samoyed_tiny/metrics.jsonl").open()]
    second = [json.loads(line) for line in (run_folder / "runs/second/metrics.jsonl").open()]
    assert second[0]["loss"] < first[0]["loss"]
    shutil.rmtree(run_folder / "runs/second")


def test_a_run_with_a_checkpoints_own_chat_template_carries_its_tokenizer(
    run_here: ProgramRunner, data_dir: Path, tmp_path: Path
) -> None:
    texts = texts_of(make_trajectory(number) for number in range(50))
    specification = byte_level_json(texts, LLAMA3_SPECIALS, 500)
    write_checkpoint(
        tmp_path / "weights", specification, LLAMA3_JINJA, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
    )
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.DataConfig.tokenizer=./weights",
                 "--gin.DataConfig.template=hf", "--gin.DataConfig.train_thoughts=False",
                 "--gin.DataConfig.over_long=split_at_turn"]  # fmt: skip
    result = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "runs/samoyed_tiny"
    assert (run / "tokenizer.json").read_text() == specification and not (run / "tokenizer.model").exists()
    assert (run / "evaluation/report.md").is_file()
    # Other markers than those of the training are noticed.
    config = run / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": LLAMA3_JINJA + "{# other #}"}))
    sweep = ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/samoyed_tiny", *SMALL_SWEEPS]
    result = run_here(sweep, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "its chat template is 'hf/1:" in result.stderr and "Put that tokenizer's files back" in result.stderr
    # A run that goes on trains the same tokens.
    result = run_here([*arguments, "--gin.DataConfig.train_on=last"], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2 and "train_on=last" in result.stderr


@pytest.mark.parametrize("recipe", ["samoyed_7b", "samoyed_13b", "samoyed_codellama_7b", "samoyed_7b_lora"])
def test_a_large_recipe_names_what_is_missing_a_line_each(run_here: ProgramRunner, recipe: str, tmp_path: Path) -> None:
    result = run_here(["train.py", f"--gin_file={recipe}.gin"], data_dir=tmp_path / "data", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    first, *lines = result.stderr.strip().split("\n")
    assert first.startswith("error: ")
    assert {line.split(":")[0].strip() for line in lines} == {"bank", "tokenizer", "weights"}
    assert all("download" in line or "comes with" in line or "build_bank" in line for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "recipe",
    ["samoyed_tiny", "samoyed_small", "gsm8k_tiny", "samoyed_7b", "samoyed_13b", "samoyed_codellama_7b",
     "samoyed_tiny_lora", "samoyed_7b_lora"],
)  # fmt: skip
def test_dry_run_prints_the_plan_without_data_or_weights(run_here: ProgramRunner, recipe: str, tmp_path: Path) -> None:
    result = run_here(["train.py", f"--gin_file={recipe}.gin", "--dry_run"], data_dir=tmp_path / "data", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in ("parameters", "mesh", "bytes per device", "data", "tokens per step"):
        assert f"\n{word} " in result.stdout
    assert not list(tmp_path.iterdir())


def test_the_seed_flag_wins_over_gin(run_here: ProgramRunner, tmp_path: Path) -> None:
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", "--gin.TrainConfig.seed=3", "--seed=17", "--dry_run"]
    assert "seed 17" in run_here(arguments, data_dir=tmp_path / "data", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--gin.DataConfig.mixture=startr", "Did you mean 'starter'"),
        ("--gin.starter_held_in/SweepConfig.tasks=['starter_meth']", "Did you mean 'starter_math'"),
        ("--gin.RunConfig.sweeps=['starter_held_uot']", "Did you mean 'starter_held_out'"),
        ("--gin.LlamaConfig.vocab_size=500", "LlamaConfig.vocab_size = 500: expected at least"),
        ("--gin.DataConfig.max_length=2048", "more than LlamaConfig.max_position_embeddings=1024: shorten the rows"),
        ("--gin.TrainConfg.steps=1", "Did you mean 'TrainConfig'"),
        ("--gin.starter_held_in/TrainConfig.steps=1", "only SweepConfig, RecipeConfig, FilterConfig have scopes"),
        ("--gin.hold_in/SweepConfig.episodes_per_task=1", "'hold_in': tasks is empty"),
        ("--gin.RunConfig.weights=.", "config.json does not exist; expected the folder of a Hugging Face checkpoint"),
        ("--gin.RunConfig.weights=nowhere", "weights: nowhere; expected the folder of a Hugging Face checkpoint"),
        ("--model_dir=/proc/none", "cannot be written"),
        ("--model_dir=gs://bucket/run", "expected a local path, which may be a mounted bucket"),
        ("--checkpoint=nowhere", "nowhere"),
        ("--allow_change=templat", "--allow_change=templat: no fact is called so. Did you mean 'template'"),
        ("--gin.TrainConfig.allow_change=['model.rope_teta']", "Did you mean 'model.rope_theta'"),
    ],
)
def test_a_mistake_is_told_before_anything_begins(
    run_here: ProgramRunner, flag: str, message: str, data_dir: Path, tmp_path: Path
) -> None:
    result = run_here(["train.py", "--gin_file=samoyed_tiny.gin", flag], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_malformed_trajectory_is_one_line_that_names_it(
    run_here: ProgramRunner, data_dir: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "data"
    shutil.copytree(data_dir, broken, ignore=shutil.ignore_patterns("token_cache", "compiled"))
    folder = broken / "starter_math"
    for file in folder.glob("train*"):
        file.unlink()
    (folder / "train.jsonl").write_text('{"id": "a", "conversations": [{"from": "robot", "value": "x"}]}\n')
    result = run_here(["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING], data_dir=broken, cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "train.jsonl" in result.stderr and "robot" in result.stderr


def test_the_entry_points_hold_no_logic_of_their_own() -> None:
    for name in ("train.py", "evaluate.py"):
        assert len((ROOT / name).read_text().split("\n")) < 40
