"""Apache Beam in tests: whether it is there, and what its pipelines make."""

import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from agentbank_jax.beam_pipeline import BeamPipeline

needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed")


def count_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of files of each pipeline that runs from now on."""
    from agentbank_jax.beam_pipeline import BeamPipeline

    found: list[int] = []
    run = BeamPipeline._run

    def recorded(self: "BeamPipeline", work: Sequence[Any], *others: Any) -> None:
        found.append(len(work))
        run(self, work, *others)

    monkeypatch.setattr(BeamPipeline, "_run", recorded)
    return found


def hide_beam(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Lets Beam be missing for modules that import it."""
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    for name in ("agentbank_jax.beam_pipeline", *modules):
        monkeypatch.delitem(sys.modules, name, raising=False)
