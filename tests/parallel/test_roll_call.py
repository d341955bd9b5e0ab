"""The roll that is called before JAX starts: threads stand for processes."""

import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.roll_call import call_roll, split_address
from tests.parallel.processes import free_port


def call(port: int, *processes: tuple[int, int], timeout: float = 20.0) -> list[str | None]:
    """Calls the roll by (index, count) of each process; returns the errors."""

    def one(index: int, count: int) -> str | None:
        try:
            call_roll(f"127.0.0.1:{port}", index, count, timeout, host_of=lambda index: f"host-{index}")
        except AgentBankError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(processes)) as pool:
        return [future.result() for future in [pool.submit(one, *process) for process in processes]]


def connect(port: int) -> socket.socket:
    """A connection to process 0, once it listens."""
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.02)
    raise AssertionError("process 0 does not listen")


def test_all_go_on_once_all_are_there_and_the_port_is_free_again() -> None:
    port = free_port()
    assert call(port, *[(index, 40) for index in reversed(range(40))]) == [None] * 40
    socket.create_server(("127.0.0.1", port)).close()


def test_missing_ones_are_named_with_their_hosts() -> None:
    errors = call(free_port(), (0, 4), (1, 4), timeout=0.5)
    assert len(set(errors)) == 1
    assert str(errors[0]).startswith("processes 2 (host-2) and 3 (host-3) of 4 did not come up within 0.5 s")


def test_of_a_large_pod_the_first_missing_ones_are_named() -> None:
    [error] = call(free_port(), (0, 256), timeout=0.1)
    assert "16 (host-16) and 239 more of 256" in str(error) and "17 (" not in str(error)


@pytest.mark.parametrize("others", [[(1, 3), (1, 3)], [(1, 2)], [(3, 3)]])
def test_processes_that_contradict_each_other_all_end_at_once(others: list[tuple[int, int]]) -> None:
    start = time.monotonic()
    errors = call(free_port(), (0, 3), *others)
    assert time.monotonic() - start < 5 and len(set(errors)) == 1
    assert "expected" in str(errors[0]) and f"process {others[0][0]} of {others[0][1]}" in str(errors[0])


def test_one_that_died_after_its_report_is_missing() -> None:
    port = free_port()
    with ThreadPoolExecutor() as pool:
        coordinator: Future = pool.submit(call, port, (0, 3), timeout=2)
        with connect(port) as dying:
            dying.sendall(b'{"process": 1, "of": 3, "host": "a"}\n')
        [error] = coordinator.result()
    assert str(error).startswith("processes 1 (host-1) and 2 (host-2) of 3")


def test_connections_of_other_programs_are_ignored() -> None:
    port = free_port()
    with ThreadPoolExecutor() as pool:
        coordinator = pool.submit(call, port, (0, 2))
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process": null}\n', b"\xff\n", b"x" * 100_000, b""):
            with connect(port) as stranger:
                stranger.sendall(noise)
        assert call(port, (1, 2)) == [None] and coordinator.result() == [None]


def test_a_port_where_another_program_answers_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"\x00\x00\x12\x04\n")
                    connection.recv(100)

        thread = threading.Thread(target=answer)
        thread.start()
        [error] = call(server.getsockname()[1], (1, 2), timeout=0.3)
        thread.join()
    assert "another program answers there" in str(error)


@pytest.mark.parametrize(("text", "parts"), [("host:1", ("host", 1)), ("[::1]:65535", ("::1", 65535))])
def test_an_address_is_a_host_and_a_port(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:1e3", "host:²"])
def test_any_other_address_is_refused(text: str) -> None:
    with pytest.raises(AgentBankError, match="expected HOST:PORT"):
        split_address(text)
