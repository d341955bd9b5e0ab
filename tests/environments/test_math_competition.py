import json
from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.math_competition import read_instances
from agentbank_jax.errors import AgentBankError

ROW = {
    "problem": "What is half of $1$?",
    "level": "Level 3",
    "type": "Algebra",
    "solution": r"It is $\boxed{\frac12}$.",
}
MATH = registry.get("math")


def test_the_upstream_folders_are_read_with_ids_of_type_and_number(own_benchmarks: Path) -> None:
    for split, kind, number in (("test", "algebra", 7), ("test", "geometry", 1), ("train", "algebra", 2)):
        folder = own_benchmarks / "math" / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.json").write_text(json.dumps({**ROW, "problem": f"{kind} {number}"}, indent=4))
    assert [MATH.instance("test", index).id for index in range(MATH.size("test") or 0)] == [
        "math/test/algebra/7",
        "math/test/geometry/1",
    ]
    assert MATH.instance("train", 0).id == "math/train/algebra/2"


def test_lines_are_read_with_their_own_numbers(own_benchmarks: Path) -> None:
    folder = own_benchmarks / "math"
    folder.mkdir()
    (folder / "math_dev.jsonl").write_text("\n".join(json.dumps({**ROW, "idx": index}) for index in (40, 41)))
    one = MATH.instance("test", 1)
    assert (one.id, one.difficulty, one.payload.answer.text) == ("math/test/41", 3, r"\frac12")
    environment = MATH.make()
    environment.reset(options={"instance": one})
    assert environment.step(environment.expert_steps()[-1].action)[1] == 1


def test_a_solution_without_a_box_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, "solution": "It is 1/2."}))
    with pytest.raises(AgentBankError, match=r":1:solution: ends in 'It is 1/2.'; expected an answer in \\boxed"):
        list(read_instances(path, "test"))
