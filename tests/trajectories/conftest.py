"""A small vocabulary for the tests of this folder."""

import pytest

from agentbank_jax.trajectories.templates import Llama2Template
from agentbank_jax.trajectories.tokenizer import Tokenizer
from agentbank_jax.trajectories.vocabulary import train_vocabulary
from tests.trajectories.fake import make_texts


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_vocabulary(make_texts(), 430, tmp_path_factory.mktemp("vocabulary") / "fake.model")


@pytest.fixture(scope="session")
def template(tokenizer: Tokenizer) -> Llama2Template:
    return Llama2Template(tokenizer)
