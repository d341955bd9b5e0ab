"""The engine that a process keeps: one at a time, the same for all games of it."""

import dataclasses
import functools

from agentbank_jax.bank.engine import close_engine, held_engine
from tests.bank.search.graphs import Walk, spec_of


class Closing(Walk):
    open_now = 0

    def __init__(self, kind: str = ""):
        super().__init__()
        self.kind = kind
        Closing.open_now += 1

    def close(self):
        Closing.open_now -= 1
        if self.kind == "broken":
            raise RuntimeError("it cannot be closed")


def test_one_engine_is_kept_for_all_environments_that_are_of_it_and_another_takes_its_place():
    spec = spec_of(Closing)
    kept = held_engine(spec)
    assert held_engine(spec) is held_engine(dataclasses.replace(spec, name="another game")) is kept
    other = spec_of(Walk)
    assert isinstance(held_engine(other), Walk) and Closing.open_now == 0
    again = held_engine(spec)
    assert again is not kept and held_engine(dataclasses.replace(spec, protocol="walk/2")) is not again
    assert Closing.open_now == 1
    close_engine()
    close_engine()
    assert Closing.open_now == 0


def test_a_copy_of_a_specification_has_the_same_engine_and_one_that_cannot_be_closed_is_left():
    broken = [
        dataclasses.replace(spec_of(Closing), make=functools.partial(Closing, "broken"), protocol="walk/3")
        for _ in range(2)
    ]
    assert broken[0].make != broken[1].make
    assert held_engine(broken[0]) is held_engine(broken[1])
    close_engine()
    assert held_engine(spec_of(Closing)).kind == ""
    close_engine()
