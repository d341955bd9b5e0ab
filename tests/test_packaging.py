"""The wheel holds what a user needs and harms no other package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed, without its requirements."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools writes its build folder beside setup.py.
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = folder / "wheels"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(source)], check=True
    )
    (wheel,) = wheels.glob("*.whl")
    target = folder / "target"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


def run_elsewhere(installed: Path, code: str, folder: Path) -> str:
    """Runs code in another folder, with the wheel before everything else (an editable install too)."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_every_gin_file_is_installed_inside_the_package(installed: Path) -> None:
    shipped = {str(path.relative_to(ROOT / "gin")) for path in (ROOT / "gin").rglob("*.gin")}
    found = {str(path.relative_to(installed / "agentbank_jax/gin_files")) for path in installed.rglob("*.gin")}
    assert found == shipped and shipped


def test_the_parts_of_the_reports_page_are_installed(installed: Path) -> None:
    folder = installed / "agentbank_jax/evaluation"
    assert {path.name for path in folder.iterdir() if path.suffix in (".css", ".js")} == {"episodes.css", "episodes.js"}


def test_nothing_is_installed_beside_the_package(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"agentbank_jax"}


def test_tasks_import_from_another_folder_and_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    # An editable install of a checkout may be active: its finder must not serve a part of the package.
    code = (
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')]\n"
        "import agentbank_jax, agentbank_jax.tasks\n"
        "print(agentbank_jax.__file__, agentbank_jax.tasks.__file__)"
    )
    package, tasks = run_elsewhere(installed, code, tmp_path).split()
    assert package == str(installed / "agentbank_jax/__init__.py")
    assert tasks == str(installed / "agentbank_jax/tasks/__init__.py")


def test_the_gin_package_still_imports(installed: Path, tmp_path: Path) -> None:
    output = run_elsewhere(installed, "import gin; print(gin.__file__, gin.parse_config.__name__)", tmp_path)
    assert str(installed) not in output and output.endswith("parse_config")


def test_the_shipped_folder_is_found_from_another_folder(installed: Path, tmp_path: Path) -> None:
    code = (
        "from agentbank_jax.configuration.gin_files import find_gin_file, shipped_folder\n"
        "print(shipped_folder()); print(find_gin_file('samoyed_tiny.gin'))"
    )
    folder, found = run_elsewhere(installed, code, tmp_path).splitlines()
    assert folder == str(installed / "agentbank_jax/gin_files") and found.startswith(folder)


def test_tasks_and_the_gin_package_import_in_the_checkout() -> None:
    code = "import agentbank_jax.tasks, gin; print(agentbank_jax.tasks.__file__, gin.__file__)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    tasks, gin_file = result.stdout.split()
    assert tasks == str(ROOT / "tasks/__init__.py")
    assert gin_file.endswith("site-packages/gin/__init__.py")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import agentbank_jax, sys; print([m for m in ('jax', 'tensorflow', 'numpy', 'gin') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "[]"


def test_the_wheel_carries_the_licence(installed: Path) -> None:
    (licence,) = installed.glob("*.dist-info/licenses/LICENSE")
    assert "Apache License" in licence.read_text()
    (wheel,) = (installed.parent / "wheels").glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(("tests/", "scripts/"))]
