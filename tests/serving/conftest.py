"""A tiny made model, and a server of it that replies what `number_of` says."""

from collections.abc import Iterator

import pytest

from agentbank_jax.serving.served_model import ServedModel, made_model
from tests.serving.running import Running, serving


@pytest.fixture(scope="session")
def model() -> ServedModel:
    return made_model()


@pytest.fixture(scope="module")
def server(model: ServedModel) -> Iterator[Running]:
    with serving(model) as running:
        yield running
