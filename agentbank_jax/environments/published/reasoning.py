"""Benchmarks of the skill `reasoning`: questions whose answers are found by searching one index of passages."""

import dataclasses
import functools
import shlex
from collections.abc import Mapping

from agentbank_jax.environments import benchmark_data
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_data import PublishedData, Reader
from agentbank_jax.environments.instructions import FINAL, FORM
from agentbank_jax.environments.open_qa import PROTOCOL, OpenQAEnvironment
from agentbank_jax.environments.passage_index import read_manifest
from agentbank_jax.environments.qa_rows import (
    MAX_SEARCHES,
    read_bamboogle,
    read_hotpotqa,
    read_strategyqa,
    read_triviaqa,
)
from agentbank_jax.environments.registry import EnvironmentRegistryError, EnvironmentSpec, Split
from agentbank_jax.errors import AgentBankError

INDEX = "index"
"""What the index is called beside the benchmarks, and in `BenchmarkConfig.paths`."""

_ACTIONS = f"{FORM} The action is search[query] or lookup[keyword]. {FINAL}"


def _index_missing(own: str | None) -> str | None:
    """Why the index cannot be searched, and how one is built; None where it can.

    Args:
      own: the benchmark whose files hold passages themselves; None where they are articles of Wikipedia.
    """
    place = benchmark_data.folder(INDEX)
    if place is None:
        return (
            "no index of passages is named; build one with scripts/build_index.py and name it with "
            "--gin.BenchmarkConfig.paths=\"{'index': 'PATH'}\""
        )
    try:
        read_manifest(place)
    except AgentBankError as error:
        files = benchmark_data.folder(own) if own else None
        if files is None:
            return f"{error} (PASSAGES: articles of Wikipedia)"
        return str(error).replace("PASSAGES", shlex.quote(str(files)))
    return None


def _instance(data: PublishedData, split: str, index: int) -> Instance:
    instance = data.instance(split, index)
    missing = data.engine()
    place = benchmark_data.folder(INDEX)
    if missing or place is None:
        raise EnvironmentRegistryError(f"{data.name}: {missing}")
    return dataclasses.replace(instance, payload=dataclasses.replace(instance.payload, index=str(place.absolute())))


def _version(data: PublishedData) -> str:
    """A hash of the questions' files, and of what is searched."""
    place = benchmark_data.folder(INDEX)
    searched = "none" if place is None or data.engine() else read_manifest(place).content[:16]
    return f"{data.version()} index {searched}"


def _spec(
    name: str,
    *,
    files: Mapping[Split, tuple[str, ...]],
    read: Reader,
    source: str,
    licence: str,
    passages: str | None = None,
    question: str = "Answer the question.",
    train_source: str = "",
    held_out: bool = False,
) -> EnvironmentSpec:
    data = PublishedData(
        name=name,
        files=files,
        read=read,
        source=source,
        train_source=train_source,
        engine=functools.partial(_index_missing, passages),
    )
    return EnvironmentSpec(
        name=name,
        skill="reasoning",
        action_space="continuous",
        # The project's own limit: the papers state none for these actions.
        max_steps=MAX_SEARCHES + 1,
        protocol=PROTOCOL,
        instruction=f"{question} {_ACTIONS}",
        licence=licence,
        requires=(f"the questions, from {source}", "an index of passages, by scripts/build_index.py"),
        held_out=held_out,
        make=OpenQAEnvironment,
        instance=functools.partial(_instance, data),
        size=data.size,
        data_version=functools.partial(_version, data),
        available=data.available,
        engine=data.engine,
    )


SPECS = (
    _spec(
        "hotpotqa",
        # The dev file with distractors; that of the full wiki has the same questions.
        files={"test": ("*dev*distractor*.json*", "*distractor*dev*.json*"), "train": ("*train*.json*",)},
        read=read_hotpotqa,
        source="hotpotqa.github.io (hotpot_dev_distractor_v1.json)",
        train_source="hotpotqa.github.io (hotpot_train_v1.1.json)",
        licence="CC-BY-SA-4.0",
        passages="hotpotqa",
    ),
    _spec(
        "strategyqa",
        files={"test": ("*dev*.json*",), "train": ("*train.json*",)},
        read=read_strategyqa,
        source="github.com/eladsegal/strategyqa (data/strategyqa/dev.json)",
        train_source="github.com/eladsegal/strategyqa (data/strategyqa/train.json)",
        licence="MIT",
        passages="strategyqa",
        question="Answer the question, yes or no.",
    ),
    _spec(
        "triviaqa",
        files={"test": ("*unfiltered-web-dev.json*",), "train": ("*unfiltered-web-train.json*",)},
        read=read_triviaqa,
        source="nlp.cs.washington.edu/triviaqa (triviaqa-unfiltered/unfiltered-web-dev.json)",
        train_source="nlp.cs.washington.edu/triviaqa (triviaqa-unfiltered/unfiltered-web-train.json)",
        # Its authors do not own the questions.
        licence="NOASSERTION",
    ),
    _spec(
        "bamboogle",
        files={"test": ("*.json*", "*.csv")},
        read=read_bamboogle,
        source="github.com/ofirpress/self-ask (its table of Bamboogle, saved as CSV)",
        licence="MIT",
        held_out=True,
    ),
)
