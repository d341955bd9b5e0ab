"""Who has come up: each process reports to process 0, which waits for all of them or names the missing.

JAX's own start kills every process at the time limit and names none. So the roll is called before it, over the same
port, which is free until then. A report and its answer are one line of JSON each:

    {"process": 1, "of": 4, "host": "worker-1"}  ->  {"error": null}

The answer comes when all have reported, or at the time limit, where `error` is what every process ends with.
"""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable

from agentbank_jax.errors import AgentBankError

_RETRY_SECONDS = 0.2
# A process may report as late as process 0 waits, and its answer is then under way.
_ANSWER_SECONDS = 10.0
_MAX_NAMED = 16


def call_roll(
    address: str, index: int, count: int, timeout: float, *, host_of: Callable[[int], str | None] = lambda index: None
) -> None:
    """Returns once all processes are up.

    Args:
      address: host and port of process 0, as `10.0.0.1:8476`.
      index: this process, from 0.
      count: how many there are.
      timeout: seconds that process 0 waits for the others, and each of these for process 0.
      host_of: the host of a process that has not reported, where that is known.

    Raises:
      AgentBankError: some did not come up in time, which it names; or the processes contradict each other.
    """
    if index == 0:
        error = asyncio.run(_Roll(address, count, host_of).call(timeout))
    else:
        error = _report(address, index, count, timeout)
    if error:
        raise AgentBankError(error)


class _Roll:
    """What process 0 does."""

    def __init__(self, address: str, count: int, host_of: Callable[[int], str | None]) -> None:
        self._address, self._count, self._host_of = address, count, host_of
        self._present: dict[int, str] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._error: str | None = None
        self._decided = asyncio.Event()

    async def call(self, timeout: float) -> str | None:
        host, port = _bind_address(self._address)
        try:
            server = await asyncio.start_server(self._receive, host, port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise AgentBankError(
                f"--coordinator_address={self._address}: port {port} cannot be opened on this host ({reason}); "
                "expected a free port of the host of process 0."
            ) from None
        try:
            if self._count > 1:
                await asyncio.wait_for(self._decided.wait(), timeout)
        except TimeoutError:
            self._decide(self._absence(timeout))
        finally:
            server.close()
            await self._answer_all()
        return self._error

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            report = json.loads(await reader.readline())
            index, count, host = int(report["process"]), int(report["of"]), str(report["host"])
        except (ValueError, KeyError, TypeError, OSError):
            writer.close()  # some other program's connection
            return
        self._writers.add(writer)
        if count != self._count or not 0 < index < self._count:
            self._decide(
                f"process {index} of {count} ({host}) reported to process 0 of {self._count}; expected the same "
                "--num_processes everywhere, and each --process_id below it once."
            )
        elif index in self._present:
            self._decide(
                f"two processes are process {index} of {count} ({self._present[index]} and {host}); expected each "
                "--process_id once."
            )
        else:
            self._present[index] = host
            if len(self._present) == self._count - 1:
                self._decide(None)
        with contextlib.suppress(OSError):
            await reader.read()  # until it leaves
        if not self._decided.is_set():
            del self._present[index]
            self._writers.remove(writer)

    def _decide(self, error: str | None) -> None:
        if not self._decided.is_set():
            self._error = error
            self._decided.set()

    async def _answer_all(self) -> None:
        answer = json.dumps({"error": self._error}).encode() + b"\n"
        for writer in tuple(self._writers):
            with contextlib.suppress(OSError):
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()

    def _absence(self, timeout: float) -> str:
        missing = [index for index in range(1, self._count) if index not in self._present]
        named = [_name(index, self._host_of(index)) for index in missing[:_MAX_NAMED]]
        return (
            f"{_list(named, len(missing) - len(named))} of {self._count} did not come up within {timeout:g} s; look at "
            f"{'its log' if len(missing) == 1 else 'their logs'}, or raise --initialization_timeout."
        )


def _report(address: str, index: int, count: int, timeout: float) -> str | None:
    """Reports to process 0; returns its answer, or what kept it from answering."""
    host, port = split_address(address)
    report = json.dumps({"process": index, "of": count, "host": socket.gethostname()}).encode() + b"\n"
    deadline = time.monotonic() + timeout
    reason = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), timeout=left) as connection:
                connection.sendall(report)
                connection.settimeout(timeout + _ANSWER_SECONDS)
                answer = connection.makefile("rb").readline()
            if answer:
                return json.loads(answer)["error"]
            reason = "it ended"
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValueError, KeyError, TypeError):
            reason = "another program answers there, such as a run that has begun"
        time.sleep(_RETRY_SECONDS)
    return (
        f"process 0 of {count} did not come up at {address} within {timeout:g} s ({reason}), says process {index}; "
        "look at its log, check --coordinator_address, or raise --initialization_timeout."
    )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets.

    Raises:
      AgentBankError: the address has another form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        example = f"{host or address or '10.0.0.1'}:8476"
        raise AgentBankError(f"--coordinator_address={address}: expected HOST:PORT of process 0, such as {example}.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bind_address(address: str) -> tuple[str | None, int]:
    """Where process 0 listens: on all of the host's addresses, unless JAX is told otherwise."""
    bound = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS")
    return split_address(bound) if bound else (None, split_address(address)[1])


def _name(index: int, host: str | None) -> str:
    return f"{index} ({host})" if host else str(index)


def _list(names: Iterable[str], more: int) -> str:
    words = [*names, *([f"{more} more"] if more else [])]
    if len(words) == 1:
        return f"process {words[0]}"
    return f"processes {', '.join(words[:-1])} and {words[-1]}"
