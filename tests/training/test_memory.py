"""Memory is that of the fullest device, or of the process where its devices do not tell."""

import jax
import pytest

from agentbank_jax.training.memory import memory_in_use


class Device:
    """A device that tells what it is given."""

    def __init__(self, stats: dict[str, int] | None):
        self._stats = stats

    def memory_stats(self) -> dict[str, int] | None:
        return self._stats


def test_the_fullest_device_counts_with_the_part_that_it_has_used(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = [{"peak_bytes_in_use": peak, "bytes_in_use": 1, "bytes_limit": 200} for peak in (50, 150)]
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(each) for each in (*stats, None)])
    assert memory_in_use() == {"device_memory_peak_bytes": 150, "device_memory_peak_fraction": 0.75}
    monkeypatch.setattr(jax, "local_devices", lambda: [Device({"bytes_in_use": 70})])
    assert memory_in_use() == {"device_memory_peak_bytes": 70}


def test_a_cpu_tells_nothing_and_the_process_counts() -> None:
    before = memory_in_use()["process_memory_bytes"]
    block = bytearray(b"x") * (64 << 20)
    grown = memory_in_use()["process_memory_bytes"] - before
    assert 0.9 * len(block) < grown < 3 * len(block)
