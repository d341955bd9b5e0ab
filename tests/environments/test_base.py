import pytest

from agentbank_jax.environments.base import Instance, answers_of, begun, judged, payload_of
from agentbank_jax.errors import AgentBankError


def test_the_payload_of_an_instance_is_what_the_environment_plays() -> None:
    instance = Instance(id="i", fingerprint="0", payload=3)
    assert payload_of({"instance": instance}, int, "counting") == 3


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (None, "NoneType"),
        ({}, "NoneType"),
        ({"instance": 3}, "int"),
        ({"instance": Instance(id="i", fingerprint="0", payload="three")}, "str"),
    ],
)
def test_a_reset_without_a_payload_of_its_kind_says_what_it_got(options: dict | None, found: str) -> None:
    with pytest.raises(AgentBankError, match=f"^counting: reset got {found}; expected .* a payload of int") as error:
        payload_of(options, int, "counting")
    assert "\n" not in str(error.value)


def test_answers_are_exact_where_nothing_else_is_asked_for() -> None:
    assert answers_of(None) == answers_of({}) == "exact" and answers_of({"answers": "mint"}) == "mint"
    with pytest.raises(AgentBankError, match="Did you mean 'mint'"):
        answers_of({"answers": "mimt"})


def test_a_step_before_the_first_reset_is_refused() -> None:
    assert begun("", "counting") == ""
    with pytest.raises(AgentBankError, match=r"^counting: step before reset"):
        begun(None, "counting")


def test_a_final_answer_ends_the_episode_with_reward_one_or_none() -> None:
    info = {"invalid_action": False, "success": True, "f1": 0.5}
    assert judged(True, f1=0.5) == ("Correct.", 1.0, True, False, info)
    assert judged(False)[:2] == ("Wrong.", 0.0)
