from collections.abc import Iterator
from pathlib import Path

import gin
import pytest

from agentbank_jax import whole_files
from agentbank_jax.configuration import bindings, gin_files
from agentbank_jax.configuration.configuration import read_mesh
from agentbank_jax.configuration.gin_files import GinLoader, find_gin_file, operative_config, shipped_folder
from agentbank_jax.configuration.run_config import DataConfig, RunConfig
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.sharding_rules import ShardingRules

MODEL = """
LlamaConfig.vocab_size = 100
LlamaConfig.hidden_size = 16
LlamaConfig.intermediate_size = 32
LlamaConfig.num_layers = 1
LlamaConfig.num_heads = 2
"""


@pytest.fixture(autouse=True)
def empty_gin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    gin.clear_config()
    yield
    gin.clear_config()


def load(text: str, *overrides: tuple[str, str]) -> GinLoader:
    Path("test.gin").write_text(text)
    loader = GinLoader()
    loader.read("test.gin")
    for name, value in overrides:
        loader.override(name, value)
    loader.finish()
    return loader


def test_names_resolve_in_the_current_folder_then_search_paths_then_the_shipped_files(tmp_path: Path) -> None:
    shipped = find_gin_file("samoyed_tiny.gin")
    assert shipped == (shipped_folder() / "samoyed_tiny.gin").resolve() and shipped.is_absolute()
    other = tmp_path / "other"
    other.mkdir()
    (other / "samoyed_tiny.gin").touch()
    assert find_gin_file("samoyed_tiny.gin", ["other"]) == other / "samoyed_tiny.gin"
    Path("samoyed_tiny.gin").touch()
    assert find_gin_file("samoyed_tiny.gin", ["other"]) == tmp_path / "samoyed_tiny.gin"


def test_includes_resolve_as_files_do() -> None:
    Path("mine.gin").write_text(MODEL)
    load("include 'mine.gin'\ninclude 'models/llama2_7b.gin'\n")
    assert bindings.build(LlamaConfig).hidden_size == 4096


@pytest.mark.parametrize("name", ["samoyed_tny.gin", "samoyed_tiny", "models/tinny.gin"])
def test_an_unknown_file_is_an_error_with_a_suggestion(name: str) -> None:
    with pytest.raises(AgentBankError, match=r"not found; looked in .* Did you mean '(samoyed|models/)"):
        find_gin_file(name)


def test_a_circle_of_includes_is_an_error() -> None:
    Path("a.gin").write_text("include 'b.gin'\n")
    Path("b.gin").write_text("include 'a.gin'\n")
    with pytest.raises(AgentBankError, match="in a circle"):
        GinLoader().read("a.gin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LlamaConfg.vocab_size = 3\n", r"test.gin:1: unknown gin name 'LlamaConfg'. Did you mean 'LlamaConfig'\?"),
        ("\nLlamaConfig.vocab_sise = 3\n", r"test.gin:2: .*no parameter 'vocab_sise'. Did you mean 'vocab_size'\?"),
        ("ShardingRules.hedas = 'tensor'\n", r"test.gin:1: .*no parameter 'hedas'. Did you mean 'heads'\?"),
        ("RunConfig.weights = @DataConfg()\n", r"unknown gin name 'DataConfg'. Did you mean 'DataConfig'\?"),
        ("N = 3\nLlamaConfig.vocab_size = %M\n", r"macro '%M' is used but not defined"),
        (
            "STEPZ = 3\nSTEPS = 4\nLlamaConfig.vocab_size = %STEPS\n",
            r"test.gin:1: macro 'STEPZ' is used by nothing. Did",
        ),
        ("LlamaConfig.vocab_size =\n", r"test.gin:1: not valid gin"),
        ("LlamaConfig.vocab_size = [1, \n", r"test.gin(:\d)?: not valid gin"),
        ("import agentbank_jax.no_such\n", r"test.gin:1: cannot import 'agentbank_jax.no_such'"),
        ("include 'models/tinny.gin'\n", r"gin file 'models/tinny.gin' not found"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_says_where(text: str, message: str) -> None:
    with pytest.raises(AgentBankError, match=message) as raised:
        load(text)
    assert "\n" not in str(raised.value)


def test_overrides_win_over_files_and_take_unquoted_strings() -> None:
    load(
        MODEL + "DataConfig.mixture = 'starter'\nDataConfig.tokenizer = 'a.model'\n",
        ("LlamaConfig.hidden_size", "32"),
        ("DataConfig.mixture", "gsm8k"),
        ("DataConfig.tokenizer", "some/folder-1/b.model"),
    )
    assert bindings.build(LlamaConfig).hidden_size == 32
    data = bindings.build(DataConfig)
    assert (data.mixture, data.tokenizer) == ("gsm8k", "some/folder-1/b.model")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LlamaConfig.hiden_size", "3", "Did you mean 'hidden_size'"),
        ("HIDDEN", "3", "macro 'HIDDEN' is used by nothing"),
        ("RunConfig.sweeps", "['a'", "not valid gin"),
        ("LlamaConfig.", "3", "not a gin name"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_the_flag(name: str, value: str, message: str) -> None:
    with pytest.raises(AgentBankError, match=message) as raised:
        load(MODEL, (name, value))
    assert f"--gin.{name}" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LlamaConfig.hidden_size", "many", r"LlamaConfig.hidden_size = 'many': expected int, got str"),
        ("LlamaConfig.hidden_size", "16.0", r"LlamaConfig.hidden_size = 16.0: expected int, got float"),
        ("LlamaConfig.scan_layers", "1", r"LlamaConfig.scan_layers = 1: expected bool, got int"),
        ("LlamaConfig.hidden_size", "0", r"LlamaConfig.hidden_size=0: expected at least 1"),
        ("LlamaConfig.dtype", "bfloat61", r"LlamaConfig.dtype='bfloat61'.*Did you mean 'bfloat16'"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_gin_name(name: str, value: str, message: str) -> None:
    load(MODEL, (name, value))
    with pytest.raises(AgentBankError, match=message) as raised:
        bindings.build(LlamaConfig)
    assert "\n" not in str(raised.value)


def test_a_missing_value_says_how_to_set_it() -> None:
    load("LlamaConfig.hidden_size = 3\n")
    with pytest.raises(
        AgentBankError, match=r"LlamaConfig.vocab_size is not set; .*--gin.LlamaConfig.vocab_size=VALUE"
    ):
        bindings.build(LlamaConfig)


def test_an_int_is_a_float_and_a_list_a_tuple() -> None:
    load(MODEL + "LlamaConfig.rope_theta = 500000\nRunConfig.sweeps = ['a', 'b']\n")
    assert isinstance(bindings.build(LlamaConfig).rope_theta, float)
    assert bindings.build(RunConfig).sweeps == ("a", "b")


def test_the_operative_config_runs_again_as_it_is() -> None:
    loader = load("SIZE = 32\n" + MODEL + "LlamaConfig.hidden_size = %SIZE\nRunConfig.sweeps = ['starter_held_in']\n")
    first = bindings.build(LlamaConfig), bindings.build(RunConfig)
    text = operative_config(loader)
    gin.clear_config()
    load(text)
    assert (bindings.build(LlamaConfig), bindings.build(RunConfig)) == first
    assert operative_config(loader) == text


def test_the_operative_config_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = load(MODEL)
    bindings.build(LlamaConfig)
    path = tmp_path / "operative_config.gin"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(whole_files.os, "replace", fail)
    with pytest.raises(OSError):
        gin_files.write_operative_config(path, loader)
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", sorted(str(p.relative_to(shipped_folder())) for p in shipped_folder().rglob("*.gin")))
def test_every_shipped_file_starts_with_goal_hardware_command_and_expectation(name: str) -> None:
    lines = (shipped_folder() / name).read_text().split("\n")
    header = "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])
    for word in ("# Goal: ", "# Hardware: ", "# Command: ", "# Expect: "):
        assert word in header


def test_a_mesh_has_the_rules_that_gin_holds() -> None:
    load(MODEL + "ShardingRules.batch = ['data', 'fsdp', 'context']\nShardingRules.length = None\n")
    assert read_mesh().rules == ShardingRules(batch=("data", "fsdp", "context"), length=None)


def test_a_mesh_without_rules_in_gin_has_the_default_ones_and_runs_again() -> None:
    loader = load(MODEL)
    assert read_mesh().rules == ShardingRules()
    text = operative_config(loader)
    assert "ShardingRules.kv_heads = 'tensor'" in text
    gin.clear_config()
    load(text)
    assert read_mesh().rules == ShardingRules()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ShardingRules.embed", "fdsp", r"ShardingRules.embed='fdsp': a mesh has no axis 'fdsp'. Did you mean 'fsdp'"),
        ("ShardingRules.embed", "1", r"ShardingRules.embed = 1: expected .*str.*got int"),
        ("MeshConfig.rules", "fsdp", r"MeshConfig.rules has a gin name of its own: .* ShardingRules.embed='fsdp'"),
        ("MeshConfig.dcn_data", "0", r"MeshConfig.dcn_data=0: expected at least 1"),
    ],
)
def test_a_wrong_rule_is_one_line_with_the_gin_name(name: str, value: str, message: str) -> None:
    load(MODEL, (name, value))
    with pytest.raises(AgentBankError, match=message) as raised:
        read_mesh()
    assert "\n" not in str(raised.value)
