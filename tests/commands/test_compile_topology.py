"""`scripts/compile_topology.py` and the compiled part of `--dry_run`."""

import importlib.util
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import gin
import pytest

from agentbank_jax.commands import plans, topology_search
from agentbank_jax.commands.topology_search import search_recipe
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import TrainingConfiguration, read_gin, read_training
from agentbank_jax.configuration.gin_files import shipped_folder
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.remat import POLICIES
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.parallel.sharding import check_divisible
from agentbank_jax.parallel.topology import parse_topology
from agentbank_jax.training.compiled import CompiledStep
from tests.small_bank import SMALL_MODEL, ProgramRunner
from tests.training.test_compiled import STEP

# Splash attention is for heads of 128, and Muon takes the TPU's compiler long.
SMALL = (*SMALL_MODEL, "--gin.LlamaConfig.hidden_size=256", "--gin.OptimizerConfig.name=adamw",
         "--gin.OptimizerConfig.adam_learning_rate=0.0")  # fmt: skip
RECIPE = ("scripts/compile_topology.py", "--gin_file=samoyed_tiny.gin", *SMALL, "--gin.MeshConfig.data=1",
          "--gin.MeshConfig.fsdp=-1", "--gin.TrainConfig.batch_size=8")  # fmt: skip

PODS = sorted(path.relative_to(shipped_folder()).as_posix() for path in (shipped_folder() / "pods").glob("*.gin"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology=v5e-61"], "--topology=v5e-61 is no known TPU topology. Did you mean 'v5e-"),
        (["--topology=v5e-16", "--gin.MeshConfig.fsdp=8"], "does not match the 16 device"),
        (["--topology=v5e-16", "--serch"], "Did you mean '--search'"),
        (["--topolgy=v5e-16"], "Did you mean '--topology'"),
        (["--topology=v5e-4", "--gin.DataConfig.max_length=250"], "rows of 250 tokens cannot be compiled for TPU v5"),
        (["--topology=v5e-4", "--gin.LlamaConfig.attention=cudnn"], "LlamaConfig.attention='cudnn' and rows of 640"),
        ([], "--topology"),
    ],
)
def test_a_mistake_is_one_line(run_here: ProgramRunner, tmp_path: Path, arguments: list[str], message: str) -> None:
    pytest.importorskip("libtpu")
    result = run_here([*RECIPE, *arguments], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().split("\n")) == 1 and not list(tmp_path.iterdir())


def test_without_libtpu_the_remedy_is_named(
    run_here: ProgramRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "libtpu" else found(name, *rest)
    )
    result = run_here([*RECIPE, "--topology=v5e-4"], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and "pip install 'agentbank_jax[topology]'" in result.stderr


def test_a_recipe_is_compiled_for_a_pod(run_here: ProgramRunner, tmp_path: Path) -> None:
    pytest.importorskip("libtpu")
    result = run_here([*RECIPE, "--topology=v5e:2x2", "--json=figures.json"], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for text in ("v5e-4 (v5e:2x2, 4 chips)", "fsdp=4", "attention         splash", "fits, with"):
        assert text in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["chips"] == 4 and figures["best"]["fits"] and figures["best"]["peak_bytes"] > 0


@pytest.fixture
def recipe() -> TrainingConfiguration:
    gin.clear_config()
    read_gin(CommandLine(gin_files=("samoyed_tiny.gin",), overrides=(("LlamaConfig.vocab_size", "512"),)))
    return replace(read_training(), mesh=MeshConfig(data=1, fsdp=4))


@dataclass
class Told:
    begun: list[tuple[str, int]] = field(default_factory=list)
    ended: list[CompiledStep] = field(default_factory=list)

    def begins(self, policy: str, batch_size: int) -> None:
        self.begun.append((policy, batch_size))

    def ends(self, step: CompiledStep) -> None:
        self.ended.append(step)


@pytest.mark.parametrize(
    ("most_rows", "found", "most_steps"),
    [
        # Rows of each chip that fit with each policy, in the order of POLICIES.
        ((3, 5, 5, 9, 9), ("full", 9), 14),
        ((7, 7, 7, 7, 7), ("none", 7), 8),
        ((0, 0, 1, 1, 1), ("attention", 1), 8),
        ((0, 0, 0, 0, 0), None, 5),
        ((500, 500, 500, 500, 500), ("none", topology_search.MOST_ROWS), 2),
    ],
)
def test_the_search_finds_the_largest_batch_and_the_cheapest_policy_for_it(
    recipe: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch, most_rows: tuple[int, ...], found, most_steps: int
) -> None:
    pytest.importorskip("libtpu")
    allowed = dict(zip(POLICIES, most_rows, strict=True))

    def compiled(tried: TrainingConfiguration, topology, mesh):
        rows, policy = tried.train.batch_size // 4, tried.model.remat
        # A little more than 8 % of the limit is left at the last of them.
        peak = 9_190_000_000 * (1 + rows) // (1 + allowed[policy])
        return replace(STEP, remat=policy, batch_size=tried.train.batch_size, peak_bytes=peak)

    monkeypatch.setattr(topology_search, "compile_recipe", compiled)
    told = Told()
    steps, best = search_recipe(recipe, parse_topology("v5e-4"), told)
    assert list(steps) == told.ended and len(steps) <= most_steps
    assert told.begun == [(step.remat, step.batch_size) for step in steps]
    assert (best and (best.remat, best.batch_size // 4)) == found
    tried = [(step.remat, step.batch_size) for step in steps]
    assert len(set(tried)) == len(tried)


def test_every_pod_recipe_names_its_topology_and_divides_over_it() -> None:
    assert len(PODS) >= 4
    for name in PODS:
        text = (shipped_folder() / name).read_text()
        topology = re.search(rf"--gin_file={name} --topology=(\S+)", text)
        assert topology, name
        gin.clear_config()
        read_gin(CommandLine(gin_files=(name,)))
        training = read_training()
        check_divisible(
            training.model,
            training.mesh.sizes(parse_topology(topology[1]).chips),
            training.train.batch_size,
            training.data.max_length,
            training.train.accumulate,
            training.mesh.rules,
        )
        # What the published recipe trains in a step.
        assert training.train.batch_size * training.data.max_length == 64 * 4096


def test_dry_run_compiles_the_step_for_the_devices_here(run_here: ProgramRunner, tmp_path: Path) -> None:
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_MODEL, "--dry_run"]
    result = run_here(arguments, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"\ncompiled step +for 1 x cpu", result.stdout)
    assert re.search(r"\npeak memory +0\.\d{3} GB\n", result.stdout) and "verdict" not in result.stdout


def test_dry_run_of_other_devices_is_a_plan_and_names_the_command(run_here: ProgramRunner, tmp_path: Path) -> None:
    result = run_here(["train.py", "--gin_file=samoyed_7b.gin", "--dry_run"], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the mesh takes 16 devices, and here is 1 (cpu)" in result.stdout
    assert "scripts/compile_topology.py" in result.stdout and "peak memory" not in result.stdout


def test_dry_run_where_the_devices_lie_in_other_slices_is_a_plan(
    run_here: ProgramRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: MeshConfig) -> None:
        raise AgentBankError("is for 2 slices")

    monkeypatch.setattr(plans, "make_mesh", refuse)
    arguments = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_MODEL, "--dry_run"]
    result = run_here(arguments, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0 and "\ncompiled step     not known here: is for 2 slices\n" in result.stdout


def test_dry_run_on_a_cpu_does_not_compile_what_no_cpu_trains(run_here: ProgramRunner, tmp_path: Path) -> None:
    arguments = ["train.py", "--gin_file=samoyed_7b.gin", "--gin.MeshConfig.fsdp=-1", "--dry_run"]
    result = run_here(arguments, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0 and "too large to run on a cpu" in result.stdout, result.stderr
