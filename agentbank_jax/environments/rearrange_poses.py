"""When a thing of a rearrangement is where it belongs: RoomR's own measure (Weihs et al. 2021, arXiv 2103.16544)."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

# Of RoomR's evaluator.
LEAST_OVERLAP = 0.5
OPENNESS_TOLERANCE = 0.2
_SAME_PLACE_METRES = 0.01
_SAME_ANGLE_DEGREES = 10.0
_POINTS_PER_EDGE = 13
_EDGE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a thing is, and how.

    Fields:
      corners: of its oriented bounding box, in metres; None where it has none.
      position: in metres.
      rotation: Euler angles in degrees.
      openness: from 0 to 1; None where it cannot be opened.
      pickupable: whether it can be carried.
      broken: whether it is broken.
    """

    corners: Float[np.ndarray, "8 3"] | None
    position: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3"]
    openness: float | None
    pickupable: bool
    broken: bool


def pose_of(thing: Mapping[str, Any]) -> Pose:
    """The pose in an object's metadata."""
    box = thing.get("objectOrientedBoundingBox") or {}
    return Pose(
        corners=np.asarray(box["cornerPoints"], float) if box.get("cornerPoints") else None,
        position=np.asarray([thing["position"][axis] for axis in "xyz"], float),
        rotation=np.asarray([thing["rotation"][axis] for axis in "xyz"], float),
        openness=float(thing["openness"]) if thing.get("openable") else None,
        pickupable=bool(thing.get("pickupable")),
        broken=bool(thing.get("isBroken")),
    )


def is_misplaced(goal: Pose, now: Pose | None) -> bool:
    """Whether a thing is not as it should be.

    It is where its box and the goal's overlap by less than half (the volume they share over that which they cover
    together). What is opened and not carried is judged by its openness alone, to 0.2. What is broken or gone is
    misplaced.
    """
    if now is None or now.broken:
        return True
    if goal.openness is not None and not goal.pickupable:
        return now.openness is None or abs(goal.openness - now.openness) > OPENNESS_TOLERANCE
    turned = np.abs((goal.rotation - now.rotation + 180) % 360 - 180).max()
    if np.linalg.norm(goal.position - now.position) < _SAME_PLACE_METRES and turned < _SAME_ANGLE_DEGREES:
        return False
    if goal.corners is None or now.corners is None:
        return True
    return overlap(goal.corners, now.corners) < LEAST_OVERLAP


def overlap(first: Float[np.ndarray, "8 3"], second: Float[np.ndarray, "8 3"]) -> float:
    """Intersection over union of two boxes by their corners; the intersection by 13 x 13 x 13 points of the second."""
    origin, edges = _box(first)
    other, other_edges = _box(second)
    steps = np.linspace(0, 1, _POINTS_PER_EDGE)
    points = other + np.array(list(itertools.product(steps, repeat=3))) @ other_edges
    lengths = np.linalg.norm(edges, axis=1)
    along = (points - origin) @ (edges / lengths[:, None]).T
    inside = ((along >= -_EDGE_TOLERANCE) & (along <= lengths + _EDGE_TOLERANCE)).all(axis=1)
    volume, other_volume = np.prod(lengths), np.prod(np.linalg.norm(other_edges, axis=1))
    shared = other_volume * inside.mean()
    return float(shared / (volume + other_volume - shared))


def fixed_strict(before: Mapping[str, bool], after: Mapping[str, bool]) -> float:
    """The part of the things misplaced at first that no longer are; 0 where another thing has been misplaced.

    Args:
      before: name → whether the thing was misplaced at the start.
      after: the same now.

    Returns:
      RoomR's `prop_fixed_strict`, in [0, 1]; 1 where nothing was misplaced and nothing is.
    """
    if any(after[name] and not before[name] for name in before):
        return 0.0
    at_first = [name for name in before if before[name]]
    return sum(not after[name] for name in at_first) / len(at_first) if at_first else 1.0


def _box(corners: Float[np.ndarray, "8 3"]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """A corner of a box, and its three edges there: those of the vectors to the others that are at right angles."""
    vectors = corners[1:] - corners[0]

    def slant(rows: Iterable[int]) -> float:
        chosen = vectors[list(rows)]
        units = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)
        return float(np.abs(units @ units.T - np.eye(3)).sum())

    return corners[0], vectors[list(min(itertools.combinations(range(7), 3), key=slant))]
