"""RoomR: put a room back in order (Weihs et al. 2021, arXiv 2103.16544), as text over AI2-THOR.

The tasks are in their publisher's layout. Its agents see the ordered room first; here the first observation says in
words what is not as it was.
"""

import gzip
import hashlib
import json
import pickle
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.benchmark_rows import Kinds, typed_field
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.text_game import Outcome
from agentbank_jax.environments.thor import Metadata, ThorGame
from agentbank_jax.errors import AgentBankError, first_line

# This project's own: the publisher's agents take single steps, and hundreds of them.
MAX_STEPS = 50

DONE = "done"

# How near the agent stands to where it puts a thing that snaps into its place.
REACH_METRES = 1.5

FIELDS: dict[str, Kinds] = {
    "agent_position": dict,
    "agent_rotation": (int, float),
    "openable_data": list,
    "starting_poses": list,
    "target_poses": list,
}


def protocol() -> str:
    """What is recorded in a result: the simulator's version, the measure, and that the text is this project's own."""
    return f"rearrange/1 (ai2thor {installed_version('ai2thor')}, fixed strict, text of this project)"


@dataclass(frozen=True, kw_only=True)
class Rearrangement:
    """A payload: a scene, and one of its tasks as the publisher's file holds it (`FIELDS`)."""

    scene: str
    task: Mapping[str, Any]


class _Plain(pickle.Unpickler):
    """Reads dictionaries, lists, texts and numbers; a pickle that names any code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and plain data is expected")


def read_rearrangements(path: Path, split: str) -> Iterator[Instance]:
    """Yields the tasks of one of RoomR's `pkl.gz`: scene → its tasks, one of each scene in turn.

    Raises:
      AgentBankError: where the file cannot be read or breaks the layout; names file, scene, task (from 0) and field.
    """
    try:
        with gzip.open(path, "rb") as file:
            scenes = _Plain(file).load()
    except (OSError, EOFError, zlib.error, pickle.UnpicklingError, ValueError, IndexError, KeyError) as error:
        raise AgentBankError(f"{path}: cannot be read ({first_line(error)}); expected RoomR's pickle.") from None
    if not isinstance(scenes, dict) or not all(isinstance(tasks, list) for tasks in scenes.values()):
        raise AgentBankError(f"{path}: expected a dictionary from scenes to lists of tasks.")
    for number in range(max(map(len, scenes.values()), default=0)):
        for scene, tasks in scenes.items():
            if number < len(tasks):
                yield _instance(split, scene, number, tasks[number], f"{path}:{scene}:{number}")


def _instance(split: str, scene: str, number: int, task: Any, where: str) -> Instance:
    if not isinstance(task, dict):
        raise AgentBankError(f"{where}: {type(task).__name__}; expected a dictionary with {', '.join(FIELDS)}.")
    kept = {name: typed_field(task, name, kinds, where) for name, kinds in FIELDS.items()}
    content = json.dumps([scene, kept], sort_keys=True, default=str)
    return Instance(
        id=f"rearrange/{split}/{scene}/{number}",
        fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
        payload=Rearrangement(scene=scene, task=kept),
        difficulty=len(task["openable_data"]) + 1,
    )


class RearrangeEnvironment(ThorGame):
    """Bring every thing back to where it was, and every door as far open as it was.

    The payload of an instance is a `Rearrangement`. The reward of a step is RoomR's strict measure if the episode
    ended there: the part of the things misplaced at first that are in order, or 0 where another has been misplaced.
    The episode ends by `done`, or when all is in order. Things snap into their places, as in RoomR: what is put where
    it belongs, from within reach, is exactly there, and `open` opens as far as it was open. `info` has `misplaced`, a
    number.
    """

    def begin(self, payload: Rearrangement) -> str:
        """Puts the room in order, notes how that is, and then puts it out of order.

        Raises:
          AgentBankError: the simulator cannot set the room up.
        """
        from agentbank_jax.environments.rearrange_poses import fixed_strict, is_misplaced, pose_of

        self._is_misplaced, self._pose_of, self._fixed_strict = is_misplaced, pose_of, fixed_strict
        self._set_up(payload, "target")
        self._goal = {thing["name"]: thing for thing in self.things()}
        goal_places = {thing["name"]: self._holder(thing) for thing in self.things()}
        self._set_up(payload, "start")
        self.name_things()
        self._goal_poses = {name: pose_of(thing) for name, thing in self._goal.items()}
        self._before = self._misplaced()
        self._wrong = {
            thing["objectId"]: goal_places[thing["name"]]
            for thing in self.things()
            if self._before.get(thing["name"], False)
        }
        self.known |= self._wrong.keys()
        return f"{self._task_text()}\n{self.seen()}"

    def act(self, action: str) -> Outcome:
        action = action.lower()
        done = action == DONE or self._put(action) or self.move(action)
        after = self._misplaced()
        reward = self._fixed_strict(self._before, after)
        ended = action == DONE or not any(after.values())
        return self.outcome(done, reward, ended=ended, figures={"misplaced": sum(after.values())})

    def extra_arguments(self, verb: str, thing: Metadata) -> dict[str, Any]:
        goal = self._goal.get(thing["name"])
        if verb != "OpenObject" or goal is None or not goal.get("openable") or not goal["openness"]:
            return {}
        if thing["openness"] > 0:
            # The simulator opens only what is closed.
            self.command("CloseObject", objectId=thing["objectId"])
        return {"openness": goal["openness"]}

    def valid_actions(self) -> list[str]:
        held = self._held()
        near = [thing for thing in self.things() if thing["visible"] and thing.get("receptacle") and held]
        puts = [
            f"put {self.names[held['objectId']]} in/on {self.names[thing['objectId']]}"
            for thing in near
            if held and thing["objectId"] != held["objectId"]
        ]
        return [*super().valid_actions(), *puts, DONE]

    def expert_steps(self) -> list[ExpertStep]:
        """Takes each thing to where it belongs, and opens or closes what should be."""
        steps: list[tuple[str, str]] = []
        for identifier, place in self._wrong.items():
            name, thing = self.names[identifier], self.thing(identifier)
            goal = self._goal[thing["name"]] if thing else {}
            steps.append((f"go to {name}", "go"))
            if thing and thing.get("openable") and not thing.get("pickupable"):
                steps.append((f"open {name}", "open") if goal["openness"] else (f"close {name}", "close"))
            else:
                target = self.names.get(place, "floor 1")
                steps += [(f"take {name}", "take"), (f"go to {target}", "go"), (f"put {name} in/on {target}", "put")]
        return [ExpertStep(action=action, intent=intent) for action, intent in steps]

    def _set_up(self, payload: Rearrangement, phase: str) -> None:
        task = payload.task
        self.enter(payload.scene)
        turned = {"x": 0, "y": task["agent_rotation"], "z": 0}
        done = self.command(
            "TeleportFull", **task["agent_position"], rotation=turned, horizon=0.0, standing=True, forceAction=True
        )
        identifiers = {thing["name"]: thing["objectId"] for thing in self.things()}
        for opened in task["openable_data"]:
            done &= self.command(
                "OpenObject",
                objectId=identifiers.get(opened["name"], opened["name"]),
                openness=opened[f"{phase}_openness"],
                forceAction=True,
            )
        poses = task["target_poses" if phase == "target" else "starting_poses"]
        done &= self.command("SetObjectPoses", objectPoses=poses, placeStationary=False, skipMoveable=True)
        if not done:
            reason = self._game.last_event.metadata.get("errorMessage") or "no reason given"
            raise AgentBankError(f"rearrange: {payload.scene} cannot be set up ({reason}); is it RoomR's simulator?")

    def _misplaced(self) -> dict[str, bool]:
        now = {thing["name"]: thing for thing in self.things()}
        return {
            name: self._is_misplaced(pose, self._pose_of(now[name]) if name in now else None)
            for name, pose in self._goal_poses.items()
            if pose.pickupable or pose.openness is not None
        }

    def _put(self, action: str) -> bool:
        held = self._held()
        if held is None or not action.startswith(f"put {self.names[held['objectId']]} in/on "):
            return False
        place = self.thing(self.ids.get(action.rpartition(" in/on ")[2], ""))
        if place is None or not place["visible"]:
            return False
        goal = self._goal.get(held["name"])
        if goal is not None and place["objectId"] == self._wrong.get(held["objectId"]) and self._reaches(goal):
            return self.command(
                "TeleportObject",
                objectId=held["objectId"],
                position=goal["position"],
                rotation=goal["rotation"],
                forceKinematic=True,
                allowTeleportOutOfHand=True,
            )
        return self.command("PutObject", objectId=place["objectId"])

    def _reaches(self, goal: Metadata) -> bool:
        agent = self._game.last_event.metadata["agent"]["position"]
        return sum((agent[axis] - goal["position"][axis]) ** 2 for axis in "xz") ** 0.5 <= REACH_METRES

    def _held(self) -> Metadata | None:
        return next((thing for thing in self.things() if thing.get("isPickedUp")), None)

    def _holder(self, thing: Metadata) -> str:
        holders = thing.get("parentReceptacles") or [""]
        return holders[-1]

    def _task_text(self) -> str:
        sentences = []
        for identifier, place in self._wrong.items():
            thing = self.thing(identifier)
            goal = self._goal[thing["name"]] if thing else {}
            if thing and thing.get("openable") and not thing.get("pickupable"):
                how = f"{goal['openness']:.0%} open" if goal["openness"] else "closed"
                sentences.append(f"{self.names[identifier]} was {how}.")
            else:
                sentences.append(f"{self.names[identifier]} was in/on {self.names.get(place, 'the floor')}.")
        wrong = " ".join(sentences) or "All is in order."
        return f"Put the room back in order. {wrong}"
