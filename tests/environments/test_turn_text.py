import pytest

from agentbank_jax.environments.turn_text import answer_step, cut, stated_answer, unfenced


@pytest.mark.parametrize(
    ("action", "stated"),
    [
        (" Final Answer:  12 \n", "12"),
        ("Final Answer:", ""),
        ("Final Answer: Final Answer: 3", "Final Answer: 3"),
        ("final answer: 12", None),
        ("The Final Answer: 12", None),
        ("", None),
    ],
)
def test_an_answer_is_what_follows_the_prefix(action: str, stated: str | None) -> None:
    assert stated_answer(action) == stated


def test_an_experts_last_action_states_its_answer() -> None:
    step = answer_step("Amber Bay")
    assert stated_answer(step.action) == step.slots["answer"] == "Amber Bay" and step.intent == "answer"


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("```bash\nls -l\n```", "ls -l"),
        ("\n ```SH ls\ncd /``` ", "ls\ncd /"),
        ("```\nls\n```", "ls"),
        ("``` ```", ""),
        (" ls ", "ls"),
        ("```sql\nls\n```", "sql\nls"),
        ("```bash\nls", "```bash\nls"),
        ("I run ```bash\nls\n```", "I run ```bash\nls\n```"),
    ],
)
def test_a_command_is_bare_or_one_whole_block(action: str, command: str) -> None:
    assert unfenced(action, "bash", "sh") == command


def test_a_text_is_marked_where_it_is_cut() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc..."
    assert cut("abcd", 3, " …") == "abc …"
