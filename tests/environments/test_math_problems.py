import pickle
import random
import subprocess
import sys

import pytest

from agentbank_jax.environments import python_cells, registry
from agentbank_jax.environments.answers import PublishedAnswer
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.math_problems import MathEnvironment, MathProblem
from agentbank_jax.environments.turn_text import answer_step
from agentbank_jax.errors import AgentBankError

NUMBER = PublishedAnswer(kind="number", text="72")
MEASURED = PublishedAnswer(kind="measured", text="1.42")

needs_sandbox = pytest.mark.skipif(python_cells.available() is not None, reason=str(python_cells.available()))


def started(answer: PublishedAnswer = NUMBER, **options: str) -> MathEnvironment:
    environment = MathEnvironment()
    problem = MathProblem(question="How many are 2 * 12, three times?", answer=answer, plan=(answer_step(answer.text),))
    environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=problem), **options})
    return environment


def test_an_expression_shows_its_value_as_the_calculator_does() -> None:
    assert started().step("1/3 * 2") == ("0.6667", 0.0, False, False, {"invalid_action": False})


@pytest.mark.parametrize("action", ["", "hello", "1/0", "```sql\nselect 1\n```", "9**9**9", "Answer: 5"])
def test_an_action_that_is_not_understood_is_an_observation(action: str) -> None:
    observation, reward, terminated, _, info = started().step(action)
    assert observation.startswith("Error: ") and reward == 0 and not terminated and info["invalid_action"]


@pytest.mark.parametrize(("stated", "reward"), [("72", 1.0), ("$72.00", 1.0), ("71", 0.0), ("", 0.0)])
def test_the_final_answer_is_judged(stated: str, reward: float) -> None:
    _, got, terminated, _, info = started().step(f"Final Answer: {stated}")
    assert got == reward and terminated and info["success"] == (reward == 1) and info["answers"] == "exact"
    assert pickle.loads(pickle.dumps(info)) == info


def test_the_answer_protocol_is_that_of_the_options() -> None:
    assert not started().step("Final Answer: 74")[4]["success"]
    mint = started(answers="mint").step("Final Answer: 74")
    assert mint[1] == 1 and mint[4]["answers"] == "mint"
    with pytest.raises(AgentBankError, match="Did you mean 'mint'"):
        started(answers="mnt")


def test_the_next_problem_has_the_protocol_of_its_own_options() -> None:
    environment = started(answers="mint")
    problem = MathProblem(question="?", answer=NUMBER, plan=())
    environment.reset(options={"instance": Instance(id="y", fingerprint="y", payload=problem)})
    assert not environment.step("Final Answer: 74")[4]["success"]


def test_info_tells_whether_the_answer_was_computed() -> None:
    pasted, worked = started(), started()
    worked.step("24 * 3")
    assert not pasted.step("Final Answer: 72")[4]["answer_computed"]
    assert worked.step("Final Answer: 72 clips")[4]["answer_computed"]


@needs_sandbox
def test_blocks_of_one_problem_share_names_and_a_reset_forgets_them() -> None:
    environment = started()
    assert environment.step("```python\nx = 24\n```")[0] == "(no output)"
    assert environment.step("```python\n1 / 0\n```")[4] == {"invalid_action": False, "failed": True}
    assert environment.step("```python\nx * 3\n```")[0] == "72"
    assert environment.step("Final Answer: 72")[4]["answer_computed"]
    problem = MathProblem(question="?", answer=NUMBER, plan=())
    environment.reset(options={"instance": Instance(id="y", fingerprint="y", payload=problem)})
    assert "NameError" in environment.step("```python\nx\n```")[0]
    assert not environment.step("Final Answer: 72")[4]["answer_computed"]


def test_without_a_sandbox_a_block_is_answered_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_cells.sandbox, "available", lambda: "bubblewrap is not installed (do install it)")
    observation, *_, info = started().step("```python\nprint(1)\n```")
    assert "do install it" in observation and info["invalid_action"]


def test_step_before_reset_and_a_foreign_instance_are_errors() -> None:
    with pytest.raises(AgentBankError, match="call reset"):
        MathEnvironment().step("1")
    with pytest.raises(AgentBankError, match="an Instance with a payload of MathProblem"):
        MathEnvironment().reset(options={"instance": 3})


def test_a_random_action_is_understood() -> None:
    rng = random.Random(0)
    for answer in (NUMBER, MEASURED, PublishedAnswer(kind="choice", text="a", options=(("a", "1"), ("b", "2")))):
        for _ in range(20):
            environment = started(answer)
            assert not environment.step(environment.sample_action(rng))[4]["invalid_action"]


def test_close_may_be_called_twice() -> None:
    environment = started(MEASURED)
    environment.step("Final Answer: sqrt(2)")
    environment.close()
    environment.close()


@pytest.mark.parametrize("name", ["gsm8k", "mathqa", "math", "theoremqa"])
def test_the_engine_can_be_sent_to_a_worker_process(name: str) -> None:
    spec = registry.get(name)
    assert isinstance(pickle.loads(pickle.dumps(spec.make))(), MathEnvironment)
    assert spec.held_out == (name == "theoremqa") and spec.skill == "math"


def test_neither_listing_nor_judging_loads_sympy_into_the_environments_process() -> None:
    code = (
        "import sys; from agentbank_jax.environments import registry\n"
        "from agentbank_jax.environments.answers import AnswerJudge, PublishedAnswer\n"
        "spec = registry.get('math'); environment = spec.make(); judge = AnswerJudge()\n"
        "assert judge.right('sqrt(8)', PublishedAnswer(kind='expression', text='2*sqrt(2)')); judge.close()\n"
        "print([name for name in ('sympy', 'math_verify', 'antlr4') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
