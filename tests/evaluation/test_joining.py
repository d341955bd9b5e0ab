"""What is comparable stands in one row, and what is not never does."""

from dataclasses import replace

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.joining import Source, join
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.sweep_result import Column, SweepResult
from agentbank_jax.evaluation.tables import success_table
from tests.evaluation.made_sweep import make_record, make_result

Y, N = True, False


def joined(*results: SweepResult, base: str | None = None) -> Sheet:
    (sheet,) = join([Source(run=f"run{number}", result=result) for number, result in enumerate(results)], base=base)
    return sheet


def names(sheet: Sheet) -> list[str]:
    return [player.name for player in sheet.players]


def test_runs_stand_side_by_side_and_what_played_alike_is_one_column() -> None:
    one = make_result({"a": {"t": [Y, N]}, "random": {"t": [N, Y]}})
    two = make_result({"b": {"t": [Y, Y]}, "random": {"t": [N, Y]}})
    sheet = joined(one, two)
    assert names(sheet) == ["a", "random", "b"]
    (row,) = sheet.rows
    assert [row.cells[name].summary.success_rate for name in names(sheet)] == [0.5, 0.5, 1.0]


def test_models_of_one_name_that_played_otherwise_get_the_names_of_their_runs() -> None:
    one, two = make_result({"m": {"t": [Y, N]}}), make_result({"m": {"t": [Y, Y]}}, record={"key": "another"})
    assert names(joined(one, two)) == ["m (run0)", "m (run1)"]


def test_each_model_is_compared_with_the_base_of_its_own_run() -> None:
    results = [
        make_result({"m": {"t": [Y]}, "untrained": {"t": [N]}}, record={"key": str(number)}) for number in range(2)
    ]
    sheet = joined(*results)
    assert {player.name: player.base for player in sheet.players} == {
        "m (run0)": "untrained (run0)", "untrained (run0)": None, "m (run1)": "untrained (run1)",
        "untrained (run1)": None,
    }  # fmt: skip


def test_a_base_by_name_wins_and_an_unknown_one_is_named() -> None:
    results = [make_result({"a": {"t": [Y]}, "untrained": {"t": [N]}}), make_result({"b": {"t": [Y]}})]
    sheet = joined(*results, base="a")
    assert {player.name: player.base for player in sheet.players} == {"a": None, "untrained": None, "b": "a"}
    with pytest.raises(AgentBankError, match=r"--base=untraind: nobody of that name played\. Did you mean 'untrained'"):
        joined(*results, base="untraind")


def test_a_model_under_several_agents_is_compared_with_the_base_under_the_same() -> None:
    result = make_result({"m, react": {"t": [Y]}, "m, act": {"t": [Y]}, "b, react": {"t": [N]}, "b, act": {"t": [N]}})
    columns = tuple(
        Column(model=column.name.split(",")[0], agent=column.name.split(", ")[1], name=column.name)
        for column in result.columns
    )
    sheet = joined(replace(result, columns=columns, base="b"))
    assert [player.base for player in sheet.players] == ["b, react", "b, act", None, None]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"protocol": "t/2"}, "t [t/2]"),
        ({"max_steps": 3}, "t [at most 3 steps]"),
        ({"success_threshold": 0.5}, "t [success from 0.5]"),
    ],
)
def test_a_task_under_another_protocol_has_a_row_of_its_own_and_a_loud_note(facts: dict, told: str) -> None:
    one = make_result({"a": {"t": [Y, N]}})
    two = make_result({"b": {"t": [Y, Y]}}, record={"protocol": facts.get("protocol", "t/1")}, **facts)
    sheet = joined(one, two)
    assert len(sheet.rows) == 2 and sheet.rows[1].name == told
    assert [sorted(row.cells) for row in sheet.rows] == [["a"], ["b"]]
    assert len(sheet.notes) == 2 and all(note.startswith("NOT COMPARABLE") for note in sheet.notes)
    table = success_table(sheet)
    assert table.rows[0][2:] == ("50.0 (9–91)", "–") and table.notes[:2] == sheet.notes


def test_other_answers_and_other_instances_are_kept_apart_too() -> None:
    one = make_result({"a": {"t": [Y, N]}})
    mint = replace(make_result({"b": {"t": [Y, Y]}}, record={"answers": "mint"}), answers="mint")
    assert [row.name for row in joined(one, mint).rows] == ["t [answers exact]", "t [answers mint]"]
    other = make_result({"b": {"t": [Y, Y]}}, record={"fingerprint": "of another file"})
    assert [row.name for row in joined(one, other).rows] == ["t [instances of run0]", "t [instances of run1]"]


def test_a_task_that_did_not_run_in_one_run_stands_where_the_other_played_it() -> None:
    absent = make_result({"a": {}}, not_run={"t": "no engine"}, protocol="t/unknown")
    sheet = joined(absent, make_result({"b": {"t": [Y, N]}}))
    assert success_table(sheet).rows[0] == ("math", "t", "not run", "50.0 (9–91)")
    assert sheet.mean("a", held_out=False) is None and sheet.mean("b", held_out=False).success_rate == 0.5
    assert "t was not run: no engine" in success_table(sheet).notes


def test_a_contaminated_model_is_marked_in_its_own_cell_and_the_others_keep_their_figures() -> None:
    outcomes = {name: {"far": [Y, N, N, N], "out": [Y, Y, N, N]} for name in ("m", "n")}
    result = make_result(outcomes, held_out=("far", "out"), contaminated={"far": ["m"]})
    # It was even trained on instances of it, which the others are measured by all the same.
    for name in ("m", "n"):
        column = next(column for column in result.columns if column.name == name)
        records = [replace(one, trained_on=one.index == 0) for one in result.tasks[0].records[name]]
        result.tasks[0].add(column, records)
    table = success_table(joined(result))
    rows = {row[1]: row for row in table.rows}
    assert rows["far (held out)"][2:] == ("0.0 (0–56) · CONTAMINATED", "25.0 (5–70)")
    assert rows["held-out mean"][2].startswith("50.0") and rows["held-out mean"][3].startswith("37.5")
    assert (0, 2) in table.marked and (0, 3) not in table.marked
    notes = "\n".join(table.notes)
    assert "far is held out, but m was trained on it: not in its held-out mean." in notes
    assert "The held-out mean of m is over 1 of 2 tasks: without far." in notes


def test_instances_that_one_model_was_trained_on_are_left_out_for_all() -> None:
    one = make_result({"a": {"t": [Y, Y, N]}})
    column = one.columns[0]
    one.tasks[0].add(column, [replace(each, trained_on=each.index == 0) for each in one.tasks[0].records["a"]])
    sheet = joined(one, make_result({"b": {"t": [Y, Y, N]}}))
    assert [sheet.rows[0].cells[name].summary.success_rate for name in names(sheet)] == [0.5, 0.5]
    assert any("1 instances that were trained on are left out" in note for note in success_table(sheet).notes)


def test_a_sweep_that_was_stopped_says_how_far_it_is() -> None:
    sheet = joined(make_result({"a": {"t": [Y, N, None, None]}, "b": {"t": [None] * 4}}, episodes=4))
    assert success_table(sheet).rows[0][2:] == ("50.0 (9–91) · 2 of 4 so far", "– · 0 of 4 so far")
    assert sheet.mean("b", held_out=False) is None


def test_recorded_episodes_of_another_protocol_are_in_no_figure() -> None:
    result = make_result({"a": {"t": [Y, N]}})
    records = [make_record("t", 0, True, model="a"), make_record("t", 1, True, model="a", protocol="t/0")]
    result.tasks[0].add(result.columns[0], records)
    sheet = joined(result)
    assert (sheet.rows[0].cells["a"].summary.episodes, sheet.rows[0].cells["a"].stale) == (1, 1)
    assert any("1 recorded episodes of a are of another protocol" in note for note in success_table(sheet).notes)


def test_sweeps_of_other_names_have_sheets_of_their_own() -> None:
    sources = [Source(run="r", result=make_result({"a": {"t": [Y]}}, name=name)) for name in ("one", "two", "one")]
    assert [sheet.name for sheet in join(sources)] == ["one", "two"]


def test_a_mean_over_other_tasks_than_those_of_others_says_so() -> None:
    sheet = joined(make_result({"a": {"t": [Y], "u": [N]}}), make_result({"b": {"t": [Y]}}))
    assert "The held-in mean of b is over 1 of 2 tasks: without u." in success_table(sheet).notes
