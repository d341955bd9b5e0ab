"""Plays many episodes at once, each at its own pace.

Whoever has a reply acts in its environment and asks for the next one, while others still wait
for theirs; a finished episode gives its place to the next at once. What an episode does depends
on itself alone, never on its neighbours.
"""

import time
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator

from agentbank_jax.agents.episode import Episode, Outcome
from agentbank_jax.agents.episode_run import EpisodeRun, Message
from agentbank_jax.agents.policy import Policy, Request
from agentbank_jax.environments.pool import EnvironmentPool, LocalPool, Place
from agentbank_jax.errors import AgentBankError

# Environments that answer at once are waited for: their next turns join the policy's round.
_SECONDS_OF_GRACE = 0.002


def roll_out(
    episodes: Iterable[Episode],
    policy: Policy,
    *,
    pool: EnvironmentPool | None = None,
    max_unparseable: int = 3,
    retries: int = 1,
) -> Generator[Outcome]:
    """Plays episodes and yields each as it ends.

    Args:
      episodes: begin in their order, but for those whose kind of environment has no room left.
      policy: at most `policy.capacity` episodes are under way at once.
      pool: holds the environments; in this process if None. It is left open.
      max_unparseable: a trial ends after so many replies in a row without an action.
      retries: how often an episode is played anew after its environment failed.

    An environment that fails, crashes or hangs ends its episode (`environment_error`) and no other; an
    exception in the policy is the caller's.
    """
    if max_unparseable < 1:
        raise AgentBankError(f"max_unparseable is {max_unparseable}; expected at least 1.")
    rollout = _Rollout(policy, pool or LocalPool(), max_unparseable, retries)
    try:
        yield from rollout.play(episodes)
    finally:
        rollout.abandon()


class _Rollout:
    """The episodes under way, and where each waits."""

    def __init__(self, policy: Policy, pool: EnvironmentPool, max_unparseable: int, retries: int) -> None:
        self._policy, self._pool = policy, pool
        self._max_unparseable, self._retries = max_unparseable, retries
        self._waiting: defaultdict[str, deque[Episode]] = defaultdict(deque)
        self._failures: dict[str, int] = defaultdict(int)
        self._places: dict[str, Place] = {}
        self._by_place: dict[Place, EpisodeRun] = {}
        self._by_conversation: dict[str, EpisodeRun] = {}
        self._asked = 0
        self._ended: list[Outcome] = []

    def play(self, episodes: Iterable[Episode]) -> Iterator[Outcome]:
        for episode in episodes:
            self._waiting[episode.spec.name].append(episode)
        while True:
            self._start()
            ended, self._ended = self._ended, []
            yield from ended
            if not self._places and not any(self._waiting.values()):
                return
            self._hear_environments()
            self._hear_policy()

    def abandon(self) -> None:
        """Gives back what is in use."""
        for run in list(self._by_place.values()):
            self._leave(run, broken=False)

    def _start(self) -> None:
        """Begins as many episodes as there is room for."""
        for waiting in self._waiting.values():
            while waiting and len(self._places) < self._policy.capacity and self._pool.has_room(waiting[0].spec):
                self._begin(waiting.popleft())

    def _begin(self, episode: Episode) -> None:
        started = time.perf_counter()
        try:
            instance = episode.instance()
        except Exception as error:  # making a problem may fail as its engine may; the others go on
            self._ended.append(_not_begun(episode, error, time.perf_counter() - started))
            return
        run = EpisodeRun(
            episode=episode, instance=instance, wants=self._policy.wants, max_unparseable=self._max_unparseable
        )
        place = self._places[episode.id] = self._pool.take(episode.spec)
        self._by_place[place] = run
        place.send(run.begin())

    def _hear_environments(self) -> None:
        if len(self._places) <= self._asked:
            return
        for place, answer in self._pool.answers(_SECONDS_OF_GRACE if self._asked else None):
            run = self._by_place[place]
            self._pass_on(run, run.conversation, run.take_answer(answer))

    def _hear_policy(self) -> None:
        if not self._asked:
            return
        for conversation, reply in self._policy.collect():
            self._asked -= 1
            run = self._by_conversation.pop(conversation)
            self._pass_on(run, conversation, run.take_reply(reply))

    def _pass_on(self, run: EpisodeRun, before: str, message: Message | None) -> None:
        if run.conversation != before:
            self._policy.release(before)
        if isinstance(message, Request):
            self._by_conversation[message.conversation] = run
            self._asked += 1
            self._policy.submit(message)
        elif message is not None:
            self._places[run.episode.id].send(message)
        else:
            self._end(run)

    def _end(self, run: EpisodeRun) -> None:
        failed = run.reason == "environment_error"
        self._leave(run, broken=failed)
        if failed and self._failures[run.episode.id] < self._retries:
            self._failures[run.episode.id] += 1
            self._waiting[run.episode.spec.name].appendleft(run.episode)
        else:
            self._ended.append(run.outcome())

    def _leave(self, run: EpisodeRun, *, broken: bool) -> None:
        if self._by_conversation.pop(run.conversation, None):
            self._asked -= 1
        self._policy.release(run.conversation)
        place = self._places.pop(run.episode.id)
        del self._by_place[place]
        self._pool.give_back(place, broken=broken)


def _not_begun(episode: Episode, error: Exception, seconds: float) -> Outcome:
    return Outcome(
        episode=episode,
        instance=None,
        turns=(),
        final_observation=None,
        reward=0.0,
        success=False,
        steps=0,
        invalid_actions=0,
        first_invalid=None,
        terminate_reason="environment_error",
        tokens=0,
        prompt_tokens=0,
        seconds=seconds,
        info={},
        error=f"{type(error).__name__}: {error}",
    )
