"""The display of a run: live on a terminal, plain lines elsewhere."""

import io
import sys

import pytest
from rich.console import Console

from agentbank_jax.training.progress import TrainingProgress, duration, make_console

VALUES = {
    "loss": 1.25,
    "epoch": 0.5,
    "tokens_per_second": 12345.6,
    "mfu": 0.4567,
    "packing_fill": 0.97,
    "goodput": 0.875,
    "eta_seconds": 3723.0,
    "device_memory_peak_bytes": 61.23e9,
    "device_memory_peak_fraction": 0.77,
    "bad_steps": 0,
    "rollbacks": 0,
}


def lines_of(values, *, saved: int | None = None, start: int = 0) -> list[str]:
    output = io.StringIO()
    with TrainingProgress(400, start, Console(file=output, width=80)) as progress:
        if saved:
            progress.saved(saved)
        progress.advance(90)
        progress.report(100, values)
    return output.getvalue().split("\n")[:-1]


def test_without_a_terminal_an_interval_is_one_line_with_every_figure() -> None:
    (line,) = lines_of(VALUES, saved=50)
    assert line == (
        "step 100/400  epoch 0.50  loss 1.2500  12,346 tokens/s  MFU 45.7%  fill 97%  memory 61.2 GB (77%)  "
        "goodput 87.5%  checkpoint 50  ETA 1:02:03"
    )


def test_bad_steps_and_rollbacks_are_shown_where_there_were_any() -> None:
    (line,) = lines_of({**VALUES, "bad_steps": 3, "rollbacks": 1})
    assert "bad steps 3  rollbacks 1" in line and "bad" not in lines_of(VALUES)[0]


def test_the_loss_of_an_interval_of_bad_steps_is_no_number() -> None:
    assert "loss not finite" in lines_of({**VALUES, "loss": float("nan")})[0]


def test_the_memory_of_the_process_stands_where_devices_do_not_tell() -> None:
    values = {name: value for name, value in VALUES.items() if "memory" not in name}
    assert "memory 2.5 GB  " in lines_of({**values, "process_memory_bytes": 2.5e9})[0]
    assert "memory" not in lines_of(values)[0]


def test_the_last_checkpoint_is_that_from_which_the_run_went_on_or_none() -> None:
    assert "checkpoint none" in lines_of(VALUES)[0]
    assert "checkpoint 80" in lines_of(VALUES, start=80)[0]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_on_a_terminal_no_figure_is_cut_or_broken_over_lines(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    with TrainingProgress(400, 0, console) as progress:
        progress.report(100, {**VALUES, "bad_steps": 3, "rollbacks": 1})
        progress.say("a line above")
    shown = output.getvalue()
    assert "\x1b[" in shown and "a line above" in shown
    last = shown[shown.rindex("training") :]
    lines = last.split("\n")
    assert "100/400" in lines[0] and "ETA 1:02:03" in lines[0]
    figures = ["loss 1.2500", "12,346 tokens/s", "MFU 45.7%", "memory 61.2 GB (77%)", "goodput 87.5%", "rollbacks 1"]
    assert all(any(figure in line for line in lines) for figure in figures)
    assert all(len(line.split("\x1b")[0].rstrip()) <= width for line in lines)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_a_pipe_gets_no_control_codes_whatever_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with TrainingProgress(400, 0, make_console()) as progress:
        progress.report(100, VALUES)
    assert "\x1b" not in pipe.getvalue() and pipe.getvalue().startswith("step 100/400")


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    output = io.StringIO()
    with TrainingProgress(400, 0, Console(file=output, force_terminal=True)) as progress:
        progress.report(100, VALUES)
    assert output.getvalue().startswith("step 100/400")


def test_durations_read_as_clocks() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]
