"""Heuristic search for an expert's actions: A* and greedy best-first over an environment.

AgentBank's way of annotating discrete action spaces: the environment itself is searched for an
action sequence that reaches the goal. An environment takes part by offering `snapshot()` and
`restore()`; what the search may look at is decided by the caller, through `actions` (the
candidates in the present state) and `heuristic` (an estimate of the steps that remain).
"""

import heapq
import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from agentbank_jax.errors import AgentBankError


class SearchableEnvironment(Protocol):
    """An environment whose whole state can be saved and brought back, cheaply and any number of times."""

    def snapshot(self) -> Any: ...

    def restore(self, snapshot: Any) -> None: ...

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]: ...


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found.

    Fields:
      actions: from the start to the goal, or None where no path was found.
      expansions: states whose successors were tried.
      generated: calls of `step`.
      duplicates: successors dropped since their state had been reached as cheaply before.
      exhausted: True where every reachable state was tried, False where the budget ended first
        (or a path was found).
    """

    actions: tuple[str, ...] | None
    expansions: int
    generated: int
    duplicates: int
    exhausted: bool


def reward_is_one(reward: float, terminated: bool) -> bool:
    """The default goal: the episode has ended with the full reward."""
    return terminated and reward >= 1.0


def heuristic_search(
    environment: SearchableEnvironment,
    *,
    actions: Callable[[], Iterable[str]],
    heuristic: Callable[[], float],
    max_expansions: int,
    state_key: Callable[[], Hashable] | None = None,
    is_goal: Callable[[float, bool], bool] = reward_is_one,
    path_weight: float = 1.0,
    first_found: bool = True,
    stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Searches for actions that lead from the environment's present state to a goal.

    States are expanded in the order of `path_weight * (steps so far) + heuristic()`: A* with the
    default weight, greedy best-first with weight 0. Equals are taken nearest to the goal first,
    then in the order in which `actions` lists them, so the result is deterministic. The
    environment is in its present state again when the search returns.

    Args:
      environment: steps, snapshots and restores.
      actions: the candidate actions of the state that the environment is in.
      heuristic: an estimate of the steps from the environment's state to the goal; `math.inf`
        drops the state. Where it never overestimates, `first_found=False` gives a shortest path.
      max_expansions: the budget, at least 1.
      state_key: names the environment's state, equal for equal states; by default the snapshot
        itself, which must then be hashable.
      is_goal: whether a step that returned this reward and `terminated` has reached the goal.
      path_weight: cost of one step, not negative.
      first_found: return on generating a goal; if False, when a goal is the cheapest state left.
      stop: asked before every step, in the state that the step is from; True ends the search as the budget does.

    Returns:
      A `SearchResult`; its `actions` is None where there is no path within the budget.

    Raises:
      AgentBankError: on a budget below 1 or a negative path weight.
    """
    if max_expansions < 1:
        raise AgentBankError(f"heuristic_search: max_expansions is {max_expansions}; expected at least 1.")
    if path_weight < 0:
        raise AgentBankError(f"heuristic_search: path_weight is {path_weight}; expected 0 (greedy) or more.")
    start = environment.snapshot()
    try:
        return _search(
            environment, start, actions, heuristic, max_expansions, state_key, is_goal, path_weight, first_found,
            stop or _never,
        )  # fmt: skip
    finally:
        environment.restore(start)


def _search(
    environment: SearchableEnvironment,
    start: Any,
    actions: Callable[[], Iterable[str]],
    heuristic: Callable[[], float],
    max_expansions: int,
    state_key: Callable[[], Hashable] | None,
    is_goal: Callable[[float, bool], bool],
    path_weight: float,
    first_found: bool,
    stop: Callable[[], bool],
) -> SearchResult:
    # A path is a linked list (parent path, action): states share their beginnings.
    start_estimate = heuristic()
    best_depth: dict[Hashable, int] = {state_key() if state_key else start: 0}
    # (priority, estimate, order of generation, depth, snapshot, key, path, is a goal)
    queue: list[tuple[float, float, int, int, Any, Hashable, Any, bool]] = []
    expansions = generated = duplicates = 0
    if start_estimate < math.inf:
        queue.append((start_estimate, start_estimate, 0, 0, start, next(iter(best_depth)), None, False))

    def result(path: Any, exhausted: bool) -> SearchResult:
        return SearchResult(
            actions=_unlink(path) if path is not None else None,
            expansions=expansions,
            generated=generated,
            duplicates=duplicates,
            exhausted=exhausted,
        )

    while queue:
        _, _, _, depth, snapshot, key, path, at_goal = heapq.heappop(queue)
        if at_goal:
            return result(path, False)
        if best_depth[key] < depth:  # reached more cheaply after it was queued
            duplicates += 1
            continue
        environment.restore(snapshot)
        if expansions == max_expansions or stop():
            return result(None, False)
        expansions += 1
        for action in tuple(actions()):
            environment.restore(snapshot)
            if stop():
                return result(None, False)
            _, reward, terminated, truncated, info = environment.step(action)
            generated += 1
            if is_goal(reward, terminated):
                if first_found:
                    return result((path, action), False)
                # Never a duplicate: an action that ends the episode need not change the state.
                heapq.heappush(
                    queue, (path_weight * (depth + 1), 0.0, generated, depth + 1, None, None, (path, action), True)
                )
                continue
            if terminated or truncated or info.get("invalid_action"):
                continue
            successor = environment.snapshot()
            successor_key = state_key() if state_key else successor
            if best_depth.get(successor_key, depth + 2) <= depth + 1:
                duplicates += 1
                continue
            estimate = heuristic()
            if estimate == math.inf:
                continue
            best_depth[successor_key] = depth + 1
            priority = path_weight * (depth + 1) + estimate
            heapq.heappush(
                queue,
                (priority, estimate, generated, depth + 1, successor, successor_key, (path, action), False),
            )
    return result(None, True)


def _never() -> bool:
    return False


def _unlink(path: Any) -> tuple[str, ...]:
    actions: list[str] = []
    while path is not None:
        path, action = path
        actions.append(action)
    return tuple(reversed(actions))
