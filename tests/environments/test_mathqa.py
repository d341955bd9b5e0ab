import json
from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.mathqa import read_instances, read_options
from agentbank_jax.environments.mathqa_formula import FormulaError, calculations
from agentbank_jax.errors import AgentBankError

ROW = {
    "problem": "two boys walk at 5 kmph and 5.5 kmph . when are they 8.5 km apart ?",
    "rationale": "…",
    "options": "a ) 17 hr , b ) 14 hr , c ) 12 hr , d ) 19 hr , e ) 23 hr",
    "correct": "a",
    "annotated_formula": "divide(8.5, subtract(5.5, 5))",
    "linear_formula": "subtract(n1,n0)|divide(n2,#0)|",
    "category": "gain",
}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a ) 12 , b ) 16 , c ) 18", {"a": "12", "b": "16", "c": "18"}),
        ("a ) a ) 1,055 , b ) b ) 1215", {"a": "1,055", "b": "1215"}),
        ("['a ) 48 - 8 π', 'b ) 48 - 6 π']", {"a": "48 - 8 π", "b": "48 - 6 π"}),
        ("['a ) a ) 4 inches', 'b ) b ) 6 inches']", {"a": "4 inches", "b": "6 inches"}),
        ("a ) b / 2 , b ) b , c ) 3 b / 2", {"a": "b / 2", "b": "b", "c": "3 b / 2"}),
        ("a)1,b)2", {"a": "1", "b": "2"}),
        ("none", {}),
        ("['a ) 1", {}),
    ],
)
def test_options_are_read_in_each_of_their_forms(text: str, options: dict[str, str]) -> None:
    assert dict(read_options(text)) == options


@pytest.mark.parametrize(
    ("formula", "expressions"),
    [
        ("divide(8.5, subtract(5.5, 5))", ["5.5 - 5", "8.5 / 0.5"]),
        ("multiply(const_100, add(n1, 1))", None),
        ("multiply(const_0_2778, const_100)", ["0.2778 * 100"]),
        ("add(sqrt(16), negate(3))", ["16 ** 0.5", "0 - 3", "4 + (-3)"]),
        ("add(multiply(2, 3), multiply(2, 3))", ["2 * 3", "6 + 6"]),
        ("factorial(4)", ["4 * 3 * 2 * 1"]),
        ("choose(5, 2)", ["5 * 4 / 2"]),
        ("add(46, lcm(26, 36))", None),
        ("divide(1, subtract(2, 2))", None),
        ("add(1, 2", None),
        ("add(1, 2))", None),
        ("add(1)", None),
        ("", None),
    ],
)
def test_a_formula_becomes_expressions_where_they_can_be_calculated(
    formula: str, expressions: list[str] | None
) -> None:
    if expressions is None:
        with pytest.raises(FormulaError):
            calculations(formula)
    else:
        assert [each.expression for each in calculations(formula)] == expressions


def test_the_expert_calculates_and_states_the_right_option(own_benchmarks: Path) -> None:
    path = own_benchmarks / "mathqa" / "test.json"
    path.parent.mkdir()
    # Of the second the formula leads to another option.
    path.write_text(json.dumps([ROW, {**ROW, "correct": "b"}]))
    spec = registry.get("mathqa")
    assert spec.size("test") == 2
    plans = []
    for index in range(2):
        environment = spec.make()
        question, _ = environment.reset(options={"instance": spec.instance("test", index)})
        assert question.endswith("\nOptions: a ) 17 hr , b ) 14 hr , c ) 12 hr , d ) 19 hr , e ) 23 hr")
        steps = environment.expert_steps()
        *_, (_, reward, _, _, info) = [environment.step(step.action) for step in steps]
        assert reward == 1 and info["success"]
        plans.append([step.action for step in steps])
    assert plans == [["5.5 - 5", "8.5 / 0.5", "Final Answer: a"], ["Final Answer: b"]]


@pytest.mark.parametrize(
    ("change", "told"), [({"correct": "x"}, ":1:correct: 'x'"), ({"options": 3}, ":1:options: 3; expected a string")]
)
def test_a_broken_row_is_named(tmp_path: Path, change: dict, told: str) -> None:
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{**ROW, **change}]))
    with pytest.raises(AgentBankError) as error:
        list(read_instances(path, "test"))
    assert told in str(error.value) and "\n" not in str(error.value)
