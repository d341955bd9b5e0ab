"""The one thread that owns the engine, and the replies as the event loop sees them.

  replies = thread.open(requests)
  try:
      while deltas := await replies.next():
          …
  finally:
      replies.close()

The engine blocks while it computes, so that it has a thread of its own, and nothing of the server waits for it: calls
go to it through a queue, and what it answers comes back with one `call_soon_threadsafe` a step or fewer.
"""

import asyncio
import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from agentbank_jax.generation.requests import Delta, EngineLoad, EngineStats, GenerationRequest, RequestError
from agentbank_jax.serving.errors import ApiError, engine_failed, invalid
from agentbank_jax.serving.limits import too_many

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """What the server needs of an engine; all calls come from one thread."""

    max_length: int
    slots: int
    stats: EngineStats

    def submit(self, request: GenerationRequest) -> None: ...

    def step(self) -> list[Delta]: ...

    def cancel(self, request_id: str) -> None: ...

    def load(self) -> EngineLoad: ...

    @property
    def busy(self) -> bool: ...


class Replies:
    """Replies to the requests of one client.

    What a slow client has not taken yet is kept as one delta a reply, so that no more is held for it than the replies
    are long.
    """

    def __init__(self, ids: Sequence[str], on_close: Callable[[Sequence[str]], None]) -> None:
        self.created = time.perf_counter()
        self._ids = ids
        self._on_close = on_close
        self._unfinished = set(ids)
        self._new: dict[int, list[Delta]] = {}
        self._failure: ApiError | None = None
        self._changed = asyncio.Event()

    async def next(self) -> list[tuple[int, Delta]]:
        """Waits for what is new: the request's index, and what came of its reply; nothing once all have ended.

        Raises:
          ApiError: the engine refused a request, or failed.
        """
        while not self._new and not self._failure and self._unfinished:
            self._changed.clear()
            await self._changed.wait()
        if self._failure:
            raise self._failure
        new, self._new = self._new, {}
        return [(index, _joined(deltas)) for index, deltas in new.items()]

    def put(self, delta: Delta) -> None:
        self._new.setdefault(self._ids.index(delta.request_id), []).append(delta)
        if delta.generation is not None:
            self._unfinished.discard(delta.request_id)
        self._changed.set()

    def fail(self, error: ApiError) -> None:
        self._failure = self._failure or error
        self._changed.set()

    def close(self) -> None:
        """Gives up what has not ended; its places are free at once."""
        self._on_close(self._ids)


def _joined(deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        request_id=deltas[0].request_id,
        ids=tuple(token for delta in deltas for token in delta.ids),
        text="".join(delta.text for delta in deltas),
        logprobs=tuple(each for delta in deltas for each in delta.logprobs),
        generation=deltas[-1].generation,
    )


class EngineThread:
    """Runs an engine.

    Fields:
      load, stats: of the engine after its last step.
      failure: what ended it; None while it runs.
    """

    def __init__(
        self, engine: Engine, *, queue_size: int, gather_seconds: float = 0.01, gather_most_seconds: float = 0.06
    ) -> None:
        """Makes ready.

        Args:
          engine: nobody else calls it from now on.
          queue_size: replies that may wait for a place.
          gather_seconds: how long an engine that was idle waits for further requests, so that those that come together
            begin together: one that begins alone stays ahead, and its end leaves a place empty for part of a step.
          gather_most_seconds: how long it waits at most for all of them.
        """
        self._gather_seconds, self._gather_most_seconds = gather_seconds, gather_most_seconds
        self.max_length = engine.max_length
        self.load = engine.load()
        self.stats = dataclasses.replace(engine.stats)
        self.failure: BaseException | None = None
        self._engine = engine
        self._queue_size = queue_size
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: dict[str, Replies] = {}
        self._serial = 0
        self._fresh: list[Delta] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def healthy(self) -> bool:
        return self.failure is None and self._thread.is_alive()

    @property
    def under_way(self) -> int:
        """Replies that have not ended, those that wait among them."""
        return len(self._open)

    def start(self) -> None:
        """Begins to take requests, on behalf of the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the step that it is in; replies under way are given up."""
        self.give_up()
        self._calls.put(None)
        self._thread.join()

    def give_up(self) -> None:
        """Tells all who wait for a reply that there will be none."""
        for replies in set(self._open.values()):
            replies.fail(ApiError(503, "The server stops, and the reply has not ended; ask again.", code="stopping"))

    def open(self, requests: Sequence[GenerationRequest]) -> Replies:
        """Begins replies; their ids are given here.

        Raises:
          ApiError: 429 where too many wait already, 400 where so many could never be taken in, 500 where the engine
            has failed.
        """
        if not self.healthy:
            raise engine_failed()
        places = self._engine.slots + self._queue_size
        if len(requests) > places:
            raise invalid(f"The request asks for {len(requests)} replies; expected at most {places}.", "n")
        waiting = max(0, self.under_way - self._engine.slots)
        if self.under_way + len(requests) > places:
            raise too_many(waiting, len(requests), self._queue_size)
        named = []
        for request in requests:
            self._serial += 1
            named.append(dataclasses.replace(request, id=f"r{self._serial}"))
        replies = Replies([request.id for request in named], self._close)
        for request in named:
            self._open[request.id] = replies
            self._calls.put(lambda request=request: self._submit(request))  # type: ignore[misc]
        return replies

    def _close(self, ids: Sequence[str]) -> None:
        for each in ids:
            if self._open.pop(each, None) is not None:
                self._calls.put(lambda each=each: self._engine.cancel(each))  # type: ignore[misc]

    def _deliver(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, []
        for delta in fresh:
            replies = self._open.get(delta.request_id)
            if replies is not None:
                replies.put(delta)
                if delta.generation is not None:
                    del self._open[delta.request_id]

    def _refuse(self, request_id: str, error: ApiError) -> None:
        replies = self._open.pop(request_id, None)
        if replies is not None:
            replies.fail(error)

    def _fail_all(self) -> None:
        for replies in set(self._open.values()):
            replies.fail(engine_failed())
        self._open.clear()

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while self._take_calls():
                self._hand_over(self._engine.step())
        except Exception as error:
            logger.exception("The engine has failed")
            self.failure = error
            self._tell(self._fail_all)

    def _take_calls(self) -> bool:
        """Does what was asked for, and waits for it where the engine has nothing to do; False at the end."""
        deadline = 0.0
        while True:
            self.load = self._engine.load()
            self.stats = dataclasses.replace(self._engine.stats)
            busy = self._engine.busy
            wait = min(self._gather_seconds, deadline - time.monotonic())
            try:
                call = self._calls.get(block=not busy or wait > 0, timeout=max(wait, 0.0) if busy else None)
            except queue.Empty:
                return True
            if call is None:
                return False
            if not busy:
                deadline = time.monotonic() + self._gather_most_seconds
            call()

    def _hand_over(self, deltas: Sequence[Delta]) -> None:
        """Gives deltas to the event loop, which takes all there are at once: it may be slower than the engine."""
        with self._lock:
            told = bool(self._fresh) or not deltas
            self._fresh += deltas
        if not told:
            self._tell(self._deliver)

    def _submit(self, request: GenerationRequest) -> None:
        try:
            self._engine.submit(request)
        except RequestError as error:
            self._tell(self._refuse, request.id, invalid(str(error)))
        except Exception:
            logger.exception("The engine could not take in a request")
            self._tell(self._refuse, request.id, ApiError(500, "The engine could not take in the request."))

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        # A loop that has ended has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)
