"""Thoughts for text games: every template fills, what is not yet observed is not told, and few are generic."""

import json
import pickle
import string

import pytest

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.engine import close_engine, held_engine
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.game_memory import GameMemory
from agentbank_jax.bank.rationales.game_rationales import GameRationales, intent_of
from agentbank_jax.bank.rationales.game_thoughts import THOUGHTS
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales
from agentbank_jax.bank.replay import Replayed, replay
from agentbank_jax.bank.search.annotator import SearchAnnotator
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.thoughts import VOICES
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.text_game import solution
from agentbank_jax.environments.textworld_express import GAMES

SPEC = registry.get("textworld_express")
COIN = (
    "Your task is to search the environment and find the coin.  Once you find the coin, take it.\nYou are in the den."
)
MAP = (
    "Your task is to take the coin that is located in the bar, and put it into the box found in the den. A map is "
    "provided, that you may find helpful.\nYou are in the den. To the North you see the hall. To the East you see the "
    "attic."
)
WATER = "Task Description:\nYour task is to boil water. First, focus on the water.\nThis room is called the kitchen."
DOORS = WATER + "\nYou also see:\n\tA door to the hallway (that is open)\n\tA door to the outside (that is closed)"
SORT = "Your task is to sort objects by quantity. Place them in the box.\nYou are in the den."
TWC = (
    "Your task is to pick up objects, then place them in their usual locations in the environment.\nYou are in the den."
)
SUM = "Your task is to solve the following math problem: subtract 3 from 5 . \nThen, pick up the item."
RECIPE = "Gather.\n\nIngredients:\n  red apple\n  water\n\nDirections:\n  dice the red apple\n  prepare meal"
QUEST = "Welcome! First stop, go to the south. Then open the locker.\n\n-= Den =-\nA den."

# By intent: an episode, as observations and the actions between them, and the action that has the intent.
EPISODES: dict[str, tuple[tuple[str, ...], str]] = {
    "explore": ((TWC,), "move north"),
    "explore_for": ((COIN,), "move north"),
    "visit": ((TWC + " To the North you see the hall.",), "move north"),
    "visit_for": ((COIN + " To the North you see the hall.",), "move north"),
    "return": ((COIN, "move north", "You are in the hall."), "move south"),
    "arrive": ((MAP, "move north", "You are in the hall. To the West you see the bar."), "move west"),
    "way": (
        (MAP, "read map", "The map reads:\n  The den connects to the hall.\n  The bar connects to the hall and attic."),
        "move north",
    ),
    "told_way": ((QUEST,), "go south"),
    "go_to": ((WATER,), "go to hallway"),
    "go_to_named": ((WATER.replace("water.", "water in the hallway."),), "go to hallway"),
    "open_way": ((WATER,), "open door to hallway"),
    "way_open": ((DOORS,), "open door to hallway"),
    "look_first": ((COIN,), "look around"),
    "look": ((COIN, "inventory", "Nothing."), "look around"),
    "look_at": ((WATER,), "look at water"),
    "look_again": ((WATER, "look at water", "ice"), "look at water"),
    "look_in": ((WATER,), "look in cupboard"),
    "inventory": ((COIN,), "inventory"),
    "task": ((COIN,), "task"),
    "read": ((WATER,), "read recipe"),
    "read_map": ((MAP,), "read map"),
    "read_book": ((COIN,), "read cookbook"),
    "read_instructions": ((COIN,), "read instructions book"),
    "take": ((WATER,), "pick up metal pot"),
    "take_sought": ((COIN,), "take coin"),
    "take_from": ((QUEST,), "take key from locker"),
    "take_stray": ((TWC,), "take white moccasins"),
    "take_problem": ((SORT,), "take math problem"),
    "take_result": ((SORT, "read math problem", SUM), "take 2 apples"),
    "take_least": ((SORT,), "take 2g of oak"),
    "put": ((WATER,), "move metal pot to sink"),
    "put_usual": ((TWC,), "put white moccasins in shoe cabinet"),
    "put_asked": ((MAP,), "put coin in box"),
    "put_least": ((SORT,), "put 2g of oak in box"),
    "drop": ((QUEST,), "drop key"),
    "open": ((TWC,), "open wardrobe"),
    "open_for": ((COIN, "read cookbook", RECIPE), "open fridge"),
    "open_door": ((COIN,), "open door to north"),
    "close": ((COIN,), "close fridge"),
    "unlock": ((QUEST,), "unlock gate with key"),
    "lock": ((QUEST,), "lock gate with key"),
    "cut": ((COIN,), "dice red apple"),
    "cook": ((COIN,), "cook red apple in barbeque"),
    "prepare": ((COIN,), "prepare meal"),
    "eat": ((COIN,), "eat meal"),
    "simon": (("Do what Simon says.\nSimon says, 'take orange'.",), "take orange"),
    "book": ((COIN, "read instructions book", "The current task is to take the grape."), "take grape"),
    "focus": ((WATER,), "focus on red box"),
    "focus_named": ((WATER,), "focus on water"),
    "activate": ((WATER,), "activate stove"),
    "deactivate": ((WATER,), "deactivate stove"),
    "measure": ((WATER,), "use thermometer in inventory on water"),
    "measure_again": (
        (WATER, "use thermometer on water", "the thermometer measures a temperature of 38 degrees"),
        "use thermometer on water",
    ),
    "use": ((WATER,), "use shovel in inventory on ground"),
    "pour": ((WATER,), "pour jug into flower pot 1"),
    "connect": ((WATER,), "connect battery anode to black wire terminal 1"),
    "disconnect": ((WATER,), "disconnect black wire"),
    "mix": ((WATER,), "mix jug"),
    "wait": ((WATER,), "wait1"),
    "choose": ((WATER,), "0"),
    "flush": ((WATER,), "flush toilet"),
}


def sequence(*actions: str, intent: str = "solve") -> ActionSequence:
    steps = tuple(ExpertStep(action=action, intent=intent) for action in actions)
    return ActionSequence(steps=steps, method="heuristic_search")


def write(actions: tuple[str, ...], observations: tuple[str, ...], seed: int = 0) -> tuple[str, ...]:
    said = GameRationales(seed=seed).write(SPEC, SPEC.instance("train", 0), sequence(*actions), observations)
    assert not isinstance(said, Drop)
    return said


def test_every_intent_has_an_episode_and_as_many_wordings_as_voices_allow() -> None:
    assert list(EPISODES) and set(EPISODES) == set(THOUGHTS)
    for intent, wordings in THOUGHTS.items():
        assert len(set(wordings)) == len(wordings) == 6 and VOICES % 6 == 0, intent


@pytest.mark.parametrize("intent", THOUGHTS)
def test_each_template_of_an_intent_fills_from_an_episode_that_has_it(intent: str) -> None:
    (first, *rest), action = EPISODES[intent]
    memory = GameMemory()
    memory.hear(None, first)
    for before, observation in zip(rest[::2], rest[1::2], strict=True):
        memory.hear(before, observation)
    read = intent_of(action, memory)
    assert read is not None and read[0] == intent
    assert all(value for name, value in read[1].items() if any(name in w for w in THOUGHTS[intent])), read
    slots = {name for wording in THOUGHTS[intent] for _, name, _, _ in string.Formatter().parse(wording) if name}
    assert slots <= set(read[1])
    actions, observations = (*rest[::2], action), (first, *rest[1::2])
    said = {write(actions, observations, seed=seed)[-1] for seed in range(120)}
    assert len(said) == 6 and not any("{" in thought for thought in said)


def test_a_thought_depends_on_nothing_that_is_observed_after_it() -> None:
    for (first, *rest), action in EPISODES.values():
        actions, observations = (*rest[::2], action, "move east"), (first, *rest[1::2], "You are in the hall.")
        whole = write(actions, observations)
        for position in range(len(actions)):
            hidden = (*observations[: position + 1], *("Something else." for _ in observations[position + 1 :]))
            assert write(actions, hidden)[: position + 1] == whole[: position + 1]


def test_the_recipe_and_the_sum_are_told_as_they_were_read() -> None:
    said = write(("read cookbook", "take red apple", "open fridge"), (COIN, RECIPE, "You take the red apple."))
    assert "water" in said[2] and "apple" not in said[2]
    for problem, expected in (
        ("add 2 and 3", "2 + 3 = 5"), ("subtract 2 from 7", "7 - 2 = 5"), ("divide 10 by 2", "10 / 2 = 5"),
        ("multiply 5 and 1", "5 * 1 = 5"),
    ):  # fmt: skip
        told = SUM.replace("subtract 3 from 5", problem)
        memory = GameMemory()
        memory.hear(None, SORT)
        memory.hear("read math problem", told)
        assert memory.solved is not None and f"{memory.solved[0]} = {memory.solved[1]}" == expected
        assert intent_of("take 5 apples", memory)[0] == "take_result" != intent_of("take 15 apples", memory)[0]


@pytest.mark.parametrize(
    ("door", "heard", "intent"),
    [
        ("hallway", (), "way_open"),
        ("outside", (), "open_way"),
        ("outside", ("open door to outside", "The door is now open."), "way_open"),
        ("outside", ("open door to outside", "I do not know that."), "open_way"),
        ("hallway", ("close door to hallway", "The door is now closed."), "open_way"),
        ("hallway", ("take cup", "You move the cup to the inventory."), "way_open"),
        # Another room's door leads there.
        ("hallway", ("go to bedroom", "You move to the bedroom."), "open_way"),
    ],
)
def test_a_door_that_is_seen_open_is_not_said_to_be_closed(door: str, heard: tuple[str, ...], intent: str) -> None:
    memory = GameMemory()
    memory.hear(None, DOORS)
    if heard:
        memory.hear(*heard)
    assert intent_of(f"open door to {door}", memory) == (intent, {"place": door})


def test_a_quantity_is_put_in_the_box_because_it_is_the_least_that_is_left() -> None:
    said = {write(("put 2g of oak in box",), (SORT,), seed=seed)[-1] for seed in range(120)}
    assert len(said) == 6 and not any("remains" in thought or "task" in thought for thought in said)
    assert all("2g of oak" in thought and "box" in thought for thought in said)


def test_other_intents_and_unknown_actions_are_worded_as_by_templates_and_given_thoughts_stay() -> None:
    instance = SPEC.instance("train", 0)
    for steps in (sequence("yodel loudly"), sequence("2 * 3", intent="yodel")):
        assert GameRationales().write(SPEC, instance, steps, (COIN,)) == TemplateRationales().write(
            SPEC, instance, steps, (COIN,)
        )
    drop = GameRationales().write(SPEC, instance, sequence("take coin", "a\nb", intent="yodel"), (COIN, "?"))
    assert isinstance(drop, Drop) and drop.reason == "no_rationale"
    given = ActionSequence(steps=tuple(solution(["take coin"])), method="derived", thoughts=("Mine.",))
    assert GameRationales().write(SPEC, instance, given, (COIN,)) == ("Mine.",)


def test_names_keep_their_capitals() -> None:
    said = write(("take box of Q-tips",), (TWC,))
    assert "box of Q-tips" in said[0]


def test_a_writer_is_picklable_and_says_what_it_depends_on() -> None:
    writer = GameRationales(seed=1)
    assert pickle.loads(pickle.dumps(writer)) == writer
    assert json.loads(json.dumps(writer.facts())) != json.loads(json.dumps(GameRationales(seed=2).facts()))


@pytest.mark.arena
@pytest.mark.parametrize("name", ["textworld", "scienceworld", *(f"textworld_express_{game}" for game in GAMES)])
def test_less_than_a_twentieth_of_the_thoughts_on_20_real_gold_paths_are_generic(name: str) -> None:
    spec = registry.get(name)
    if reason := spec.available():
        pytest.skip(reason)
    thoughts = generic = 0
    for number in range(20):
        instance = spec.instance("train", number)
        found = SearchAnnotator(searcher=Expert(), max_steps=400).annotate(spec, instance)
        assert isinstance(found, ActionSequence), found
        actions = [step.action for step in found.steps]
        replayed = replay(spec, instance, actions, environment=held_engine(spec), max_steps=400)
        assert isinstance(replayed, Replayed), replayed
        said = GameRationales().write(spec, instance, found, replayed.observations)
        plain = TemplateRationales().write(spec, instance, found, replayed.observations)
        assert not isinstance(said, Drop) and not isinstance(plain, Drop)
        thoughts += len(said)
        generic += sum(one == other for one, other in zip(said, plain, strict=True))
    close_engine()
    assert thoughts > 60 and generic < 0.05 * thoughts
