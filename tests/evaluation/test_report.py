import io
from pathlib import Path

import pytest
from rich.console import Console

from agentbank_jax.agents.policy import OraclePolicy, RandomPolicy, Reply
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender
from agentbank_jax.evaluation.report import Report, to_markdown, write_report
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import detail_table, reasons_table, success_table
from tests.pages import check_page

HOSTILE = "Thought: <script>alert(1)</script> ```` | \x00\nAction: <b>&amp;\"'"


class HostilePolicy(RandomPolicy):
    def reply(self, request):
        return Reply(text=HOSTILE, tokens=9)


@pytest.fixture
def result(specs, tmp_path: Path) -> SweepResult:
    config = SweepConfig(
        name="s",
        tasks=("counting", "counting_far", "counting_absent", "counting_broken"),
        episodes_per_task=4,
    )
    manifest = TrainingManifest.of({"counting": ["counting/test/0"], "counting_far": []})
    contenders = [
        Contender(name="<model>", identity="m", make=HostilePolicy, manifest=manifest),
        Contender(name="oracle", identity="o", make=OraclePolicy),
    ]
    return run_sweep(config, contenders, tmp_path)


@pytest.fixture
def report(result: SweepResult) -> Report:
    losses = [(step, 8.0 / (step + 1)) for step in range(2000)]
    return Report(title="A & B", facts={"device": "<cpu>"}, model="<model>", results=(result,), losses=losses)


def test_the_success_table_tells_not_run_contaminated_left_out_and_errors(result: SweepResult) -> None:
    table = success_table(result)
    rows = {row[1].split(" ")[0]: row for row in table.rows}
    assert rows["counting_absent"][2:] == ("not run", "not run")
    assert rows["counting_far"][1] == "counting_far CONTAMINATED"
    assert rows["counting"][3].startswith("100.0 (")
    # The mean of counting (1) and counting_broken (0): what was not run does not count.
    assert rows["held-in"][3].startswith("50.0 (")
    assert rows["held-out"][2] == "–"  # the model was trained on its only task
    notes = "\n".join(table.notes)
    for expected in ("the abacus is not installed", "trained on it", "1 instances", "8 episodes"):
        assert expected in notes


def test_details_and_reasons_cover_every_model_and_task_that_ran(result: SweepResult) -> None:
    details = detail_table(result)
    assert len(details.rows) == 6
    assert {len(row) for row in details.rows} == {len(details.columns)}
    hostile = next(row for row in details.rows if row[1:3] == ("counting", "<model>"))
    assert hostile[3:] == ("3", "0.0", "0.000", "8.0", "100.0", "72")
    assert reasons_table(result).rows[0] == ("<model>", "0", "0", "7", "0", "0", "4")


def test_tables_print_in_the_terminal_whatever_the_cells_hold(result: SweepResult) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(success_table(result).to_rich())
    assert "held-in mean" in console.export_text()


def test_the_page_is_balanced_self_contained_and_escapes_what_agents_say(report: Report, tmp_path: Path) -> None:
    markdown, page = write_report(report, tmp_path)
    text = page.read_text()
    assert {"svg", "table", "details"} <= check_page(text)
    assert "<b>" not in text and "&lt;script&gt;" in text
    assert sorted(path.name for path in tmp_path.glob("*report*")) == ["report.html", "report.md"]
    assert "Training loss: 8.000 at step 0, 0.004 at step 1,999." in markdown.read_text()


def test_episodes_are_readable_turn_by_turn_and_fences_cannot_be_closed_from_within(report: Report) -> None:
    text = to_markdown(report)
    assert "### counting/test/0/0: failure (max steps), reward 0.00, 8 steps" in text
    assert "**agent**\n\n`````text\nThought: <script>" in text
