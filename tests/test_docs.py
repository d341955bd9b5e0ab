"""Every command that the documentation shows is run: quick ones here, long ones by `make test-slow`."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_bank import (
    ROOT,
    SMALL_MODEL,
    SMALL_SWEEPS,
    SMALL_TRAINING,
    ProgramRunner,
    build_small_bank,
    environment,
)
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import (
    LLAMA3_JINJA,
    LLAMA3_SPECIALS,
    byte_level_json,
    texts_of,
    write_checkpoint,
)

# In the order in which a reader meets them: later pages use what earlier ones made.
PAGES = ("docs/banks.md", "docs/data.md", "docs/training.md", "docs/environments.md", "docs/evaluation.md",
         "docs/pods.md", "docs/launching.md", "README.md", "docs/generation.md", "docs/serving.md", "docs/extending.md",
         "docs/security.md")  # fmt: skip

MAKE_COMMANDS = {"make train", "make test", "make lint"}

# What makes a command small: flags that win over those shown. The longest matching prefix counts.
SMALL_FLAGS: dict[str, tuple[str, ...]] = {
    "python scripts/build_bank.py": ("--trajectories=25", "--workers=1", "--output=elsewhere"),
    "python scripts/build_bank.py --trajectories": ("--trajectories=25", "--workers=1", "--output=another"),
    "python scripts/build_bank.py --task=gsm8k": ("--workers=1",),
    "python scripts/build_bank.py --gin_file=bank/starter.gin": ("--trajectories=10", "--workers=1"),
    "python scripts/replay_bank.py": ("--workers=1",),
    "python scripts/difficulty_report.py": (),
    "python scripts/train_vocabulary.py": ("--vocab_size=600",),
    "python scripts/train_vocabulary.py --mixture=gsm8k": ("--vocab_size=335",),
    "python scripts/inspect_mixture.py": (),
    "python scripts/cache_tasks.py": (),
    "python -m seqio.scripts.inspect_tasks_main": (),
    "python -m seqio.scripts.cache_tasks_main": (),
    "python scripts/bench_data.py": ("--trajectories=500", "--seconds=0.1"),
    "python scripts/bench_data.py --figures memory": ("--large=160",),
    "python scripts/lint_bank.py": ("--workers=1",),
    "python scripts/build_index.py": (),
    "python scripts/report.py": (),
    "python scripts/build_pairs.py": (),
    "python scripts/convert_bank.py": (),
    "python scripts/export_hf.py": (),
    "python scripts/import_hf.py": (),
    "python scripts/bench_import.py": ("--shape=tiny",),
    "python scripts/compare_runs.py": (),
    "python scripts/bench_training.py": (),
    "python scripts/chat.py": ("--max_new_tokens=4",),
    "python scripts/bench_generation.py": (
        "--shape=tiny",
        "--peer=none",
        "--rounds=1",
        "--repeats=1",
        "--rows=2",
        "--prompt=16",
        "--new_tokens=4",
        "--episodes=2",
        "--turns=2",
        "--observation=8",
        "--shared=4",
    ),
    # Both start `train.py` many times; `tests/training/test_faults.py` runs the former.
    "python scripts/fault_test.py": ("--help",),
    "python scripts/bench_loop.py": ("--figures=outside", "--repeats=1", "--steps=3"),
    # Serves until it is stopped; `tests/commands/test_serve.py` starts it.
    "python scripts/serve.py": ("--help",),
    "python scripts/bench_serving.py": ("--shape=tiny", "--clients=2", "--turns=1", "--tokens=2", "--rounds=1"),
    # Launchers print what they would run; `sbatch` stands for the script that it submits.
    "scripts/tpu_pod.sh": ("--dry_run",),
    "sbatch": ("--dry_run",),
    "python scripts/launch_jobset.py": ("--dry_run",),
    "python scripts/compile_topology.py": (
        *SMALL_MODEL,
        "--gin.LlamaConfig.hidden_size=256",
        "--gin.DataConfig.max_length=256",
    ),
    # The rows made up here are both the bank and the test.
    "python scripts/lint_bank.py --mixture=gsm8k": ("--workers=1", "--fail_on=never"),
    "python train.py --gin_file=samoyed_tiny.gin": SMALL_TRAINING,
    # Of five trajectories of a task a small share is none.
    "python train.py --gin_file=samoyed_tiny.gin --gin.EvalConfig": (*SMALL_TRAINING, "--gin.EvalConfig.share=0.3"),
    "python train.py --gin_file=samoyed_tiny_lora.gin": SMALL_TRAINING,
    "python train.py --gin_file=runs/samoyed_tiny/operative_config.gin": (),
    "python train.py --gin_file=samoyed_": (),
    "python train.py --gin_file=gsm8k_tiny.gin": (
        *SMALL_MODEL,
        "--gin.TrainConfig.steps=1",
        "--gin.TrainConfig.batch_size=1",
        "--gin.gsm8k/SweepConfig.episodes_per_task=1",
        "--gin.SweepConfig.max_new_tokens=4",
    ),
    "python evaluate.py --gin_file=eval/starter_held_in.gin": SMALL_SWEEPS,
    "python evaluate.py --gin_file=eval/explore.gin": (
        "--gin.explore/SweepConfig.tasks=['starter_math']",
        "--gin.explore/SweepConfig.episodes_per_task=2",
        "--gin.SweepConfig.max_new_tokens=8",
    ),
    "python evaluate.py --gin_file=eval/held_in.gin --dry_run": (),
    "python evaluate.py --gin_file=eval/held_out.gin --dry_run": (),
    "python evaluate.py --gin_file=eval/held_out.gin": ("--gin.held_out/SweepConfig.tasks=['bamboogle']",),
    "python evaluate.py --gin_file=eval/starter_held_out.gin": (
        "--gin.starter_held_out/SweepConfig.tasks=['starter_math_longer']",
        "--gin.SweepConfig.episodes_per_task=1",
        "--gin.SweepConfig.max_new_tokens=4",
    ),
}

# Rows in GSM8K's layout, made up here.
GSM8K_ROWS = [
    {
        "question": f"Ann has {a} boxes of {b} pens and gives {c} pens away. How many pens are left?",
        "answer": f"She has {a}*{b}=<<{a}*{b}={a * b}>>{a * b} pens.\n"
        f"Then {a * b}-{c}=<<{a * b}-{c}={a * b - c}>>{a * b - c} are left.\n#### {a * b - c}",
    }
    for a, b, c in [(3, 4, 5), (2, 9, 7), (6, 5, 8), (4, 4, 3)]
]


def commands_of(page: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.split("\n") if line.strip()]


def small_flags(command: str) -> tuple[str, ...] | None:
    prefixes = [prefix for prefix in SMALL_FLAGS if command.startswith(prefix)]
    return SMALL_FLAGS[max(prefixes, key=len)] if prefixes else None


def test_every_page_is_listed_and_every_command_is_known() -> None:
    assert {*PAGES} == {"README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))}
    commands = [command for page in PAGES for command in commands_of(page)]
    unknown = [command for command in commands if command not in MAKE_COMMANDS and small_flags(command) is None]
    assert not unknown and len(commands) > 20


def test_the_quick_commands_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    build_small_bank(data)
    (tmp_path / "benchmarks/gsm8k").mkdir(parents=True)
    passages = [{"title": row["question"][:20], "text": row["question"]} for row in GSM8K_ROWS]
    (tmp_path / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages))
    for name in ("train.jsonl", "test.jsonl", "benchmarks/gsm8k/test.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS))
    # A checkpoint's folder, but for its weights.
    texts = texts_of(make_trajectory(number) for number in range(50))
    write_checkpoint(
        tmp_path / "weights/Meta-Llama-3-8B-Instruct",
        byte_level_json(texts, LLAMA3_SPECIALS, 600),
        LLAMA3_JINJA,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    )
    (data / "general").mkdir()
    turns = [{"from": "human", "value": "Good morning."}, {"from": "gpt", "value": "Hello."}]
    (data / "general/chats.json").write_text(json.dumps([{"conversations": turns}]))
    run = ProgramRunner(monkeypatch, capfd)
    done = set()
    for page in PAGES:
        for command in commands_of(page):
            if command in MAKE_COMMANDS or command in done:
                continue
            done.add(command)
            if not command.startswith("python "):
                run_launcher(command)
                continue
            _, *arguments = shlex.split(command)
            if arguments[0] == "-m":
                run_module(arguments, data, tmp_path)
                continue
            if arguments[0] == "scripts/compile_topology.py" and importlib.util.find_spec("libtpu") is None:
                continue
            result = run(with_flags(arguments, small_flags(command) or ()), data_dir=data, cwd=tmp_path)
            assert result.returncode == 0, f"{page}: {command}\n{result.stderr[-3000:]}"


def with_flags(arguments: list[str], flags: tuple[str, ...]) -> list[str]:
    """Adds flags of a program before those that it hands on after `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:end], *flags, *arguments[end:]]


def run_launcher(command: str) -> None:
    """Lets a launcher, a shell script, print the commands that it would run."""
    words = shlex.split(command)
    script = next(index for index, word in enumerate(words) if word.startswith("scripts/"))
    arguments = with_flags(words[script:], small_flags(command) or ())
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout, f"{command}\n{result.stderr[-3000:]}"


def run_module(arguments: list[str], data: Path, folder: Path) -> None:
    """Runs a module of another project, unless it needs what is not installed."""
    if arguments[1].endswith("cache_tasks_main") and importlib.util.find_spec("apache_beam") is None:
        return
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(data), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{arguments}\n{result.stderr[-3000:]}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_every_command_in_a_gin_header_names_files_that_exist() -> None:
    for path in (ROOT / "gin").rglob("*.gin"):
        for name in re.findall(r"--gin_file=(\S+?\.gin)", path.read_text()):
            assert (ROOT / "gin" / name).is_file(), f"{path}: {name}"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "agentbank_jax"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", ["make train", "make lint", "make test"])
def test_make_works_from_an_empty_clone_and_again(clone: Path, command: str) -> None:
    variables = {name: value for name, value in environment(clone).items() if not name.startswith("AGENTBANK_")}
    variables.pop("PYTHONPATH")
    for _ in range(2):
        result = subprocess.run(shlex.split(command), cwd=clone, env=variables, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    if command == "make train":
        assert (clone / "runs/samoyed_tiny/evaluation/report.html").is_file()
        shutil.rmtree(clone / "runs")
