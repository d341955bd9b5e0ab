import base64
import csv
import gzip
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from agentbank_jax.agents.policy import OraclePolicy, RandomPolicy, Reply
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender
from agentbank_jax.evaluation.cost_tables import cost_table, detail_table, figures_table, reasons_table
from agentbank_jax.evaluation.failure import explain, first_invalid
from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.page import to_html
from agentbank_jax.evaluation.report import MEANING, Report, to_markdown, write_report
from agentbank_jax.evaluation.report_csv import to_csv
from agentbank_jax.evaluation.report_latex import to_latex
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import gain_table, overview_table, reward_table, skill_table, success_table
from tests.evaluation.made_sweep import make_record, make_result
from tests.pages import check_page

HOSTILE = "Thought: <script>alert(1)</script> ```` | \x00 \u202e\nAction: <b>&amp;\"'"
Y, N = True, False


class HostilePolicy(RandomPolicy):
    def reply(self, request):
        return Reply(text=HOSTILE, tokens=9)


@pytest.fixture
def result(specs, tmp_path: Path) -> SweepResult:
    config = SweepConfig(
        name="s",
        tasks=("counting", "counting_far", "counting_absent", "counting_broken"),
        episodes_per_task=4,
        base="oracle",
    )
    manifest = TrainingManifest.of({"counting": ["counting/test/0"], "counting_far": []})
    contenders = [
        Contender(name="<model>", identity="m", make=HostilePolicy, manifest=manifest),
        Contender(name="oracle", identity="o", make=OraclePolicy),
    ]
    return run_sweep(config, contenders, tmp_path / "played")


@pytest.fixture
def report(result: SweepResult) -> Report:
    losses = [(step, 8.0 / (step + 1)) for step in range(2000)]
    sources = (Source(run="run", result=result),)
    return Report(title="A & B", facts={"device": "<cpu>"}, sources=sources, losses=losses)


@pytest.fixture
def sheet(report: Report) -> Sheet:
    return report.sheets[0][0]


def report_of(*results: SweepResult, **fields) -> Report:
    sources = tuple(Source(run=f"run{number}", result=each) for number, each in enumerate(results))
    return Report(title="Title", facts={}, sources=sources, **fields)


def unpacked(page: str) -> dict[str, object]:
    """The data of a page, by name."""
    return {
        name: json.loads(gzip.decompress(base64.b64decode(data)))
        for name, data in re.findall(r'<script type="text/plain" id="([^"]*)">([^<]*)</script>', page)
    }


def test_the_success_table_tells_not_run_contaminated_left_out_and_errors(sheet: Sheet) -> None:
    table = success_table(sheet)
    rows = {row[1].split(" ")[0]: row for row in table.rows}
    assert rows["counting_absent"][2:] == ("not run", "not run")
    # It is marked where it counts: the oracle was trained on nothing.
    assert rows["counting_far"][2].endswith("CONTAMINATED") and rows["counting_far"][3].startswith("100.0 (")
    assert rows["counting"][3].startswith("100.0 (")
    assert rows["counting_broken"][2:] == ("not run", "not run")
    # The mean of counting alone: what was not run, or was ended by its environment throughout, does not count.
    assert rows["held-in"][3].startswith("100.0 (")
    assert rows["held-out"][2] == "–"  # the model was trained on its only task
    notes = "\n".join(table.notes)
    for expected in ("the abacus is not installed", "trained on it", "1 instances", "ended all 4 episodes"):
        assert expected in notes


def test_details_and_reasons_cover_every_model_and_task_that_ran(sheet: Sheet) -> None:
    details = detail_table(sheet)
    assert len(details.rows) == 4
    assert {len(row) for row in details.rows} == {len(details.columns)}
    hostile = next(row for row in details.rows if row[1:3] == ("counting", "<model>"))
    assert hostile[3:9] == ("3", "0.0", "0.000", "8.0", "100.0", "72") and hostile[11] == "0"
    assert not any(row[1] == "counting_broken" for row in details.rows)
    assert reasons_table(sheet).rows[0] == ("<model>", "0", "0", "7", "0", "0", "0", "0")


def test_tables_print_in_the_terminal_whatever_the_cells_hold(sheet: Sheet) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(success_table(sheet).to_rich())
    assert "held-in mean" in console.export_text()


def test_rewards_means_per_skill_gains_and_costs_by_hand() -> None:
    outcomes = {
        "m": {"a": [Y, Y, N, N], "b": [Y, Y, Y, Y], "far": [Y, N, N, N]},
        "untrained": {"a": [N, N, N, N], "b": [Y, N, Y, N], "far": [N, N, N, N]},
    }
    result = make_result(outcomes, held_out=("far",), skills={"a": "math", "b": "web", "far": "web"})
    report = report_of(result)
    ((sheet, gains),) = report.sheets
    rewards = {row[1]: row[2] for row in reward_table(sheet, gains).rows}
    assert rewards["a"].startswith("0.500 (") and rewards["b"] == "1.000" and rewards["held-in mean"].startswith("0.75")
    skills = [row[:4] for row in skill_table(sheet).rows]
    assert [row[:3] for row in skills] == [
        ("math", "held-in", "1"), ("web", "held-in", "1"), ("web", "held-out", "1"),
    ]  # fmt: skip
    assert skills[0][3].startswith("50.0 (") and skills[0][3].endswith(" · 0.500")
    gained = {row[1]: row[2:] for row in gain_table(sheet, gains).rows}
    assert gained["a"][0].startswith("+50.0 (+0.0 to +100.0)") and gained["a"][2] == "4"
    assert gained["held-in mean"][0].startswith("+50.0 (") and gained["held-in mean"][2] == "8"
    assert gained["held-out mean"][0].startswith("+25.0 (")
    overview = overview_table(report.sheets).rows
    assert overview[0][:4] == ("s", "m", "untrained", "12") and overview[1][2] == "–"
    # 12 episodes of 20 tokens, 100 prompt tokens, half a second and 4 steps, of which 1 is invalid; 7 successes.
    assert cost_table(sheet).rows[0] == (
        "m", "12", "20", "100", "0.5", "4.0", "25.0", "240", "1,200", "34",
    )  # fmt: skip
    assert figures_table(sheet) is None


def test_what_environments_measure_is_shown_as_means() -> None:
    result = make_result({"m": {"t": [Y, N]}}, record={"figures": {"f1": 0.25}})
    ((sheet, _),) = report_of(result).sheets
    table = figures_table(sheet)
    assert table is not None and table.rows == (("t", "f1", "0.250"),)


def test_the_page_is_balanced_self_contained_and_escapes_what_agents_say(report: Report, tmp_path: Path) -> None:
    files = write_report(report, tmp_path)
    text = files.page.read_text()
    assert {"svg", "table", "details", "select", "input"} <= check_page(text, scripts=1)
    assert "<b>" not in text and "alert(1)" not in text and "\u202e" not in text
    assert sorted(path.name for path in tmp_path.glob("*report*")) == [
        "report.csv", "report.html", "report.md", "report.tex",
    ]  # fmt: skip
    assert "Training loss: 8.000 at step 0, 0.004 at step 1,999." in files.markdown.read_text()


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "a\x00b", "\u202eevil", "\ud800", "\"'&", "|x|"]
)
def test_names_cannot_break_any_form_of_the_report(name: str, tmp_path: Path) -> None:
    result = make_result({name: {"t": [Y, N]}, "untrained": {"t": [N, N]}}, not_run={"u": name}, record={"error": name})
    files = write_report(replace(report_of(result), title=name, facts={name: name}), tmp_path)
    check_page(files.page.read_text(), scripts=1)
    for path in files:
        assert not re.search("[\x00-\x08\u202e\ud800]", path.read_bytes().decode("utf-8"))
    assert len(list(csv.DictReader(io.StringIO(files.csv.read_text())))) == 4
    check_latex(files.latex.read_text())


def test_the_page_holds_every_episode_turn_by_turn(report: Report) -> None:
    data = unpacked(to_html(report))
    index = data.pop("index")
    rows = [dict(zip(index["fields"], row, strict=True)) for row in index["rows"]]
    assert len(rows) == 24 and sum(map(len, data.values())) == 24
    row = next(row for row in rows if row["id"] == "counting/test/1/0")
    episode = data[f"block-{row['block']}"][row["place"]]
    shown = HOSTILE.replace("\x00", "\N{REPLACEMENT CHARACTER}").replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    assert episode["turns"][:2] == [["environment", "Reach 3."], ["agent", shown]]
    assert episode["turns"][-1] == ["environment", "Unknown action."] == ["environment", episode["seen"]]
    assert "limit of steps" in episode["why"][0] and "8 of 8 replies" in episode["why"][1]
    outcomes = {(row["id"], index["models"][row["model"]]): row["outcome"] for row in rows}
    assert outcomes["counting/test/0/0", "oracle"] == 3  # trained on by the model, left out for all
    assert outcomes["counting/test/1/0", "oracle"] == 1 and outcomes["counting_broken/test/1/0", "oracle"] == 2


def test_a_limit_leaves_episodes_out_of_the_page_and_says_so_and_out_of_no_figure() -> None:
    whole, some = (report_of(make_result({"m": {"t": [Y] * 30}}), episodes=limit) for limit in (None, 7))
    page = to_html(some)
    assert len(unpacked(page)["index"]["rows"]) == 7
    assert "The first 7 of each task and model: 7 of 30 episodes are in this page" in page
    assert "are in this page" not in to_html(whole)
    assert to_csv(some) == to_csv(whole)


def test_a_page_of_two_thousand_episodes_is_small_and_quickly_made(tmp_path: Path) -> None:
    turns = [
        {"from": "human" if turn % 2 == 0 else "gpt", "value": f"Observation {turn}: " + f"word{turn} " * 60}
        for turn in range(16)
    ]
    tasks = {f"t{number}": [index % 3 == 0 for index in range(100)] for number in range(10)}
    report = report_of(make_result({"m": tasks, "untrained": tasks}, record={"conversations": tuple(turns)}))
    began = time.process_time()
    files = write_report(report, tmp_path)
    assert time.process_time() - began < 2.5
    assert files.page.stat().st_size < 3_000_000
    assert len(unpacked(files.page.read_text())["index"]["rows"]) == 2000


def test_why_an_episode_failed_is_said_in_words() -> None:
    talk = [
        {"from": "human", "value": "Go."},
        {"from": "gpt", "value": "Action: add 1"},
        {"from": "human", "value": "Observation: 1"},
        {"from": "gpt", "value": "I would rather not."},
    ]
    lost = make_record("t", 0, False, conversations=talk, terminate_reason="unparseable", reward=0.25, trained_on=True,
                       first_invalid=2)  # fmt: skip
    assert first_invalid(lost) == 3
    assert explain(lost) == [
        "Too many replies in a row held no action.",
        "Its last step was worth a reward of 0.25, below what counts as success.",
        "1 of 4 replies held no action, or one that the environment refused; reply 2 is the first.",
        "The instance was trained on, and is in no figure.",
    ]
    assert first_invalid(make_record("t", 0, True)) is None


def test_earlier_trials_are_in_the_page() -> None:
    trial = ({"from": "human", "value": "Problem 0."}, {"from": "gpt", "value": "Action: a first try"})
    page = to_html(report_of(make_result({"m": {"t": [N]}}, record={"earlier": (trial,)})))
    (episode,) = unpacked(page)["block-0"]
    assert episode["earlier"] == [[["environment", "Problem 0."], ["agent", "Action: a first try"]]]


def test_episodes_are_readable_turn_by_turn_and_fences_cannot_be_closed_from_within(report: Report) -> None:
    text = to_markdown(report)
    assert "### counting/test/0/0: failure (max steps), reward 0.00, 8 steps" in text
    assert "**agent**\n\n`````text\nThought: <script>" in text
    assert all(paragraph in text for paragraph in MEANING)


def test_csv_has_a_row_for_each_task_and_model_with_all_figures(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == 8
    by_key = {(row["task"], row["column"]): row for row in rows}
    oracle = by_key["counting", "oracle"]
    assert (oracle["episodes"], oracle["left_out"], oracle["success_rate"]) == ("3", "1", "1.0")
    assert float(oracle["success_low"]) == pytest.approx(0.4385, abs=1e-4) and oracle["base"] == ""
    model = by_key["counting", "<model>"]
    assert (model["gain_success"], model["gain_success_low"], model["gain_instances"]) == ("-1.0", "", "3")
    assert (model["base"], model["ended_max_steps"], model["invalid_rate"]) == ("oracle", "3", "1.0")
    far = by_key["counting_far", "<model>"]
    assert (far["contaminated"], far["held_out"], far["skill"]) == ("1", "1", "embodied")
    absent = by_key["counting_absent", "oracle"]
    assert absent["not_run"] == "the abacus is not installed"
    assert (absent["episodes"], absent["success_rate"], absent["ended_success"]) == ("", "", "")
    assert by_key["counting_broken", "oracle"]["environment_errors"] == "4"


def check_latex(text: str) -> None:
    """Asserts that braces and environments are balanced and that each row has the cells of its table."""
    body = re.sub(r"(?m)^%.*$", "", text)
    assert body.isascii() or all(ord(one) < 0x180 for one in body)
    depth = 0
    for one in re.sub(r"\\[\\{}%&_#$]", "", body):
        depth += (one == "{") - (one == "}")
        assert depth >= 0
    assert depth == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        opened.append(name) if kind == "begin" else None
        assert kind == "begin" or opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[%&_#$]", "", body)
    assert not re.search(r"[_#]", bare.replace(r"\resizebox{\textwidth}{!}{%", ""))
    assert bare.count("$") % 2 == 0
    for columns, rows in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", bare, flags=re.DOTALL):
        lines = [
            line for line in rows.strip().split("\n") if not line.startswith(("\\toprule", "\\midrule", "\\bottom"))
        ]
        assert all(line.endswith(r" \\") and line.count("&") == len(columns) - 1 for line in lines)
        assert rows.count(r"\toprule") == rows.count(r"\bottomrule") == 1


def test_latex_tables_are_balanced_and_escape_what_names_hold(report: Report) -> None:
    text = to_latex(report)
    check_latex(text)
    assert text.count(r"\begin{table}") == text.count(r"\toprule") == 1 + len(report.tables(*report.sheets[0]))
    assert r"counting\_far" in text and r"\textless{}model\textgreater{}" in text and r"invalid \%" in text
    assert r"\usepackage{booktabs}" in text


def test_a_folder_that_cannot_be_written_and_an_unknown_base_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = make_result({"m": {"t": [Y]}})
    with pytest.raises(AgentBankError, match="cannot be written"):
        write_report(report_of(result), tmp_path / "file" / "below")
    with pytest.raises(AgentBankError, match="--base=n"):
        write_report(report_of(result, base="n"), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_curve_tells_how_many_episodes_succeed_within_so_many_steps() -> None:
    result = make_result({"m": {"t": [Y, Y, N, N]}})
    column, records = result.columns[0], result.tasks[0].records["m"]
    steps = (1, 3, 4, 4)
    result.tasks[0].add(column, [replace(one, steps=count) for one, count in zip(records, steps, strict=True)])
    ((path,),) = (re.findall(r'class="line-0" d="([^"]*)"', to_html(report_of(result))),)
    # 0, 25, 25, 50 and 50 per cent at 0 to 4 steps, in half units of a picture of 660 x 240.
    assert path == "M0 458 l0 0 330 -218 330 0 330 -218 330 0"
