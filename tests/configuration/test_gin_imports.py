"""A gin file runs no code but this project's, unless the user allows it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gin
import pytest

from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.gin_files import GinLoader, operative_config
from agentbank_jax.configuration.run_config import RunConfig
from agentbank_jax.errors import AgentBankError

ROOT = Path(__file__).resolve().parents[2]

# What a module beside the gin file does when it is run.
RAN = "import builtins\nbuiltins.agentbank_ran = True\n"


@pytest.fixture(autouse=True)
def hostile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, first on Python's path, with modules that say that they ran, under names of many kinds."""
    for name in ("evil", "tasks", "os_evil", "agentbank_jax_evil", "__gin__"):
        (tmp_path / f"{name}.py").write_text(RAN)
    (tmp_path / "tasks").mkdir()
    for name in ("__init__", "mixtures", "evil"):
        (tmp_path / "tasks" / f"{name}.py").write_text(RAN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    gin.clear_config()
    yield tmp_path
    gin.clear_config()
    for name in set(sys.modules) - known:
        if name.split(".")[0] in ("evil", "tasks", "os_evil", "agentbank_jax_evil", "__gin__"):
            del sys.modules[name]


def load(text: str, **options: bool) -> GinLoader:
    Path("test.gin").write_text(text)
    loader = GinLoader(**options)
    loader.read("test.gin")
    loader.finish()
    return loader


def ran() -> bool:
    import builtins

    return builtins.__dict__.pop("agentbank_ran", False)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import os\n", "'import os' would run the code of that module"),
        ("import os.path as p\n", "'import os.path as p' would run the code of that module"),
        ("from os import path\n", "'from os import path' would run the code of that module"),
        ("from evil import x\n", "'from evil import x' would run the code of that module"),
        ("import evil\n", "'import evil' would run"),
        ("import evil as agentbank_jax\n", "'import evil as agentbank_jax' would run"),
        ("import agentbank_jax_evil\n", "'import agentbank_jax_evil' would run"),
        ("import tasks_evil\n", "'import tasks_evil' would run"),
        ("RunConfig.sweeps = []\nimport evil\n", "'import evil' would run"),
        ("include 'other.gin'\n", "'import evil' would run"),
    ],
)
def test_an_import_from_elsewhere_is_refused_before_it_runs(text: str, what: str) -> None:
    Path("other.gin").write_text("import evil\n")
    with pytest.raises(AgentBankError, match=r"(test|other)\.gin:[12]: .*unless --allow_imports is given") as raised:
        load(text)
    assert what in str(raised.value) and "\n" not in str(raised.value)
    assert not ran()


def test_dynamic_registration_is_refused_and_is_no_module_beside_the_file() -> None:
    text = "from __gin__ import dynamic_registration\nimport os\nos.system.command = 'true'\n"
    with pytest.raises(AgentBankError, match=r"test\.gin:1: .* would let the file call any function") as raised:
        load(text)
    assert "\n" not in str(raised.value) and not ran()


# Import statement, name of a function in it, and its parameter.
OFFERED = (
    ("import posixpath", "posixpath.normpath", "path"),
    ("import os.path as p", "p.basename", "p"),
    ("from os import path", "path.expanduser", "path"),
    ("import os.path", "os.path.normcase", "s"),
)

RUN_AGAIN = """
import gin, sys
from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.gin_files import GinLoader
from agentbank_jax.configuration.run_config import RunConfig
for name in sys.argv[1:]:
    gin.clear_config()
    loader = GinLoader(allow_imports=True)
    loader.read(name)
    loader.finish()
    print(bindings.build(RunConfig).weights)
"""


def test_allowed_dynamic_registration_offers_what_a_file_imports_and_runs_again() -> None:
    """In another process, whose gin has not met the names."""
    saved = []
    for number, (imported, name, parameter) in enumerate(OFFERED):
        gin.clear_config()
        text = f"from __gin__ import dynamic_registration\n{imported}\n"
        loader = load(f"{text}RunConfig.weights = @{name}()\n{name}.{parameter} = 'weights'\n", allow_imports=True)
        assert bindings.build(RunConfig).weights == "weights"
        saved.append(f"saved{number}.gin")
        Path(saved[-1]).write_text(operative_config(loader))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-P", "-c", RUN_AGAIN, *saved], env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.stdout.split() == ["weights"] * len(OFFERED), run.stderr


def test_a_name_that_is_the_end_of_several_is_one_line() -> None:
    text = "from __gin__ import dynamic_registration\nimport posixpath\nimport ntpath\n"
    both = "RunConfig.weights = @posixpath.isabs()\nRunConfig.weights = @ntpath.isabs()\n"
    with pytest.raises(AgentBankError, match=r"test\.gin:6: Ambiguous selector 'isabs'") as raised:
        load(f"{text}{both}RunConfig.weights = @isabs()\n", allow_imports=True)
    assert "\n" not in str(raised.value)


def test_allowed_dynamic_registration_is_of_its_file_alone() -> None:
    Path("other.gin").write_text("from __gin__ import dynamic_registration\nimport shutil\n")
    with pytest.raises(AgentBankError, match=r"test\.gin:2: unknown gin name 'shutil\.which'"):
        load("include 'other.gin'\nRunConfig.weights = @shutil.which()\n", allow_imports=True)


@pytest.mark.parametrize(
    "value",
    ["@os.system()", "@evil.x()", "@os.system", "%os.system", "@x/os.system()", "@builtins.exec()", "[@os.system()]",
     "{'a': @os.system()}", "__import__('os')", "os.system('true')", "evil"],
)  # fmt: skip
def test_a_value_reaches_no_function_that_this_project_does_not_offer(value: str) -> None:
    with pytest.raises(AgentBankError, match=r"unknown gin name|used but not defined|not valid gin") as raised:
        load(f"RunConfig.weights = {value}\n")
    assert "\n" not in str(raised.value) and not ran()


@pytest.mark.parametrize("text", ["os.system.command = 'true'\n", "evil.x:\n  y = 1\n", "x/os.system.command = 1\n"])
def test_a_binding_registers_nothing(text: str) -> None:
    with pytest.raises(AgentBankError, match=r"test\.gin:[12]: unknown gin name"):
        load(text)
    assert not ran()


@pytest.mark.parametrize("name", ["tasks", "tasks.mixtures", "agentbank_jax.tasks.mixtures", "agentbank_jax.errors"])
def test_tasks_are_this_projects_own_and_not_a_folder_beside_the_file(name: str) -> None:
    loader = load(f"import {name}\n")
    assert not ran() and "tasks" not in sys.modules
    assert operative_config(loader).startswith(f"import {name}\n")


def test_a_module_that_only_the_folder_beside_the_file_has_is_not_found_among_the_tasks() -> None:
    with pytest.raises(AgentBankError, match=r"test\.gin:1: cannot import 'agentbank_jax\.tasks\.evil'"):
        load("import tasks.evil\n")
    assert not ran()


def test_an_allowed_import_runs_and_stays_in_the_operative_config() -> None:
    text = operative_config(load("import evil\n", allow_imports=True))
    assert ran() and text.startswith("import evil\n")
    sys.modules.pop("evil")
    gin.clear_config()
    with pytest.raises(AgentBankError, match="unless --allow_imports is given"):
        load(text)
    assert not ran()


def test_an_allowed_import_may_register_what_the_file_then_binds() -> None:
    Path("evil.py").write_text("import gin\n\n\n@gin.configurable\ndef made_sweeps(names):\n    return tuple(names)\n")
    load("import evil\nRunConfig.sweeps = @made_sweeps()\nmade_sweeps.names = ['a']\n", allow_imports=True)
    assert bindings.build(RunConfig).sweeps == ("a",)


def test_a_file_does_not_name_compiled_programs_and_a_command_line_may() -> None:
    text = "TrainConfig.compilation_cache = '.'\n"
    with pytest.raises(AgentBankError, match=r"test\.gin:1: 'TrainConfig\.compilation_cache' names compiled") as raised:
        load(text)
    assert "\n" not in str(raised.value)
    with pytest.raises(AgentBankError, match=r"names compiled programs"):
        load("FOLDER = '.'\nTrainConfig.compilation_cache = %FOLDER\n")
    load(text, allow_imports=True)
    for harmless in ("None", "''"):
        gin.clear_config()
        loader = load(f"TrainConfig.compilation_cache = {harmless}\n")
    gin.clear_config()
    loader = GinLoader()
    loader.override("TrainConfig.compilation_cache", "compiled")
    loader.finish()


def test_a_deeply_nested_value_is_one_line() -> None:
    with pytest.raises(AgentBankError, match=r"test\.gin") as raised:
        load(f"RunConfig.sweeps = {'[' * 5000}{']' * 5000}\n")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "flag"), [("import evil\n", ()), ("import evil\n", ("--allow_imports",)), ("import tasks\n", ())]
)
def test_train_py_in_a_hostile_folder_runs_nothing_there(
    hostile_folder: Path, text: str, flag: tuple[str, ...]
) -> None:
    """Not even with --allow_imports: the folder from which it is started is not on its path."""
    for name in ("evil", "tasks", "tasks/evil", "tasks/__init__", "sitecustomize", "numpy", "json", "agentbank_jax"):
        (hostile_folder / f"{name}.py").write_text(f"open({str(hostile_folder / 'ran')!r}, 'w')\n")
    (hostile_folder / "mine.gin").write_text(f"include 'samoyed_tiny.gin'\n{text}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--gin_file=mine.gin", "--dry_run", *flag],
        cwd=hostile_folder,
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not (hostile_folder / "ran").exists()
    assert run.returncode == (0 if text == "import tasks\n" else 2), run.stderr
    assert "Traceback" not in run.stderr and run.stderr.count("\n") <= 1
