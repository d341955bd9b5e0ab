"""Runs beside each other: what is shown of them, and in a page that nothing in them can harm."""

import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from agentbank_jax.configuration.settings import read_settings
from agentbank_jax.errors import AgentBankError
from agentbank_jax.training.comparison import Comparison, compare
from agentbank_jax.training.comparison_page import COLOURS, to_html
from tests.pages import check_page
from tests.training.made_run_folders import make_run


def comparison_of(*folders: Path) -> Comparison:
    return compare(list(map(str, folders)), read_settings)


def test_runs_are_called_by_as_much_of_their_paths_as_tells_them_apart(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / name, [1.0]) for name in ("a/run", "b/run", "b/other")]
    assert [run.name for run in comparison_of(*paths[1:]).runs] == ["run", "other"]
    assert [run.name for run in comparison_of(*paths).runs] == ["a/run", "b/run", "b/other"]


def test_the_metrics_that_two_runs_share_are_compared_losses_first_and_others_named(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [1.0], extra={"mfu": 0.5, "eval/loss": 2.0, "own": 1})
    two = make_run(tmp_path / "two", [1.0], extra={"mfu": 0.5, "eval/loss": 2.0})
    both = comparison_of(one, two)
    assert both.metrics == ("loss", "eval/loss", "tokens", "seconds/total", "mfu")
    assert both.tables()[1].notes == ("of one run alone: own",)
    assert "own" in comparison_of(one).metrics


def test_the_last_finite_value_of_each_metric_is_in_the_table(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [3.0, 1.23456])
    two = make_run(tmp_path / "two", [2.0, None], extra={"mfu": None})
    rows = {name: cells for name, *cells in comparison_of(one, two).tables()[1].rows}
    assert rows["loss"] == ["1.235", "2"] and rows["tokens"] == ["2,000", "2,000"]


def test_settings_that_differ_are_shown_and_equal_ones_are_not(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [1.0], settings="A.same = 1\nA.steps = 10\nA.only = 'x'\n")
    two = make_run(tmp_path / "two", [1.0], settings="A.same = 1\nA.steps = 20\n")
    damaged = make_run(tmp_path / "three", [1.0], settings="A.steps = [")
    (table,) = comparison_of(one, two).tables()[2:]
    assert table.rows == (("A.only", "'x'", "\N{EN DASH}"), ("A.steps", "10", "20"))
    (table,) = comparison_of(one, two, damaged).tables()[2:]
    assert table.rows[1] == ("A.steps", "10", "20", "\N{EN DASH}") and "not known of three" in table.notes[0]
    same = make_run(tmp_path / "four", [1.0], settings="A.same = 1\nA.steps = 10\nA.only = 'x'\n")
    (table,) = comparison_of(one, same).tables()[2:]
    assert table.rows == () and table.notes == ("no setting differs",)


def test_the_record_of_a_run_says_on_what_it_ran_and_how_it_ended(tmp_path: Path) -> None:
    one, two = (make_run(tmp_path / name, [1.0]) for name in ("one", "two"))
    start = {"devices": {"TPU v5e": 16}, "git": {"revision": "a" * 40, "dirty": True}}
    (one / "run.json").write_text(json.dumps({"starts": [{}, {**start, "end": {"how": "finished"}}]}))
    (two / "run.json").write_text("{")
    rows = comparison_of(one, two).tables()[0].rows
    assert rows[0] == ("one", "16 x TPU v5e", "aaaaaaaaaaaa (changed)", "finished", "2", "10")
    assert rows[1] == ("two", *("\N{EN DASH}",) * 4, "10")


def test_curves_go_by_steps_tokens_and_seconds(tmp_path: Path) -> None:
    (run,) = comparison_of(make_run(tmp_path / "one", [3.0, 2.0, 1.0])).runs
    steps = np.array([0.0, 5.0, 20.0, 30.0])
    assert [run.places(steps, axis).tolist() for axis in ("step", "tokens", "seconds")] == [
        [0, 5, 20, 30],
        [0, 500, 2000, 3000],
        [0, 10, 40, 60],
    ]


def test_a_run_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    make_run(tmp_path / "baseline", [1.0])
    with pytest.raises(AgentBankError, match=r"baselin: no such run\. Did you mean '.*baseline'\?"):
        comparison_of(tmp_path / "baselin")
    with pytest.raises(AgentBankError, match=r"holds runs, and is none; expected one or more of them: .*baseline"):
        comparison_of(tmp_path)


@pytest.mark.parametrize("content", [None, "", '{"step": 1, "lo'])
def test_a_run_without_metrics_yet_is_told_when_it_will_have_some(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "run").mkdir()
    if content is not None:
        (tmp_path / "run" / "metrics.jsonl").write_text(content)
    with pytest.raises(AgentBankError, match=r"run: no metrics yet; .* TrainConfig\.log_every"):
        comparison_of(tmp_path / "run")


def test_a_run_that_is_named_twice_or_lies_in_a_bucket_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [1.0])
    with pytest.raises(AgentBankError, match="named 2 times"):
        comparison_of(run, tmp_path / "." / "run")
    with pytest.raises(AgentBankError, match="only local folders"):
        compare(["gs://bucket/run"], read_settings)


def test_the_page_holds_every_view_of_every_metric_and_needs_nothing_beside_it(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [3.0, 2.0, 1.0], settings="A.b = 1\n")
    two = make_run(tmp_path / "two", [4.0, -1.0, float("nan")], settings="A.b = 2\n")
    both = comparison_of(one, two)
    text = to_html(both)
    assert {"svg", "input", "table"} <= check_page(text)
    for axis in ("step", "tokens", "seconds"):
        for scale in ("linear", "logarithmic"):
            assert text.count(f'<div class="view x-{axis} y-{scale}">') == len(both.metrics)
    # A curve and its two smoothed forms, of each run, in each of six views.
    assert len(re.findall(r'<path class="run-\d smooth-\d"', text)) == 2 * 3 * 6 * len(both.metrics)
    assert "Settings in which they differ" in text and text.count("checked") > 3


def test_a_choice_hides_the_other_views_and_its_own_stays(tmp_path: Path) -> None:
    text = to_html(comparison_of(make_run(tmp_path / "one", [3.0, 2.0])))
    for name, choices in (("x", ("step", "tokens", "seconds")), ("y", ("linear", "logarithmic"))):
        for number, choice in enumerate(choices):
            assert f'id="{name}-{number}"' in text
            assert f"body:has(#{name}-{number}:checked) .view:not(.{name}-{choice}) {{ display: none; }}" in text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><b>",
    "[red]a[/nothing]",
    "a&amp;b\x1b[2J",
    "</title><form action=x>",
)


def test_hostile_names_of_runs_metrics_and_settings_are_text_and_nothing_else(tmp_path: Path) -> None:
    folders = [
        make_run(
            tmp_path / str(number) / name.replace("/", "\N{DIVISION SLASH}"),
            [1.0, 2.0],
            extra=dict.fromkeys(HOSTILE, 1.0),
            settings=f"A.b = {name + str(number)!r}\n",
        )
        for number, name in enumerate(HOSTILE)
    ]
    comparison = comparison_of(*folders)
    text = to_html(comparison)
    plain = to_html(comparison_of(*(make_run(tmp_path / f"plain{i}", [1.0, 2.0], settings=f"A.b={i}") for i in (1, 2))))
    assert check_page(text) == check_page(plain)
    assert "\x1b" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    terminal = Console(file=io.StringIO(), width=1000)
    for table in comparison.tables():
        terminal.print(table.to_rich())
    shown = terminal.file.getvalue()
    assert "\x1b" not in shown and shown.count("[red]a[") > 3


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) with the relative luminances L."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_curve_can_be_seen_on_a_light_and_on_a_dark_page(tmp_path: Path) -> None:
    text = to_html(comparison_of(make_run(tmp_path / "run", [1.0])))
    light, dark = re.findall(r"--back: (#\w{6})", text)
    for on_light, on_dark in COLOURS:
        assert contrast(on_light, light) >= 3 and contrast(on_dark, dark) >= 3
        assert on_light in text and on_dark in text
    assert len({*COLOURS}) == len(COLOURS) == 10


def test_more_runs_than_colours_are_told_apart_by_dashes(tmp_path: Path) -> None:
    text = to_html(comparison_of(*(make_run(tmp_path / f"run{number}", [1.0, 2.0]) for number in range(12))))
    styles = re.findall(r"svg \.run-\d+ (\{ stroke: .*?\})", text)
    assert len(styles) == len({*styles}) == 12


def test_long_runs_keep_their_spikes_and_make_a_page_that_opens(tmp_path: Path) -> None:
    """Ten runs of 10,000 records, with as many metrics as two of a real one's."""
    losses = np.random.default_rng(0).normal(3, 0.01, 10_000)
    losses[6_543] = 50
    folders = [make_run(tmp_path / f"run{number}", losses.tolist(), every=1) for number in range(10)]
    began = time.process_time()
    comparison = comparison_of(*folders)
    text = to_html(comparison)
    assert time.process_time() - began < 20
    assert len(text) < 400_000 * len(comparison.metrics)
    first = re.search(r'<path class="run-0 smooth-0" d="M(\d+) (\d+) l([^"]*)"', text)
    ways = np.array(first[3].split(), int).reshape(-1, 2)
    places = np.array([int(first[1]), int(first[2])]) + np.cumsum(ways, axis=0)
    # In half units: the spike reaches the top of the picture, all else lies near its bottom, 480 below.
    top = places[places[:, 1].argmin()]
    assert top[1] < 30 and abs(top[0] - 2 * 660 * 6_543 / 9_999) < 2 and np.median(places[:, 1]) > 400
