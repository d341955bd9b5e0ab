"""Benchmarks of the skill `embodied`."""

import functools
from collections.abc import Callable

from agentbank_jax.environments import (
    alfworld,
    alfworld_problems,
    iqa,
    rearrange,
    scienceworld,
    textworld,
    textworld_express,
)
from agentbank_jax.environments.alfworld_games import read_games
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.java import missing_java_game
from agentbank_jax.environments.packages import missing_package
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.thor import missing_simulator

_EXTRA = "agentbank_jax[alfworld]"

ALFWORLD = PublishedData(
    name="alfworld",
    files={
        "test": (
            "json_2.1.*/valid_unseen/*/*/game.tw-pddl",
            "valid_unseen/*/*/game.tw-pddl",
            "*/trial_*/game.tw-pddl",
            "valid_unseen*.jsonl*",
        ),
        "train": ("json_2.1.*/train/*/*/game.tw-pddl", "train/*/*/game.tw-pddl", "train*.jsonl*"),
    },
    read=read_games,
    source="github.com/alfworld/alfworld (alfworld-download; json_2.1.1/valid_unseen)",
    train_source="github.com/alfworld/alfworld (alfworld-download; json_2.1.1/train)",
    engine=lambda: missing_package(_EXTRA, "alfworld", "textworld"),
)

IQA = PublishedData(
    name="iqa",
    files={
        "test": ("questions/test/data_*/combined.csv", "questions/val/unseen_scenes/data_*/combined.csv"),
        "train": ("questions/train/data_*/combined.csv",),
    },
    read=iqa.read_questions,
    source="github.com/danielgordon10/thor-iqa-cvpr-2018 (questions/)",
    train_source="github.com/danielgordon10/thor-iqa-cvpr-2018 (questions/train/)",
    engine=missing_simulator,
)

REARRANGE = PublishedData(
    name="rearrange",
    files={"test": ("test.pkl.gz",), "train": ("train.pkl.gz",)},
    read=rearrange.read_rearrangements,
    source="github.com/allenai/ai2thor-rearrangement (data/2023/test.pkl.gz)",
    train_source="github.com/allenai/ai2thor-rearrangement (data/2023/train.pkl.gz)",
    engine=missing_simulator,
)

ALFWORLD_INSTRUCTION = (
    f"Reach the goal. {FORM} Actions: go to X, take O from X, put O in/on X, open/close/examine X, toggle O, "
    "clean/heat/cool O with X, inventory, look."
)


def _express(name: str, instance: Callable[[str, int], Instance], size: Callable[[str], int]) -> EnvironmentSpec:
    return EnvironmentSpec(
        name=name,
        skill="embodied",
        action_space="discrete",
        max_steps=textworld_express.MAX_STEPS,
        protocol=textworld_express.protocol(),
        instruction=f"Do what the game asks. {FORM} Actions such as look around, inventory, move north, examine X, "
        "take O, put O in X, open X, read O.",
        requires=("the package textworld-express", "a Java runtime"),
        make=textworld_express.TextWorldExpressEnvironment,
        instance=instance,
        size=size,
        at_once=2,
        data_version=textworld_express.protocol,
        available=lambda: missing_java_game("textworld-express", "textworld_express"),
    )


SPECS = (
    EnvironmentSpec(
        **ALFWORLD.bound(),
        skill="embodied",
        action_space="discrete",
        max_steps=alfworld.MAX_STEPS,
        protocol=alfworld.protocol(),
        instruction=ALFWORLD_INSTRUCTION,
        licence="MIT",
        requires=(
            "the packages alfworld and textworld (the extra `alfworld`; they bring GPL libraries)",
            "ALFWorld's games, from its publisher",
        ),
        make=alfworld.AlfworldEnvironment,
    ),
    EnvironmentSpec(
        name="alfworld_generated",
        skill="embodied",
        action_space="discrete",
        max_steps=alfworld.MAX_STEPS,
        protocol=f"{alfworld.protocol()}, problems/{alfworld_problems.VERSION}",
        instruction=ALFWORLD_INSTRUCTION,
        requires=("the packages alfworld and textworld (the extra `alfworld`; they bring GPL libraries)",),
        make=alfworld.AlfworldEnvironment,
        instance=alfworld_problems.instance,
        available=ALFWORLD.engine,
    ),
    EnvironmentSpec(
        name="iqa",
        skill="embodied",
        action_space="discrete",
        max_steps=iqa.MAX_STEPS,
        protocol=iqa.protocol(),
        instruction=f"Answer the question. {FORM} Actions: move_ahead, rotate_left, rotate_right, look_down, go to X, "
        "open X, close X. End with 'Final Answer: ...': yes, no or a number.",
        requires=("the package ai2thor, and its simulator's build", "IQUAD V1's questions, from their publisher"),
        make=iqa.IqaEnvironment,
        instance=lambda split, index: IQA.instance(split, iqa.dealt(index, IQA.size(split))),
        size=IQA.size,
        at_once=1,
        data_version=IQA.version,
        available=IQA.available,
        engine=IQA.engine,
    ),
    EnvironmentSpec(
        **REARRANGE.bound(),
        skill="embodied",
        action_space="discrete",
        max_steps=rearrange.MAX_STEPS,
        protocol=rearrange.protocol(),
        instruction=f"Reach the goal in the room. {FORM} Actions: go to X, take X, put X in/on Y, open X, close X, "
        "done.",
        requires=("the package ai2thor, and its simulator's build", "RoomR's tasks, from their publisher"),
        make=rearrange.RearrangeEnvironment,
        at_once=1,
    ),
    EnvironmentSpec(
        name="textworld",
        skill="embodied",
        action_space="discrete",
        max_steps=textworld.MAX_STEPS,
        protocol=textworld.protocol(),
        instruction=f"Follow the game. {FORM} Actions: go north, look, take O from X, put O on X, "
        "insert O into X, unlock X with O, open/examine O.",
        licence="MIT",
        requires=("the package textworld (the extra `alfworld`; it brings GPL libraries)",),
        make=textworld.TextWorldEnvironment,
        instance=textworld.instance,
        data_version=textworld.protocol,
        available=lambda: missing_package(_EXTRA, "textworld"),
    ),
    _express("textworld_express", textworld_express.instance, textworld_express.size),
    *(
        _express(
            f"textworld_express_{game}", functools.partial(textworld_express.world, game), textworld_express.worlds
        )
        for game in textworld_express.GAMES
    ),
    EnvironmentSpec(
        name="scienceworld",
        skill="embodied",
        action_space="discrete",
        max_steps=scienceworld.LONGEST_LIMIT,
        protocol=scienceworld.protocol(),
        instruction=f"{FORM} Actions: look around/at/in, inventory, open/close, teleport to, pick up, "
        "move/connect X to Y, pour X in Y, use X on Y, mix, activate, focus on, wait.",
        requires=("the package scienceworld", "a Java runtime"),
        held_out=True,
        make=scienceworld.ScienceWorldEnvironment,
        instance=scienceworld.instance,
        size=scienceworld.size,
        at_once=2,
        data_version=scienceworld.version,
        available=lambda: missing_java_game("scienceworld", "scienceworld"),
    ),
)
