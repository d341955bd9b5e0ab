"""SeqIO's own commands work on the project's tasks, in a process that has imported nothing else of it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

seqio = pytest.importorskip("seqio")

from agentbank_jax.data.seqio_feature_converter import TrajectoryFeatureConverter, task_feature_lengths  # noqa: E402
from agentbank_jax.trajectories.formats.agentbank import write_parquet  # noqa: E402
from agentbank_jax.trajectories.templates.registry import Llama2Template  # noqa: E402
from tests.small_bank import ROOT  # noqa: E402
from tests.trajectories.fake import make_trajectory  # noqa: E402

TASK = "starter_web"
MODULE = "--module_import=agentbank_jax.tasks.seqio_registry"


@pytest.fixture
def variables(template: Llama2Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A declared task with 20 rows of its own; the environment that says where it is, here and there."""
    trajectories = [make_trajectory(number, exchanges=1 + number % 4, system=False, task=TASK) for number in range(20)]
    write_parquet(tmp_path / "data" / TASK / "train-00000-of-00001.parquet", trajectories)
    (tmp_path / "fake.model").write_bytes(template.tokenizer.model)
    found = {"AGENTBANK_DATA_DIR": str(tmp_path / "data"), "AGENTBANK_TOKENIZER": str(tmp_path / "fake.model")}
    from agentbank_jax.tasks import seqio_registry

    before = seqio.TaskRegistry.get(TASK)
    seqio.TaskRegistry.remove(TASK)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    seqio_registry.register_task(seqio_registry.get_task(TASK))
    yield {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    seqio.TaskRegistry.remove(TASK)
    seqio.TaskRegistry.add_provider(TASK, before)


def run(command: list[str], variables: dict[str, str], folder: Path, answers: str = "") -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env=variables,
        cwd=folder,
        input=answers,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_seqio_inspects_a_task(variables: dict[str, str], tmp_path: Path) -> None:
    lengths = json.dumps(task_feature_lengths(400))
    command = ["seqio.scripts.inspect_tasks_main", f"--tasks={TASK}", MODULE, f"--sequence_length={lengths}"]
    # Into the split, one more example, then on.
    out = run([*command, "--decode_features", "--print_length_statistics"], variables, tmp_path, "\n\nc\n")
    assert re.search(r"'id': .*numpy=b't0'", out) and re.search(r"'id': .*numpy=b't1'", out) and "b't2'" not in out
    # All of the second one, whose two replies each end with the stop token.
    second = out[out.index("b't1'") :].split("'trained'")[0]
    assert "<s> [INST] <<SYS>>" in second and second.count("Thought: ") == second.count("</s>") == 2
    dataset = seqio.get_mixture_or_task(TASK).get_dataset(task_feature_lengths(400), split="train", shuffle=False)
    measured = np.percentile([len(row["targets"]) for row in dataset.as_numpy_iterator()], [50, 90, 95, 99])
    for feature in ("targets", "trained"):
        assert f"train, {feature}, " + ", ".join(f"{value:.1f}" for value in measured) in out


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="SeqIO caches with Apache Beam")
def test_what_seqio_caches_is_what_the_task_gives(variables: dict[str, str], tmp_path: Path) -> None:
    cache = tmp_path / "cached"
    command = ["seqio.scripts.cache_tasks_main", f"--tasks={TASK}", MODULE, f"--output_cache_dir={cache}"]
    run([*command, "--min_shards=2"], variables, tmp_path)
    assert (cache / TASK / "COMPLETED").is_file()
    assert json.loads((cache / TASK / "stats.train.json").read_text())["examples"] == 20

    def rows(use_cached: bool) -> list[list[list[float]]]:
        lengths = task_feature_lengths(400)
        task = seqio.get_mixture_or_task(TASK)
        dataset = task.get_dataset(lengths, split="train", shuffle=False, num_epochs=1, use_cached=use_cached)
        converted = TrajectoryFeatureConverter(pack=False)(dataset, lengths)
        columns = ("tokens", "loss_weights", "positions")
        # Beam shuffles.
        return sorted([row[name].tolist() for name in columns] for row in converted.as_numpy_iterator())

    before = seqio.get_global_cache_dirs()
    try:
        seqio.set_global_cache_dirs([str(cache)])
        assert rows(use_cached=True) == rows(use_cached=False)
    finally:
        seqio.set_global_cache_dirs(before)
