from agentbank_jax.agents.episode import Episode
from agentbank_jax.agents.narrator import Narrator
from agentbank_jax.agents.policy import OraclePolicy
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.trajectories.schema import Turn
from tests.agents.counting import counting_instance, counting_spec


def episode(name: str, target: int) -> Episode:
    return Episode(
        id=name,
        spec=counting_spec(),
        instance=lambda: counting_instance(target - 2),
        max_steps=9,
    )


def test_every_turn_is_told_once_in_its_order_and_the_episode_is_that_of_the_policy() -> None:
    told: dict[str, list[Turn]] = {"a": [], "b": []}
    narrator = Narrator(OraclePolicy(), lambda name, turn: told[name].append(turn))
    outcomes = list(roll_out([episode("a", 2), episode("b", 5)], narrator))
    alone = list(roll_out([episode("a", 2), episode("b", 5)], OraclePolicy()))
    assert [outcome.turns for outcome in outcomes] == [outcome.turns for outcome in alone]
    for outcome in outcomes:
        assert [turn.content for turn in told[outcome.episode.id]] == [turn.content for turn in outcome.turns]
    assert len(told["a"]) < len(told["b"])
