"""Benchmarks of the skill `math`."""

from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.calculator import PROTOCOL, CalculatorEnvironment
from agentbank_jax.environments.gsm8k import read_instances
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.starter.math import INSTRUCTION

GSM8K = PublishedData(
    name="gsm8k",
    files={"test": ("test*.jsonl*",), "train": ("train*.jsonl*",)},
    read=read_instances,
    source="github.com/openai/grade-school-math (grade_school_math/data/test.jsonl)",
)

SPECS = (
    EnvironmentSpec(
        name="gsm8k",
        skill="math",
        action_space="continuous",
        max_steps=12,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        licence="MIT",
        requires=("GSM8K's test.jsonl, from its publisher",),
        make=CalculatorEnvironment,
        instance=GSM8K.instance,
        size=GSM8K.size,
        data_version=GSM8K.version,
        available=GSM8K.available,
    ),
)
