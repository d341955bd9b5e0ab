"""Progress is shown without a terminal as a line every few seconds, and on one as a bar."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from agentbank_jax import progress
from agentbank_jax.progress import Extent, Progress


class Clock:
    """A monotonic clock that stands until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_without_a_terminal_it_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, output = Clock(monkeypatch), io.StringIO()
    with Progress("trajectories", Console(file=output, width=20)) as shown:
        for seconds, fraction, count in [
            (0.0, 0.0, 0),
            (1.0, 0.02, 100),
            (10.0, 0.25, 1000),
            (11.0, 0.3, 1100),
            (20.0, 0.5, 2000),
        ]:
            clock.now = seconds
            shown(fraction, count)
    assert output.getvalue() == "25%, 1,000 trajectories, 100/s, 30 s left\n50%, 2,000 trajectories, 100/s, 20 s left\n"


def test_work_that_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    output = io.StringIO()
    with Progress("trajectories", Console(file=output)) as shown:
        shown(0.5, 1)
        shown(1.0, 2)
    assert output.getvalue() == ""


def test_each_of_several_pieces_of_work_tells_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, output = Clock(monkeypatch), io.StringIO()
    with Progress("episodes", Console(file=output)) as shown:
        for seconds, fraction, count, label in [
            (0, 0, 0, "[a]"),
            (1, 0, 0, "b"),
            (2, 1, 50, "[a]"),
            (4, 1, 7, "b"),
            (5, 1, 7, "b"),
        ]:
            clock.now = seconds
            shown(fraction, count, label)
    assert output.getvalue() == "[a]: 50 episodes in 2.0 s\nb: 7 episodes in 3.0 s\n"


def test_what_was_done_before_counts_for_neither_rate_nor_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, output = Clock(monkeypatch), io.StringIO()
    with Progress("episodes", Console(file=output)) as shown:
        shown(0.5, 100, "a")
        clock.now = 10.0
        shown(0.75, 150, "a")
        clock.now = 40.0
        shown(0.8, 160, "a")
    assert output.getvalue() == "a: 75%, 150 episodes, 5.0/s, 10 s left\na: 80%, 160 episodes, 1.5/s, 27 s left\n"


def test_on_a_terminal_there_is_a_bar_for_each_piece_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, output = Clock(monkeypatch), io.StringIO()
    with Progress("episodes", Console(file=output, force_terminal=True, width=100)) as shown:
        for seconds, done in ((0.0, 0.0), (1.0, 0.5), (1.01, 0.6)):
            clock.now = seconds
            shown(done, int(20 * done), "[a]")
            shown(done / 2, int(8 * done), "b")
    bars = output.getvalue()
    assert "[a]" in bars and "50%" in bars and "10 episodes, 10/s" in bars and "25%" in bars
    # Redrawing costs more than a row.
    assert "12 episodes" not in bars


def test_files_count_by_their_sizes_and_one_that_is_gone_for_next_to_nothing(tmp_path: Path) -> None:
    for name, size in (("a", 300), ("b", 100)):
        (tmp_path / name).write_bytes(bytes(size))
    extent = Extent([tmp_path / "a", tmp_path / "b"])
    assert [extent.fraction(0, 0.5), extent.fraction(1, 0.0), extent.fraction(1, 1.0)] == [0.375, 0.75, 1.0]
    assert Extent([tmp_path / "none"]).fraction(0, 0.5) == 0.5
