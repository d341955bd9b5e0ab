import json
from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.answers import THEOREMQA_TOLERANCE
from agentbank_jax.environments.theoremqa import read_instances
from agentbank_jax.errors import AgentBankError


def row(kind: str, answer: object, **changes: object) -> dict:
    return {"Question": f"{kind}?", "Answer": answer, "Answer_type": kind, "Picture": None, "id": "x/y.json", **changes}


def read(tmp_path: Path, text: str) -> list:
    path = tmp_path / "theoremqa_test.json"
    path.write_text(text)
    return list(read_instances(path, "test"))


@pytest.mark.parametrize(
    ("written", "kind", "compared", "stated"),
    [
        ('"integer", "Answer": 11760', "integer", "11760", "11760"),
        ('"float", "Answer": 1.420', "measured", "1.420", "1.420"),
        ('"float", "Answer": 4e-05', "measured", "0.00004", "0.00004"),
        ('"float", "Answer": 3', "integer", "3", "3"),
        ('"bool", "Answer": true', "truth", "true", "True"),
        ('"list of integer", "Answer": [-1, 6]', "list", "-1,6", "[-1, 6]"),
        ('"list of float", "Answer": [0.333, 1.0]', "list", "0.333,1.0", "[0.333, 1.0]"),
        ('"option", "Answer": "(C)"', "choice", "c", "(C)"),
    ],
)
def test_each_type_of_answer_is_read_as_published(
    tmp_path: Path, written: str, kind: str, compared: str, stated: str
) -> None:
    (one,) = read(tmp_path, f'[{{"Question": "q", "id": "a/b.json", "Answer_type": {written}, "Picture": null}}]')
    answer = one.payload.answer
    assert (answer.kind, answer.text, one.payload.plan[-1].slots["answer"]) == (kind, compared, stated)
    assert one.id == "theoremqa/test/a/b" and answer.mint_tolerance == THEOREMQA_TOLERANCE


def test_problems_with_a_picture_are_left_out(own_benchmarks: Path) -> None:
    folder = own_benchmarks / "theoremqa"
    folder.mkdir()
    rows = [row("integer", 5), row("integer", 6, Picture="images/x.png"), row("bool", False)]
    (folder / "theoremqa_test.json").write_text(json.dumps(rows))
    assert registry.get("theoremqa").size("test") == 2


@pytest.mark.parametrize(
    "broken",
    [row("integer", "five"), row("bool", 1), row("option", "(ab)"), row("list of float", []), row("text", "x")],
)
def test_an_answer_that_is_not_of_its_type_is_named(tmp_path: Path, broken: dict) -> None:
    with pytest.raises(AgentBankError, match=r":1:Answer: .* of type '.*'; expected a value of one of the types"):
        read(tmp_path, json.dumps([broken]))
