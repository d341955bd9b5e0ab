"""A server on loopback that answers as a test wants, byte by byte; nothing of it is right by itself."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[socket.socket, dict[str, Any]], None]
"""Is given the connection and the request's body; what it has not closed is closed after it."""


@dataclass
class Hostile:
    """A server that runs.

    Fields:
      url: up to `/v1`.
      requests: the bodies that were read, in order.
      headers: of those, as they came.
      most: requests that were under way together.
    """

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    most: int = 0


def raw(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP answer."""
    # Each connection is for one request: another sent before it is closed would be an attempt that fails.
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def completion(content: object, **usage: int) -> bytes:
    """A chat completion as it should be."""
    value = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}], "usage": usage}
    return raw(200, json.dumps(value).encode(), "Content-Type: application/json")


def sends(*answers: bytes) -> Answer:
    """Sends one answer after the other, the last again and again."""
    left = list(answers)

    def answer(connection: socket.socket, body: dict[str, Any]) -> None:
        del body
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return answer


@contextlib.contextmanager
def hostile(answer: Answer) -> Iterator[Hostile]:
    """Runs a server that answers each connection's first request."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    server = Hostile(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
    lock, now = threading.Lock(), [0]
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            read = b""
            while b"\r\n\r\n" not in read:
                if not (part := connection.recv(1 << 16)):
                    return
                read += part
            head, _, body = read.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(1 << 16)
            with lock:
                now[0] += 1
                server.most = max(server.most, now[0])
                server.headers.append(head.decode())
                server.requests.append(json.loads(body))
            try:
                answer(connection, server.requests[-1])
            finally:
                with lock:
                    now[0] -= 1

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listening.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
