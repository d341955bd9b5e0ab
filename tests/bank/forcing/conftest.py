"""The scripted server that stands for a teacher, and what it is asked."""

from collections.abc import Iterator

import pytest

from tests.bank.forcing.scripted import Part, Scripted, parts, serving


@pytest.fixture(scope="module")
def all_parts() -> list[Part]:
    return parts()


@pytest.fixture
def server(all_parts: list[Part]) -> Iterator[Scripted]:
    yield from serving(all_parts)
