"""Benchmarks of the skill `embodied`."""

from agentbank_jax.environments import alfworld, scienceworld, textworld, textworld_express
from agentbank_jax.environments.alfworld_games import read_games
from agentbank_jax.environments.benchmark_data import PublishedData
from agentbank_jax.environments.instructions import FORM
from agentbank_jax.environments.java import missing_java_game
from agentbank_jax.environments.packages import missing_package
from agentbank_jax.environments.registry import EnvironmentSpec

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
    engine=lambda: missing_package(_EXTRA, "alfworld", "textworld"),
)

ALFWORLD_INSTRUCTION = (
    f"Reach the goal. {FORM} Actions: go to X, take O from X, put O in/on X, open/close/examine X, toggle O, "
    "clean/heat/cool O with X, inventory, look."
)

SPECS = (
    EnvironmentSpec(
        name="alfworld",
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
        instance=ALFWORLD.instance,
        size=ALFWORLD.size,
        data_version=ALFWORLD.version,
        available=ALFWORLD.available,
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
    EnvironmentSpec(
        name="textworld_express",
        skill="embodied",
        action_space="discrete",
        max_steps=textworld_express.MAX_STEPS,
        protocol=textworld_express.protocol(),
        instruction=f"Do what the game asks. {FORM} Actions such as look around, inventory, move north, examine X, "
        "take O, put O in X, open X, read O.",
        requires=("the package textworld-express", "a Java runtime"),
        make=textworld_express.TextWorldExpressEnvironment,
        instance=textworld_express.instance,
        size=textworld_express.size,
        at_once=2,
        data_version=textworld_express.protocol,
        available=lambda: missing_java_game("textworld-express", "textworld_express"),
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
