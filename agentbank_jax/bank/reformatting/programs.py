"""HumanEval's and MBPP's canonical solutions as actions: one program, thought of in the words of the task.

HumanEval: Chen et al. 2021, arXiv 2107.03374. MBPP: Austin et al. 2021, arXiv 2108.07732.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import reformatted, sentence
from agentbank_jax.bank.replay import expert_plan
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.code_problems import CodeProblem
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.sentences import split_sentences

_REQUEST = re.compile(
    r"^write (?:a|an|the)?\s*(?:python\s+)?(?:function|program|code)s?\s*(?:in python\s*)?", re.IGNORECASE
)
_EXAMPLE = re.compile(r">>>|\bfor example\b|\bexamples?:|\bfor \w+\(|\bsample\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ProgramReformatter:
    """Gives the canonical solution as one program; its Thought says what the task asks for.

    Drops, beside those of a replay: `no_description`, where the task has no sentence that says so.
    """

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        problem: CodeProblem = instance.payload
        thought = describe_task(problem)
        if not thought:
            return Drop(id=instance.id, reason="no_description", detail=problem.task)
        return reformatted(expert_plan(spec, instance), [thought])

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "canonical_solution"}


def describe_task(problem: CodeProblem) -> str:
    """Says what a program has to do, in the words of its task; empty where they say nothing.

    A request (`Write a function to …`) is turned into a plan, a docstring gives its first two sentences.
    """
    request = problem.task.split("\n", 1)[0]
    if _REQUEST.match(request):
        wanted = _REQUEST.sub("", request)
        name = f"The function {problem.entry_point}" if problem.entry_point else "The program"
        joined = {"to": "has", "that": "is one", "which": "is one"}.get(wanted.split(" ", 1)[0].lower(), "is wanted")
        return sentence(f"{name} {joined} {wanted}")
    # The first sentence often says only what is given.
    first = split_sentences(_EXAMPLE.split(_docstring(problem))[0])[:2]
    words = sentence(" ".join(first).strip(" :"))
    return f"{problem.entry_point} is to do this. {words}" if words else ""


def _docstring(problem: CodeProblem) -> str:
    try:
        functions = [each for each in ast.parse(problem.solution).body if isinstance(each, ast.FunctionDef)]
    except SyntaxError:
        return ""
    named = [each for each in functions if each.name == problem.entry_point]
    return " ".join((ast.get_docstring(named[-1]) or "").split()) if named else ""
