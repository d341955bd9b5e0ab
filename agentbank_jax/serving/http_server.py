"""The HTTP server around the application, and how it ends."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI

# Seconds to send what clients are told in place of the rest of their replies.
_LAST_WORDS = 2


class HttpServer(uvicorn.Server):
    """Speaks HTTP for an application of `create_app`.

    At SIGTERM or Ctrl-C it takes no more connections; replies under way have `grace` seconds to end, and those that
    have not are told so.
    """

    def __init__(self, app: FastAPI, *, grace: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                log_level="info",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=grace + _LAST_WORDS,
            )
        )
        self._grace = grace
        self._thread = app.state.service.thread

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        given_up = asyncio.get_running_loop().call_later(self._grace, self._thread.give_up)
        try:
            await super().shutdown(sockets)
        finally:
            given_up.cancel()
