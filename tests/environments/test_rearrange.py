import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.rearrange import RearrangeEnvironment, Rearrangement
from agentbank_jax.environments.rearrange_poses import Pose, fixed_strict, is_misplaced, overlap
from agentbank_jax.errors import AgentBankError
from tests.environments.made_rooms import SCENE, FakeController, rearrangement, write_rearrangements

SPEC = registry.get("rearrange")
# The apple is on the counter and belongs on the shelf; the drawer is closed and belongs half open.
TWO = rearrangement(start={"Apple_1": 3.2}, openness=(0.0, 0.5))


def begun(task=TWO) -> tuple[RearrangeEnvironment, str]:
    environment = RearrangeEnvironment(controller=FakeController)
    payload = Rearrangement(scene=SCENE, task=task)
    first, _ = environment.reset(options={"instance": Instance(id="r", fingerprint="0", payload=payload)})
    return environment, first


def box(x: float = 0.0, size: float = 1.0, order=None):
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float) * size
    corners[:, 0] += x
    return corners if order is None else corners[order]


def posed(x: float = 0.0, *, openness=None, pickupable=True, broken=False, turn=0.0, boxed=True) -> Pose:
    return Pose(
        corners=box(x) if boxed else None, position=np.array([x, 0.0, 0.0]), rotation=np.array([0.0, turn, 0.0]),
        openness=openness, pickupable=pickupable, broken=broken,
    )  # fmt: skip


def test_the_expert_puts_every_made_room_back_in_order(own_benchmarks: Path) -> None:
    write_rearrangements(
        own_benchmarks / "rearrange" / "test.pkl.gz",
        TWO,
        rearrangement(start={"Mug_1": 3.3, "Mug_2": 6.2}, openness=(0.9, 0.0)),
        rearrangement(start={}, openness=(0.2, 1.0)),
    )
    environment = RearrangeEnvironment(controller=FakeController)
    assert SPEC.size("test") == 3
    for index in range(3):
        instance = SPEC.instance("test", index)
        environment.reset(options={"instance": instance})
        results = []
        for step in environment.expert_steps():
            results.append(environment.step(step.action))
            assert not results[-1][4]["invalid_action"], step.action
        assert results[-1][1:3] == (1.0, True) and results[-1][4]["success"]
        assert results[-1][4]["misplaced"] == 0


def test_the_first_observation_says_what_is_not_as_it_was() -> None:
    _, first = begun()
    assert first == ("Put the room back in order. drawer 1 was 50% open. apple 1 was in/on shelf 1.\nYou see nothing.")


def test_the_reward_is_the_part_put_in_order() -> None:
    environment, _ = begun()
    environment.step("go to drawer 1")
    observation, reward, terminated, _, info = environment.step("open drawer 1")
    assert (reward, terminated, info["misplaced"]) == (0.5, False, 1)
    assert observation == "You see drawer 1 (open)."


def test_another_thing_misplaced_makes_it_nothing() -> None:
    environment, _ = begun()
    for action in ("go to drawer 1", "open drawer 1", "go to countertop 1", "take mug 2"):
        environment.step(action)
    assert environment.step("go to shelf 1")[1] == 0.5
    _, reward, _, _, info = environment.step("put mug 2 in/on shelf 1")
    assert (reward, info["misplaced"]) == (0.0, 2)
    _, reward, terminated, _, info = environment.step("done")
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def test_a_thing_on_the_right_shelf_but_elsewhere_on_it_is_misplaced() -> None:
    """Put from out of reach it does not snap: the stand-in then sets it 0.3 m beside its place."""
    environment, _ = begun()
    for action in ("go to countertop 1", "take apple 1", "go to shelf 1"):
        environment.step(action)
    environment._game.agent["x"] = 4.55
    environment._game._event(True)
    assert environment.step("put apple 1 in/on shelf 1")[4] == {"invalid_action": False, "misplaced": 2}


def test_hostile_actions_do_nothing_and_valid_ones_something() -> None:
    environment, _ = begun()
    hostile = ("put apple 1 in/on shelf 1", "take apple 1", "open Name_bar_1", "x" * 65536, "", "</s>", "\udcff")
    for action in hostile:
        assert environment.step(action)[4]["invalid_action"], action
    for action in ("go to countertop 1", "take apple 1"):
        environment.step(action)
    assert "put apple 1 in/on countertop 1" in environment.valid_actions()
    assert not environment.step("put apple 1 in/on countertop 1")[4]["invalid_action"]


@pytest.mark.parametrize(
    ("before", "after", "reward"),
    [
        ({"a": True, "b": True}, {"a": False, "b": False}, 1.0),
        ({"a": True, "b": True, "c": False}, {"a": False, "b": True, "c": False}, 0.5),
        ({"a": True, "b": True, "c": False}, {"a": False, "b": False, "c": True}, 0.0),
        ({"a": True}, {"a": True}, 0.0),
        ({"a": False}, {"a": False}, 1.0),
    ],
)
def test_the_strict_measure_by_hand(before, after, reward) -> None:
    assert fixed_strict(before, after) == reward


@pytest.mark.parametrize(
    ("goal", "now", "misplaced"),
    [
        (posed(), posed(), False),
        (posed(), posed(0.3), False),  # boxes share 0.7 of 1.3
        (posed(), posed(0.4), True),  # boxes share 0.6 of 1.4
        (posed(), posed(5.0), True),
        (posed(), posed(0.005, turn=350.5, boxed=False), False),
        (posed(), posed(0.005, turn=345.0, boxed=False), True),
        (posed(), posed(broken=True), True),
        (posed(), None, True),
        (posed(openness=0.5, pickupable=False), posed(9.0, openness=0.7, pickupable=False), False),
        (posed(openness=0.5, pickupable=False), posed(openness=0.71, pickupable=False), True),
        (posed(openness=0.0), posed(openness=1.0), False),  # carried things are judged by place alone
    ],
)
def test_what_counts_as_misplaced_by_hand(goal, now, misplaced) -> None:
    assert is_misplaced(goal, now) is misplaced


@given(st.permutations(range(8)), st.floats(-2, 2), st.floats(0.1, 3))
def test_the_overlap_of_axis_aligned_boxes_is_counted_along_each_axis(order, x, size) -> None:
    """The shared part is that of 13 points along each edge of the second box, whatever the order of its corners."""
    part, other_part = (
        np.mean([-1e-3 <= point <= 1 + 1e-3 for point in np.linspace(at, at + size, 13)]) for at in (x, 0.0)
    )
    shared = size**3 * part * other_part**2
    assert overlap(box(), box(x, size, order)) == pytest.approx(shared / (1 + size**3 - shared))


@given(st.floats(0, 2 * np.pi), st.floats(0.15, 0.95))
def test_turning_both_boxes_changes_no_overlap(angle, x) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert overlap(box() @ turn, box(x) @ turn) == pytest.approx(overlap(box(), box(x)))


def test_a_pickle_that_names_code_is_refused(own_benchmarks: Path) -> None:
    path = own_benchmarks / "rearrange" / "test.pkl.gz"
    path.parent.mkdir()
    with gzip.open(path, "wb") as file:
        pickle.dump({SCENE: [Path("/")]}, file)
    with pytest.raises(AgentBankError, match=r"it names pathlib\.\w+, and plain data is expected"):
        SPEC.size("test")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "cannot be read"),
        (gzip.compress(b""), "cannot be read"),
        (gzip.compress(pickle.dumps([])), "a dictionary from scenes"),
        (gzip.compress(pickle.dumps({SCENE: [{}]})), f"{SCENE}:0:agent_position"),
    ],
    # Packed content holds the time, which differs between the processes that collect the tests.
    ids=["nothing", "packed nothing", "a list", "no pose"],
)
def test_a_broken_file_is_named_with_what_was_expected(own_benchmarks: Path, content: bytes, where: str) -> None:
    path = own_benchmarks / "rearrange" / "test.pkl.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(AgentBankError, match=where):
        SPEC.size("test")


def test_a_room_that_cannot_be_set_up_is_an_error() -> None:
    with pytest.raises(AgentBankError, match="FloorPlan1 cannot be set up"):
        task = {**TWO, "openable_data": [{**TWO["openable_data"][0], "name": "Safe_1"}]}
        begun(task)
