"""What the tests of the web environments share."""

import functools

import pytest

from agentbank_jax.environments import browser_process


@functools.cache
def _missing() -> str | None:
    return browser_process.missing()


def need_browser() -> None:
    """Skips a test where no Chromium can be driven."""
    reason = _missing()
    if reason:
        pytest.skip(reason)
