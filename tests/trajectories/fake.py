"""Small trajectories whose texts are a function of a number."""

from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import Llama2Template

WORDS = tuple(
    "the cup shelf lamp bread kitchen search look take put bowl apple river lake stone town".split()  # noqa: SIM905
)


def make_trajectory(number: int, *, exchanges: int = 2, system: bool = True, task: str = "fake") -> Trajectory:
    """Returns trajectory `number`, with `exchanges` user turns and as many replies."""

    def words(salt: int, count: int = 6) -> str:
        return " ".join(WORDS[(number * 7 + salt * 5 + k * k) % len(WORDS)] for k in range(count))

    turns = [Turn.system("Use search[query] or answer.")] if system else []
    for k in range(exchanges):
        turns.append(Turn.user(f"{'Observation: ' if k else ''}{words(k)} {number + k}."))
        last = "Final Answer:" if k == exchanges - 1 else "Action:"
        turns.append(Turn.assistant(f"Thought: {words(k + 1, 4)}.\n{last} search[{words(k + 2, 2)}]"))
    return Trajectory(id=f"t{number}", task=task, turns=tuple(turns))


def make_texts() -> list[str]:
    """Returns texts to train a vocabulary on."""
    return [text for n in range(200) for text in Llama2Template.render(make_trajectory(n))]
