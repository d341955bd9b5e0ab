"""Benchmarks of the skill `math`."""

from agentbank_jax.environments import answer_algebra, gsm8k, math_competition, mathqa, python_cells, theoremqa
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.instructions import FINAL, FORM
from agentbank_jax.environments.math_problems import MathEnvironment
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.starter.math import INSTRUCTION

_SANDBOX = "bubblewrap, and a python3 in /usr (with python3-sympy for blocks that import it)"
_ALGEBRA = "math-verify[antlr4_13_2]"
# A block of Python may take 20 seconds, and a comparison 3 of processor time.
_STEP_SECONDS = 90.0


def _with_expressions() -> str | None:
    return answer_algebra.available() or python_cells.available()


def _spec(
    data: PublishedData, *, instruction: str, protocol: str, requires: tuple[str, ...], licence: str = "MIT",
    max_steps: int = 10, held_out: bool = False,
) -> EnvironmentSpec:  # fmt: skip
    return EnvironmentSpec(
        **data.bound(),
        skill="math",
        action_space="continuous",
        max_steps=max_steps,
        protocol=protocol,
        instruction=instruction,
        licence=licence,
        requires=(f"{data.name}'s test problems, from their publisher", *requires),
        held_out=held_out,
        make=MathEnvironment,
        step_seconds=_STEP_SECONDS,
    )


GSM8K = PublishedData(
    name="gsm8k",
    files={"test": ("test*.jsonl*",), "train": ("train*.jsonl*",)},
    read=gsm8k.read_instances,
    source="github.com/openai/grade-school-math (grade_school_math/data/test.jsonl)",
    train_source="github.com/openai/grade-school-math (grade_school_math/data/train.jsonl)",
)
MATHQA = PublishedData(
    name="mathqa",
    files={"test": ("test*.json*", "mathqa*.json*"), "train": ("train*.json*",)},
    read=mathqa.read_instances,
    source="math-qa.github.io (MathQA.zip: test.json)",
    train_source="math-qa.github.io (MathQA.zip: train.json)",
)
MATH = PublishedData(
    name="math",
    files={"test": ("test/*/*.json", "test*.jsonl*", "math*.jsonl*"), "train": ("train/*/*.json", "train*.jsonl*")},
    read=math_competition.read_instances,
    source="github.com/hendrycks/math (MATH.tar: the folder test/)",
    train_source="github.com/hendrycks/math (MATH.tar: the folder train/)",
    engine=_with_expressions,
)
THEOREMQA = PublishedData(
    name="theoremqa",
    files={"test": ("test*.json*", "theoremqa*.json*")},
    read=theoremqa.read_instances,
    source="github.com/wenhuchen/TheoremQA (theoremqa_test.json)",
    engine=_with_expressions,
)

_EXACT = "math/1 (numbers exact)"
_VERIFIED = f"math/1 (math-verify {installed_version('math-verify')})"

SPECS = (
    _spec(GSM8K, instruction=INSTRUCTION, protocol=_EXACT, requires=(), max_steps=12),
    _spec(
        MATHQA,
        instruction=f"Choose an option. {FORM} The action is an arithmetic expression. {FINAL}",
        protocol=_EXACT,
        requires=(),
        licence="Apache-2.0",
    ),
    _spec(
        MATH,
        instruction=f"Solve the problem. {FORM} The action is a ```python block or an expression. {FINAL}",
        protocol=_VERIFIED,
        requires=(_ALGEBRA, _SANDBOX),
    ),
    # Of its 800 problems those with a picture are left out.
    _spec(
        THEOREMQA,
        instruction=f"Solve the problem. {FORM} The action is a ```python block or an expression. {FINAL}",
        protocol=f"{_VERIFIED}, without pictures",
        requires=(_ALGEBRA, _SANDBOX),
        held_out=True,
    ),
)
