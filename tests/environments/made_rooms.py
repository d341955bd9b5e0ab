"""A stand-in for AI2-THOR's `Controller`, with a small room of its own, and tasks in the publishers' layouts.

All of it is made for tests: none of it is of AI2-THOR, IQUAD or RoomR.
"""

import copy
import csv
import gzip
import itertools
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCENE = "FloorPlan1"
HALF = 0.1
VISIBLE_METRES = 1.5

# Type, whether it holds others, opens, is carried; then where it stands, in x and z.
THINGS = {
    "Fridge_1": ("Fridge", True, True, False, (0.0, 0.0)),
    "CounterTop_1": ("CounterTop", True, False, False, (3.0, 0.0)),
    "Shelf_1": ("Shelf", True, False, False, (6.0, 0.0)),
    "Drawer_1": ("Drawer", True, True, False, (9.0, 0.0)),
    "Mug_1": ("Mug", False, False, True, (0.1, 0.0)),
    "Mug_2": ("Mug", False, False, True, (3.1, 0.0)),
    "Apple_1": ("Apple", False, False, True, (6.1, 0.0)),
    "Painting_1": ("Painting", False, False, False, (12.0, 0.0)),
}

# Where the things are after a random start, by its seed; None for things that are taken away.
STARTS: dict[int, dict[str, tuple[float, float] | None]] = {
    1: {},
    2: {"Mug_1": (3.2, 0.0)},
    3: {"Mug_1": None, "Mug_2": None},
}


def _vector(x: float, y: float, z: float) -> dict[str, float]:
    return {"x": x, "y": y, "z": z}


class FakeController:
    """Moves things as asked, sees what is near and not behind a door, and keeps a list of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stopped = False

    def reset(self, scene: str) -> Any:
        self.asked.append(f"reset {scene}")
        self.objects = {
            name: {
                "name": name,
                "objectId": f"{kind}|{name}",
                "objectType": kind,
                "position": _vector(x, 1.0, z),
                "rotation": _vector(0.0, 0.0, 0.0),
                "receptacle": holds,
                "openable": opens,
                "openness": 0.0,
                "pickupable": carried,
                "isPickedUp": False,
                "isBroken": False,
            }
            for name, (kind, holds, opens, carried, (x, z)) in THINGS.items()
        }
        self.agent = _vector(-5.0, 1.0, 0.0)
        return self._event(True)

    def step(self, action: str, **arguments: Any) -> Any:
        self.asked.append(action)
        return self._event(*self._do(action, arguments))

    def stop(self) -> None:
        self.stopped = True

    def _do(self, action: str, arguments: Mapping[str, Any]) -> tuple[bool, Any]:
        thing = next((t for t in self.objects.values() if t["objectId"] == arguments.get("objectId")), None)
        held = next((t for t in self.objects.values() if t["isPickedUp"]), None)
        match action:
            case "MoveAhead" | "MoveBack" | "RotateLeft" | "RotateRight" | "LookUp" | "LookDown":
                self.agent["x"] += {"MoveAhead": 0.25, "MoveBack": -0.25}.get(action, 0.0)
                return True, None
            case "TeleportFull":
                self.agent = _vector(arguments["x"], arguments["y"], arguments["z"])
                return True, None
            case "InitialRandomSpawn":
                for name, place in STARTS[arguments["randomSeed"]].items():
                    if place is None:
                        del self.objects[name]
                    else:
                        self.objects[name]["position"] = _vector(place[0], 1.0, place[1])
                return True, None
            case "SetObjectPoses":
                for pose in arguments["objectPoses"]:
                    self.objects[pose["objectName"]] |= {key: dict(pose[key]) for key in ("position", "rotation")}
                return True, None
            case "GetInteractablePoses" if thing:
                at = thing["position"]
                pose = {**_vector(at["x"] - 0.5, 1.0, at["z"]), "rotation": 90, "horizon": 0, "standing": True}
                return True, [pose]
            case "OpenObject" if thing and thing["openable"] and not thing["openness"]:
                thing["openness"] = arguments.get("openness", 1.0)
                return True, None
            case "CloseObject" if thing and thing["openness"]:
                thing["openness"] = 0.0
                return True, None
            case "PickupObject" if thing and thing["pickupable"] and held is None:
                thing["isPickedUp"] = True
                return True, None
            case "PutObject" if thing and held and (not thing["openable"] or thing["openness"]):
                held["isPickedUp"], held["position"] = False, {**thing["position"], "z": thing["position"]["z"] + 0.3}
                return True, None
            case "TeleportObject" if thing and thing["isPickedUp"]:
                thing["isPickedUp"] = False
                thing |= {key: dict(arguments[key]) for key in ("position", "rotation")}
                return True, None
        return False, None

    def _event(self, success: bool, returned: Any = None) -> Any:
        things = [self._seen(thing) for thing in copy.deepcopy(list(self.objects.values()))]
        metadata = {
            "objects": things,
            "lastActionSuccess": success,
            "errorMessage": "" if success else "cannot",
            "actionReturn": returned,
            "agent": {"position": dict(self.agent)},
        }
        self.last_event = SimpleNamespace(metadata=metadata)
        return self.last_event

    def _seen(self, thing: dict[str, Any]) -> dict[str, Any]:
        at = thing["position"]
        holder = next(
            (
                other
                for other in self.objects.values()
                if other["receptacle"] and thing["pickupable"] and abs(other["position"]["x"] - at["x"]) < 0.5
            ),
            None,
        )
        hidden = holder is not None and holder["openable"] and not holder["openness"]
        near = abs(self.agent["x"] - at["x"]) <= VISIBLE_METRES
        corners = [
            [at["x"] + i * HALF, at["y"] + j * HALF, at["z"] + k * HALF]
            for i, j, k in itertools.product((-1, 1), repeat=3)
        ]
        return thing | {
            "visible": thing["isPickedUp"] or (near and not hidden),
            "isOpen": thing["openness"] > 0,
            "parentReceptacles": [holder["objectId"]] if holder else None,
            "objectOrientedBoundingBox": {"cornerPoints": corners},
        }


def write_questions(folder: Path) -> None:
    """Writes questions in IQUAD's layout below `folder`, their numbers those of the publisher's list of objects."""
    rows = {
        "existence": [
            (0, 1, 1, "Is there a mug in the room?", "True", 13, 21),
            (0, 1, 3, "Is there a mug in the room?", "False", 13, 21),
        ],
        "counting": [(1, 1, seed, "How many mugs are there in the room?", n, 13, 21) for seed, n in ((1, 2), (3, 0))],
        "contains": [
            (2, 1, 1, "Is there a mug in the fridge?", "True", 13, 19),
            (2, 1, 2, "Is there a mug in the fridge?", "False", 13, 19),
        ],
    }
    for kind, lines in rows.items():
        path = folder / "questions" / "test" / f"data_{kind}" / "combined.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            header = ("question_type", "scene_number", "seed", "question", "answer", "object_id", "container_id")
            writer.writerows([header, *lines])


def pose(name: str, x: float, z: float = 0.0) -> dict[str, Any]:
    """A pose as RoomR's files hold it."""
    return {
        "name": name,
        "objectName": name,
        "position": _vector(x, 1.0, z),
        "rotation": _vector(0.0, 0.0, 0.0),
    }


def rearrangement(*, start: Mapping[str, float], openness: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    """A task as RoomR's files hold it.

    Args:
      start: thing → where it is at the start, in x; every other is where it belongs.
      openness: of the drawer, at the start and where it belongs.
    """
    homes = {name: at[0] for name, (_, _, _, carried, at) in THINGS.items() if carried}
    return {
        "agent_position": _vector(-5.0, 1.0, 0.0),
        "agent_rotation": 90,
        "object_rearrangement_count": len(start),
        "openable_data": [
            {
                "name": "Drawer_1",
                "objectName": "Drawer_1",
                "objectId": "Drawer|Drawer_1",
                "start_openness": openness[0],
                "target_openness": openness[1],
            }
        ]
        if openness != (0.0, 0.0)
        else [],
        "starting_poses": [pose(name, start.get(name, x)) for name, x in homes.items()],
        "target_poses": [pose(name, x) for name, x in homes.items()],
    }


def write_rearrangements(path: Path, *tasks: dict[str, Any]) -> None:
    """Writes tasks in RoomR's layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        pickle.dump({SCENE: list(tasks)}, file)
