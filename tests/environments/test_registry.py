import dataclasses
import subprocess
import sys

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(AgentBankError, match="Did you mean 'starter_math'"):
        registry.get("starter_maths")


def test_every_skill_has_a_trained_family_and_held_out_ones_exist() -> None:
    trained = {registry.get(name).skill for name in registry.names(held_out=False)}
    assert trained == set(registry.SKILLS)
    assert len(registry.names(held_out=True)) >= 3


def test_instructions_are_short() -> None:
    for name in registry.names():
        assert len(registry.get(name).instruction.split()) <= 40, name


def test_registering_another_specification_under_a_name_is_refused() -> None:
    spec = registry.get("starter_math")
    assert registry.register(spec) is spec
    with pytest.raises(AgentBankError, match="registered twice"):
        registry.register(dataclasses.replace(spec, max_steps=9))


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"skill": "maths"}, "skill"), ({"action_space": "free"}, "action space"), ({"max_steps": 0}, "max_steps")],
)
def test_a_malformed_specification_names_the_field(change: dict, expected: str) -> None:
    with pytest.raises(AgentBankError, match=expected):
        dataclasses.replace(registry.get("starter_math"), **change)


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(AgentBankError, match="expected one of train, test"):
        registry.get("starter_math").instance("dev", 0)


def test_listing_the_families_loads_neither_the_index_nor_jax() -> None:
    code = (
        "import sys; from agentbank_jax.environments import registry; registry.names();"
        "print([m for m in ('tantivy', 'jax', 'scipy', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
