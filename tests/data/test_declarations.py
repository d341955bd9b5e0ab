"""Declared tasks have an instruction and a skill, mixtures hold known tasks, and names are suggested."""

import re
import subprocess
import sys

import pytest

from agentbank_jax.data.declarations import (
    SKILLS,
    DeclarationError,
    MixtureDeclaration,
    TaskDeclaration,
    declare_mixture,
    declare_task,
    get_mixture,
    get_task,
    mixture_names,
    task_names,
)
from tests.small_bank import ROOT


def make_task(**changes: object) -> TaskDeclaration:
    fields = {"name": "new", "skill": "web", "action_space": "discrete", "instruction": "Click.", "remedy": "none"}
    return TaskDeclaration(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_starter_mixture_holds_one_task_of_each_skill() -> None:
    rates = get_mixture("starter").rates
    assert sorted(get_task(name).skill for name in rates) == sorted(
        ["reasoning", "math", "programming", "web", "embodied"]
    )
    assert set(rates.values()) == {1.0}
    assert "starter" in mixture_names() and "gsm8k" in task_names()


def test_a_task_is_a_mixture_of_itself() -> None:
    assert get_mixture("gsm8k").rates == {"gsm8k": 1.0}


def test_the_environments_instruction_is_the_tasks() -> None:
    from agentbank_jax.environments import registry

    for name in get_mixture("starter").rates:
        assert get_task(name).resolve_instruction() == registry.get(name).instruction
        assert get_task(name).skill == registry.get(name).skill
        assert get_task(name).action_space == registry.get(name).action_space


def test_the_released_data_are_nineteen_configs_of_which_sixteen_are_the_papers() -> None:
    every, paper = get_mixture("agentbank_all").rates, get_mixture("agentbank").rates
    assert len(every) == 19 and len(paper) == 16
    assert {*every} - {*paper} == {"alfred", "intercode_bash", "mbpp_before"}
    by_skill = [name for skill in SKILLS for name in get_mixture(f"agentbank_{skill}").rates]
    assert sorted(by_skill) == sorted(paper)
    for skill in SKILLS:
        assert {get_task(name).skill for name in get_mixture(f"agentbank_{skill}").rates} == {skill}


def test_counts_that_were_not_read_at_the_source_say_so() -> None:
    tasks = [get_task(name) for name in get_mixture("agentbank_all").rates]
    assert {task.name for task in tasks if not task.verified} == {"gsm8k", "strategyqa", "webarena", "webshop", "iqa"}
    # All 19 are said to sum to 53,205 rows; iqa's own count is not known.
    assert sum(task.expected_rows or 0 for task in tasks) <= 53_205


def test_what_a_task_spoils_is_known() -> None:
    spoilt = {name: get_task(name).spoils for name in get_mixture("agentbank_all").rates if get_task(name).spoils}
    assert spoilt == {"humaneval": ("humaneval",), "intercode_bash": ("intercode_bash",)}


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(DeclarationError, match=r"'startr'.*Did you mean 'starter'"):
        get_mixture("startr")
    with pytest.raises(DeclarationError, match=r"'gsm8'.*Did you mean 'gsm8k'"):
        get_task("gsm8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skill": "cooking"}, "skill 'cooking'; expected one of"),
        ({"action_space": "big"}, "action space 'big'"),
        ({"environment": "starter_web"}, "either"),
        ({"instruction": None}, "either"),
        ({"skill": "general"}, "neither"),
        ({"skill": "general", "instruction": None, "environment": "starter_web"}, "neither"),
    ],
)
def test_malformed_tasks_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make_task(**changes)


def test_malformed_mixtures_are_refused() -> None:
    with pytest.raises(DeclarationError, match=r"no task"):
        MixtureDeclaration(name="m", rates={})
    with pytest.raises(DeclarationError, match=r"rate 0"):
        MixtureDeclaration(name="m", rates={"gsm8k": 0})
    task_names()
    with pytest.raises(DeclarationError, match=r"Did you mean 'gsm8k'"):
        declare_mixture(MixtureDeclaration(name="m", rates={"gsm8": 1}))


def test_a_name_is_declared_once() -> None:
    known = get_task("gsm8k")
    assert declare_task(known) is known
    with pytest.raises(DeclarationError, match=r"declared twice"):
        declare_task(make_task(name="gsm8k"))
    with pytest.raises(DeclarationError, match=r"declared twice"):
        declare_mixture(MixtureDeclaration(name="gsm8k", rates={"gsm8k": 1}))
    # What takes the place of another is of the same kind.
    with pytest.raises(DeclarationError, match=r"declared twice"):
        declare_task(make_task(name="starter"), replace=True)
    with pytest.raises(DeclarationError, match=r"declared twice"):
        declare_mixture(MixtureDeclaration(name="gsm8k", rates={"gsm8k": 1}), replace=True)
    assert get_task("gsm8k") is known and "starter" not in task_names() and "gsm8k" not in mixture_names()


def test_declarations_cache_and_delivery_import_no_tensorflow() -> None:
    program = (
        "import sys; import grain; "
        "from agentbank_jax.data import declarations, delivery, inspection_page, samoyed, token_cache; "
        "declarations.task_names(); "
        "print([name for name in ('tensorflow', 'seqio', 'tensorflow_datasets') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_only_the_modules_for_seqio_and_tfds_import_tensorflow() -> None:
    wanted = re.compile(r"^\s*(?:import|from) (?:seqio|tensorflow\w*)\b", re.MULTILINE)
    modules = [*(ROOT / "agentbank_jax").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in modules if wanted.search(path.read_text(encoding="utf-8"))}
    allowed = re.compile(r"agentbank_jax/data/(?:seqio_\w+|tfds_\w+)\.py|tasks/seqio_registry\.py")
    assert len(found) > 5 and not {name for name in found if not allowed.fullmatch(name)}
