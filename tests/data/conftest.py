"""A small declared mixture with its files, vocabulary and cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.data import declarations, token_shards
from agentbank_jax.data.declarations import MixtureDeclaration, TaskDeclaration, declare_mixture, declare_task
from agentbank_jax.data.token_cache import TokenCache, build_cache
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
from tests.data.run_build_cache import MADE, SHARD_ROWS
from tests.data.sharded import make_bank
from tests.trajectories.fake import make_texts, make_trajectory

INSTRUCTION = "Use search[query] or answer."
TASKS = ("fake_qa", "fake_house")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of 60 and 25 trajectories of 1 to 5 exchanges; the first in two shards."""
    folder = tmp_path_factory.mktemp("data")
    qa = [make_trajectory(n, exchanges=1 + n % 5, system=False, task=TASKS[0]) for n in range(60)]
    house = [make_trajectory(n, exchanges=2 + n % 3, system=False, task=TASKS[1]) for n in range(25)]
    write_parquet(folder / "fake_qa" / "train-00000-of-00002.parquet", qa[:30])
    write_parquet(folder / "fake_qa" / "train-00001-of-00002.parquet", qa[30:])
    write_parquet(folder / "fake_house" / "train-00000-of-00001.parquet", house)
    return folder


@pytest.fixture(scope="package")
def mixture() -> Iterator[str]:
    """Two declared tasks and mixtures of them, known to the tests of this folder alone."""
    declarations.task_names()
    tasks, mixtures = dict(declarations._TASKS), dict(declarations._MIXTURES)
    for name, skill in zip(TASKS, ("reasoning", "embodied"), strict=True):
        declare_task(
            TaskDeclaration(
                name=name, skill=skill, action_space="discrete", instruction=INSTRUCTION, remedy="make it with: fake"
            )
        )
    declare_mixture(MixtureDeclaration(name="fake", rates=dict.fromkeys(TASKS, 1.0)))
    declare_mixture(MixtureDeclaration(name="fake_uneven", rates={TASKS[0]: 0.3, TASKS[1]: 2.0}))
    yield "fake"
    declarations._TASKS.clear()
    declarations._TASKS.update(tasks)
    declarations._MIXTURES.clear()
    declarations._MIXTURES.update(mixtures)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Llama2Template:
    path = tmp_path_factory.mktemp("vocabulary") / "fake.model"
    return Llama2Template(train_vocabulary(make_texts(), 430, path))


@pytest.fixture(scope="package")
def cache(
    mixture: str, data_dir: Path, template: Llama2Template, tmp_path_factory: pytest.TempPathFactory
) -> TokenCache:
    return build_cache(mixture, template, max_length=400, data_dir=data_dir, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def sharded_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bank of a declared task that makes ten shards; see `tests.data.sharded`."""
    declarations.task_names()
    monkeypatch.setitem(declarations._TASKS, MADE.name, MADE)
    monkeypatch.setattr(token_shards, "SHARD_ROWS", SHARD_ROWS)
    make_bank(tmp_path)
    return tmp_path
