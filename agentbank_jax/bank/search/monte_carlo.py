"""Monte-Carlo tree search: UCT (Kocsis and Szepesvári 2006) for problems that are solved once and for all."""

import math
import random
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from agentbank_jax.bank.search.heuristics import heuristic_called
from agentbank_jax.bank.search.keeper import State, StateKeeper
from agentbank_jax.bank.search.searcher import Nothing, given_up
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.text_game import solution
from agentbank_jax.errors import AgentBankError, did_you_mean

Backup = Literal["mean", "max"]
BACKUPS: tuple[Backup, ...] = ("mean", "max")


@dataclass(frozen=True, kw_only=True)
class MonteCarlo:
    """Grows a tree where its random plays have been worth most, and ends with the first that reaches the reward.

    A play is worth the highest reward on its way, so that an environment which gives reward before the end draws the
    tree there. Where it gives none, a heuristic `h` says what the states of a play are worth: `discount ** h`.
    Each state is in the tree once; what has been tried out is left out of it, so that a small problem is exhausted.
    Idle detours are cut from what is found, but it need not be shortest.

    Fields:
      seed: of the order in which actions are tried and of the random plays.
      exploration: the constant of UCB1. The published one, the square root of 2, is for rewards left to chance.
      rollout: the most random actions after a new state.
      heuristic: a name in `HEURISTICS`; None where the rewards show the way.
      discount: in (0, 1).
      backup: what a node is worth: the `mean` of its plays, as published, or the best of them (`max`), since nothing is
        left to chance here.

    Raises:
      AgentBankError: on an unknown heuristic or backup, or a value out of range.
    """

    seed: int = 0
    exploration: float = 0.5
    rollout: int = 10
    heuristic: str | None = None
    discount: float = 0.8
    backup: Backup = "max"

    def __post_init__(self) -> None:
        if self.heuristic is not None:
            heuristic_called(self.heuristic)
        if self.exploration < 0:
            raise AgentBankError(f"Monte-Carlo tree search: exploration is {self.exploration}; expected 0 or more.")
        if self.rollout < 0:
            raise AgentBankError(f"Monte-Carlo tree search: rollout is {self.rollout}; expected 0 or more actions.")
        if self.backup not in BACKUPS:
            known = did_you_mean(self.backup, BACKUPS)
            raise AgentBankError(f"Monte-Carlo tree search: no backup is called '{self.backup}'.{known}")
        if not 0 < self.discount < 1:
            raise AgentBankError(f"Monte-Carlo tree search: discount is {self.discount}; expected between 0 and 1.")

    @property
    def name(self) -> str:
        return f"Monte-Carlo, {self.heuristic}" if self.heuristic else "Monte-Carlo"

    def find(self, keeper: StateKeeper) -> tuple[ExpertStep, ...] | Nothing:
        goal = _Tree(self, keeper).grow()
        return given_up(keeper) if goal is None else tuple(solution(_without_detours(keeper, goal)))


@dataclass(eq=False)
class _Node:
    state: State
    parent: "_Node | None" = None
    untried: list[str] | None = None  # not listed yet
    children: "list[_Node]" = field(default_factory=list)
    visits: int = 0
    mean: float = 0.0
    best: float = 0.0


class _Tree:
    def __init__(self, settings: MonteCarlo, keeper: StateKeeper) -> None:
        self._settings, self._keeper = settings, keeper
        self._heuristic = heuristic_called(settings.heuristic) if settings.heuristic else None
        # A string seeds `Random` by its SHA-512, the same in every process.
        self._rng = random.Random(f"{settings.seed}/{keeper.instance.id}")
        self._root = _Node(keeper.start)
        self._depths: dict[Hashable, int] = {keeper.start.key: 0}

    def grow(self) -> State | None:
        """Returns the first state that reaches the reward; None where the budget or the tree ends before."""
        while not self._keeper.stopped:
            node = self._select()
            if node is None:
                return None
            goal, child = self._expand(node)
            if goal is not None:
                return goal
            if child is not None:
                worth, goal = self._play(child.state)
                if goal is not None:
                    return goal
                self._record(child, worth)
        return None

    def _select(self) -> _Node | None:
        """The node to expand: by UCB1 from the root; None where all has been tried."""
        node = self._root
        while node.untried is not None and not node.untried:
            if node.children:
                node = max(node.children, key=self._bound)
            elif node.parent is None:
                return None
            else:  # nothing is left beneath it
                node.parent.children.remove(node)
                node = node.parent
        return node

    def _bound(self, node: _Node) -> float:
        assert node.parent is not None
        explore = math.sqrt(math.log(node.parent.visits) / node.visits)
        worth = node.best if self._settings.backup == "max" else node.mean
        return worth + self._settings.exploration * explore

    def _expand(self, node: _Node) -> tuple[State | None, _Node | None]:
        """Tries actions until one leads to a new state: a goal, and the node of another."""
        keeper = self._keeper
        keeper.restore(node.state)
        if keeper.spent():
            return None, None
        if node.untried is None:
            node.untried = list(keeper.expand())
            self._rng.shuffle(node.untried)
        while node.untried:
            keeper.restore(node.state)
            if keeper.spent():
                break
            state = keeper.take(node.untried.pop())
            if state.reached:
                return state, None
            if state.ended or state.invalid:
                continue
            if self._depths.get(state.key, state.depth + 1) <= state.depth:
                keeper.duplicates += 1
                continue
            self._depths[state.key] = state.depth
            child = _Node(state, node)
            node.children.append(child)
            return None, child
        return None, None

    def _play(self, state: State) -> tuple[float, State | None]:
        """What a random play from here is worth, and the goal that it has met, if any."""
        keeper = self._keeper
        worth = self._worth()
        for _ in range(self._settings.rollout):
            actions = () if state.ended or keeper.spent() else keeper.actions()
            if not actions:
                break
            following = keeper.take(self._rng.choice(actions))
            if following.reached:
                return 1.0, following
            if following.ended or following.invalid:
                worth = max(worth, following.reward if self._heuristic is None else 0.0)
                break
            state = following
            worth = max(worth, self._worth())
        return worth, None

    def _worth(self) -> float:
        keeper = self._keeper
        if self._heuristic is None:
            return keeper.state.reward
        return self._settings.discount ** keeper.estimate(self._heuristic)

    def _record(self, node: _Node, worth: float) -> None:
        above: _Node | None = node
        while above is not None:
            above.visits += 1
            above.mean += (worth - above.mean) / above.visits
            above.best = max(above.best, worth)
            above = above.parent


def _without_detours(keeper: StateKeeper, goal: State) -> tuple[str, ...]:
    """The actions to a goal, less those between two states of one key, where the rest still reaches it."""
    path = goal.path()
    last = {state.key: position for position, state in enumerate(path[:-1])}
    actions: list[str] = []
    position = 0
    while position < len(path) - 1:
        position = last[path[position].key] + 1
        actions.append(path[position].action)
    if len(actions) == goal.depth:
        return goal.actions()
    # States of one key may differ in what is not seen.
    keeper.restore(keeper.start)
    for action in actions:
        if keeper.spent():
            break
        if keeper.take(action).reached:
            return tuple(actions)
        if keeper.state.ended or keeper.state.invalid:
            break
    return goal.actions()
