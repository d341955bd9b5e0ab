"""A kitchen made for tests: a game of ALFWorld in its publisher's layout, and none of the published ones."""

import json
from pathlib import Path

GOAL = "put a hot apple in countertop"
TASK_TYPE = "pick_heat_then_place_in_recep"
NAME = "pick_heat_then_place_in_recep-Apple-None-CounterTop-1"
TRIAL = "trial_T00000000_000000_000001"

RECEPTACLES = {
    "Fridge": ("Apple", "Egg"),
    "Microwave": (),
    "CounterTop": ("Mug",),
    "SinkBasin": (),
}
OPENABLE = ("Fridge", "Microwave")


def _id(kind: str) -> str:
    return f"{kind}_bar__plus_00_dot_10_bar__plus_00_dot_20_bar__plus_00_dot_30"


def _place(number: int) -> str:
    return f"loc_bar_{number}_bar_2_bar_0_bar_30"


def problem() -> str:
    """The kitchen and its goal in PDDL, with the names that ALFWorld's problems have."""
    places = {kind: _place(number) for number, kind in enumerate(RECEPTACLES)}
    items = [(item, kind) for kind, inside in RECEPTACLES.items() for item in inside]
    objects = ["agent1 - agent", f"{_place(9)} - location"]
    facts = [f"(atLocation agent1 {_place(9)})"]
    for kind, place in places.items():
        # The basin's name is that of the sink with its own behind it.
        name = _id(kind) if kind != "SinkBasin" else f"{_id('Sink')}_bar_SinkBasin"
        objects += [f"{name} - receptacle", f"{kind}Type - rtype", f"{place} - location"]
        facts += [f"(receptacleType {name} {kind}Type)", f"(receptacleAtLocation {name} {place})"]
        facts += [f"(canContain {kind}Type {item}Type)" for item, _ in items]
        facts += [f"(openable {name})"] if kind in OPENABLE else []
    for item, kind in items:
        name = _id(item)
        objects += [f"{name} - object", f"{item}Type - otype"]
        facts += [f"({fact} {name})" for fact in ("pickupable", "heatable", "coolable", "cleanable")]
        facts += [f"(objectType {name} {item}Type)", f"(inReceptacle {name} {_id(kind)})"]
        facts += [f"(objectAtLocation {name} {places[kind]})"]
    goal = (
        "(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (heatable ?o) (objectType ?o AppleType)"
        " (receptacleType ?r CounterTopType) (isHot ?o) (inReceptacle ?o ?r))))))"
    )
    return (
        f"(define (problem kitchen) (:domain alfred) (:objects {' '.join(objects)})\n"
        f"(:init {' '.join(facts)})\n{goal}\n)"
    )


def write_published(folder: Path, *, solvable: bool = True, name: str = NAME) -> Path:
    """Writes the game below `folder`, such as `json_2.1.1/valid_unseen`, and returns its folder."""
    game = folder / name / TRIAL
    game.mkdir(parents=True)
    grammar = f'"task": [{{"rhs": "Your task is to: {GOAL}."}}]'
    (game / "game.tw-pddl").write_text(
        json.dumps({"pddl_domain": "", "grammar": grammar, "pddl_problem": problem(), "solvable": solvable})
    )
    (game / "traj_data.json").write_text(json.dumps({"task_type": TASK_TYPE}))
    return game


def write_rows(path: Path) -> Path:
    """Writes the game as JSON lines."""
    path.parent.mkdir(exist_ok=True)
    row = {"id": f"{NAME}/{TRIAL}", "task_type": TASK_TYPE, "goal": GOAL, "pddl_problem": problem()}
    path.write_text(json.dumps(row) + "\n")
    return path
