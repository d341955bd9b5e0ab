"""The states of an environment, kept so that a search can come back to them."""

import hashlib
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, cast

from agentbank_jax.bank.replay import reset_options
from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.environments.heuristic_search import SearchableEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError

Stop = Literal["budget_steps", "budget_seconds"]


class Unrepeatable(Exception):
    """A state that its own actions do not lead to again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A state that has been reached.

    Fields:
      parent, action: where from, and how; None and empty at the start.
      depth: how many actions lead here.
      key: equal for equal states, and the name by which duplicates are known; None where nothing can follow.
      reward: of the action, what the episode is worth if it ends here.
      ended: whether nothing may follow: the episode is over, or as long as it may be.
      invalid: whether the environment refused the action.
      reached: whether the episode has ended with the reward that counts as success.
      saved: the environment's own snapshot; None where states are brought back by replay.
    """

    parent: "State | None"
    action: str
    depth: int
    key: Hashable
    reward: float
    ended: bool
    invalid: bool
    reached: bool
    saved: Any = None

    def path(self) -> "tuple[State, ...]":
        """The states from the start to this one, both included."""
        states: list[State] = []
        state: State | None = self
        while state is not None:
            states.append(state)
            state = state.parent
        return tuple(reversed(states))

    def actions(self) -> tuple[str, ...]:
        """The actions that lead from the start to this state."""
        return tuple(state.action for state in self.path()[1:])


class StateKeeper:
    """One problem's environment, whose states can be saved and brought back, whatever it offers for that.

    Where the environment has `snapshot()` and `restore()`, they are used; else a state is brought back by its actions,
    from `reset`. Coming back is put off until something is asked of the state, so that a search which goes straight on
    replays nothing.

    A state's key is the environment's own, if it has `state_key()`. Else it is a hash of the observation and the valid
    actions, which is a heuristic: states that look alike and differ in what is not seen are taken for one, so that a
    solution can be missed; and one state that was described in two ways counts as two, so that a search takes longer.

    The keeper has what `heuristic_search` asks of an environment.

    Args:
      spec: the environment's kind; its `success_threshold` is what success means.
      instance: the problem, which is set up.
      environment: is used, and not closed.
      budget: of the steps and seconds that `spent` compares with.
      snapshots: whether to use the environment's snapshots; None does where it has them.
      max_steps: the most actions of a solution, in place of `spec.max_steps` and of a limit that the problem has of its
        own; None leaves those.

    Attributes:
      limit: the most actions of a solution.
      start, state: the first state, and the present one.
      steps, nodes, duplicates: what was spent: calls of `step`, states expanded, and states dropped since their key
        had been reached in as few actions.
      stopped: which part of the budget has ended the search.

    Raises:
      AgentBankError: where the environment cannot list its valid actions.
      Unrepeatable: by whatever brings a state back, where the environment does something else the second time.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        instance: Instance,
        environment: TextEnvironment,
        *,
        budget: Budget,
        snapshots: bool | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.spec, self.instance, self.environment, self.budget = spec, instance, environment, budget
        has_snapshots = hasattr(environment, "snapshot") and hasattr(environment, "restore")
        self._snapshots = has_snapshots if snapshots is None else snapshots
        self._own_key = getattr(environment, "state_key", None)
        self._deadline = math.inf if budget.seconds is None else time.monotonic() + budget.seconds
        self.steps = self.nodes = self.duplicates = 0
        self.stopped: Stop | None = None
        self.limit = max_steps or spec.max_steps
        self._options = reset_options(instance, max_steps)
        observation, _ = environment.reset(options=self._options)
        self.start = self._at = self.state = self._state(None, "", observation, 0.0, False, False)

    # ---- what `heuristic_search` asks of an environment ----

    def snapshot(self) -> State:
        return self.state

    def restore(self, state: State) -> None:
        """Makes `state` the one that all else is about."""
        self.state = state

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """As of an environment; a state after which nothing may follow is the end. Its observation is left out."""
        state = self._follow(action)
        return "", state.reward, state.ended, False, {"invalid_action": state.invalid}

    # ---- what other searches ask ----

    def take(self, action: str) -> State:
        """Takes an action; returns the state that follows, which is then the present one."""
        return self._follow(action)

    def pass_on(self, action: str) -> State:
        """As `take`, where nobody will come back to the state that follows: it gets neither a key nor a snapshot.

        Of an engine that is slow to list its valid actions, this is many times faster.
        """
        return self._follow(action, kept=False)

    def expand(self) -> tuple[str, ...]:
        """The valid actions, to be tried one by one: counts as a node expanded."""
        self.nodes += 1
        return self.actions()

    def actions(self) -> tuple[str, ...]:
        """The valid actions."""
        self._arrive()
        return self._valid()

    def estimate(self, heuristic: Callable[[TextEnvironment, State], float]) -> float:
        """What a heuristic says of the present state."""
        self._arrive()
        return heuristic(self.environment, self.state)

    def spent(self) -> bool:
        """Whether the budget allows no further step from the present state; `stopped` then says which part of it."""
        if self.steps + self._steps_to_arrive() + 1 > self.budget.steps:
            self.stopped = "budget_steps"
        elif time.monotonic() > self._deadline:
            self.stopped = "budget_seconds"
        return self.stopped is not None

    # ---- within ----

    def _follow(self, action: str, *, kept: bool = True) -> State:
        before = self._arrive()
        observation, reward, terminated, truncated, info = self.environment.step(action)
        self.steps += 1
        over, invalid = terminated or truncated, bool(info.get("invalid_action"))
        state = self._state(before, action, observation, float(reward), over, invalid, kept=kept)
        self._at = self.state = state
        return state

    def _state(
        self,
        parent: State | None,
        action: str,
        observation: str,
        reward: float,
        over: bool,
        invalid: bool,
        *,
        kept: bool = True,
    ) -> State:
        depth = parent.depth + 1 if parent else 0
        kept = kept and not over and not invalid
        return State(
            parent=parent,
            action=action,
            depth=depth,
            key=self._key(observation) if kept else None,
            reward=reward,
            ended=over or depth >= self.limit,
            invalid=invalid,
            reached=over and not invalid and reward >= self.spec.success_threshold,
            saved=cast(SearchableEnvironment, self.environment).snapshot() if kept and self._snapshots else None,
        )

    def _key(self, observation: str) -> Hashable:
        if self._own_key is not None:
            return self._own_key()
        return hashlib.blake2b("\0".join([observation, *self._valid()]).encode(), digest_size=16).digest()

    def _valid(self) -> tuple[str, ...]:
        actions = self.environment.valid_actions()
        if actions is None:
            raise AgentBankError(
                f"{self.spec.name}: its valid actions cannot be listed, so it cannot be searched; expected an "
                "environment with a discrete action space."
            )
        return tuple(actions)

    def _arrive(self) -> State:
        """Brings the environment to the present state, which is returned."""
        if self._at is self.state:
            return self.state
        if self._snapshots:
            cast(SearchableEnvironment, self.environment).restore(self.state.saved)
        else:
            self.environment.reset(options=self._options)
            for state in self.state.path()[1:]:
                _, reward, terminated, truncated, info = self.environment.step(state.action)
                self.steps += 1
                if terminated or truncated or info.get("invalid_action") or reward != state.reward:
                    raise Unrepeatable(
                        f"step {state.depth}, {state.action!r}, did something else when it was taken again"
                    )
        self._at = self.state
        return self.state

    def _steps_to_arrive(self) -> int:
        return 0 if self._snapshots or self._at is self.state else self.state.depth
