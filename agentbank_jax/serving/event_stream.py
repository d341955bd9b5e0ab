"""Answers in pieces: server-sent events, sent as fast as a client reads them."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentbank_jax.generation.requests import Delta
from agentbank_jax.serving.errors import ApiError, timed_out

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class InPieces(Protocol):
    """What a stream needs of an answer; see `service.Answer`."""

    @property
    def include_usage(self) -> bool:
        """Whether the last piece tells the tokens."""

    def first(self) -> list[dict[str, Any]]:
        """Pieces before any token."""

    def piece(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """Pieces that tell a delta."""

    def usage(self) -> dict[str, Any]:
        """The last piece of a stream, if wanted."""


class EventStream(Response):
    """Server-sent events of an answer in pieces.

    Where the client reads slowly, sending waits, and what the engine adds meanwhile goes into the next event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: list[tuple[int, Delta]],
        events: AsyncGenerator[list[tuple[int, Delta]], None],
        answer: InPieces,
        deadline: float,
        seconds: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        self._first, self._events, self._answer = first, events, answer
        self._deadline, self._seconds = deadline, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        try:
            async with asyncio.timeout_at(self._deadline):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await _race(self._send_all(send), receive)
        except ClientDisconnect:
            return
        except TimeoutError:
            await _send_error(timed_out(self._seconds), send)
        except ApiError as error:
            await _send_error(error, send)
        finally:
            await self._events.aclose()

    async def _send_all(self, send: Send) -> None:
        answer = self._answer
        pieces = answer.first()
        for index, delta in self._first:
            pieces += answer.piece(index, delta)
        await _send_pieces(pieces, send)
        async for new in self._events:
            await _send_pieces([piece for index, delta in new for piece in answer.piece(index, delta)], send)
        if answer.include_usage:
            await _send_pieces([answer.usage()], send)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


async def _send_pieces(pieces: Sequence[dict[str, Any]], send: Send) -> None:
    if pieces:
        body = b"".join(f"data: {json.dumps(piece, separators=(',', ':'))}\n\n".encode() for piece in pieces)
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send_error(error: ApiError, send: Send) -> None:
    """Tells an error in a stream that has begun; a client that does not read is not waited for."""
    try:
        async with asyncio.timeout(1):
            await _send_pieces([error.body], send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        logger.warning("A client that does not read was left: %s", error.message)


async def unless_gone(request: Request, work: Awaitable[_Result]) -> _Result:
    """Awaits work, and gives it up where the client leaves.

    Raises:
      ClientDisconnect: it has left.
    """
    return await _race(work, request.receive)


async def _race(work: Awaitable[_Result], receive: Receive) -> _Result:
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
