"""The inspection counts what the cache holds and marks exactly the trained tokens."""

import io
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agentbank_jax.data import command
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.inspection import (
    Inspection,
    choose_examples,
    inspect_cache,
    length_histogram,
    mark_trained,
    packing_of,
)
from agentbank_jax.data.inspection_page import to_html
from agentbank_jax.data.inspection_text import TRAINED_CLOSE, TRAINED_OPEN, contamination_lines, render, tables
from agentbank_jax.data.sources import read_mixture
from agentbank_jax.data.token_cache import TaskTokens, TokenCache, build_cache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import Llama2Template
from tests.pages import check_page

HOSTILE = "Thought: <script>alert(1)</script> &amp; \x1b[31m</mark>\nAction: <b>look</b>"


@pytest.fixture(scope="module")
def inspection(cache: TokenCache, template: Llama2Template) -> Inspection:
    return inspect_cache(cache, template, lengths=[400, 1000], examples=2, seed=3)


def shown(inspection: Inspection, *, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=160, force_terminal=terminal, color_system="standard" if terminal else None
    )
    for part in render(inspection):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def cells(inspection: Inspection, title: str) -> list[dict[str, str]]:
    """The rows of the table with this title."""
    (table,) = (each for each in tables(inspection) if each.title.endswith(f": {title}"))
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def changed_task(cache: TokenCache, **fields: object) -> TokenCache:
    """The cache, but for the declaration of its first task."""
    first: TaskTokens = cache.tasks[0]
    return replace(cache, tasks=(replace(first, task=replace(first.task, **fields)), *cache.tasks[1:]))  # type: ignore[arg-type]


def test_the_figures_are_sums_over_the_cache(cache: TokenCache, inspection: Inspection) -> None:
    assert [row.name for row in inspection.tasks] == ["fake_qa", "fake_house"] and inspection.total.name == "all"
    for row, task in zip(inspection.tasks, cache.tasks, strict=True):
        assert (row.trajectories, row.tokens, row.trained) == (len(task), len(task.tokens), task.trained.sum())
        assert row.longest == task.lengths.max() and row.turns == task.turns.sum()
        assert row.tokens_per_turn == pytest.approx(len(task.tokens) / task.turns.sum())
        assert row.trained_per_turn == pytest.approx(task.trained.sum() / task.turns.sum())
        assert row.read == len(task)
    for name in ("trajectories", "read", "tokens", "trained", "turns", "dropped", "share"):
        total = sum(getattr(row, name) for row in inspection.tasks)
        assert getattr(inspection.total, name) == pytest.approx(total)


def test_shares_follow_the_rates(cache: TokenCache, template: Llama2Template) -> None:
    uneven = inspect_cache(replace(cache, rates=(0.5, 3.0)), template, lengths=[], examples=0)
    drawn = [0.5 * len(cache.tasks[0].tokens), 3 * len(cache.tasks[1].tokens)]
    assert [row.share for row in uneven.tasks] == pytest.approx([part / sum(drawn) for part in drawn])


@pytest.mark.parametrize("rates", [(1.0, 1.0), (2.0, 2.0), (0.3, 2.0)])
def test_packing_is_that_of_training(cache: TokenCache, rates: tuple[float, float]) -> None:
    mixed = replace(cache, rates=rates)
    batches = PackedBatches(mixed, batch_size=1, length=400, seed=3)
    delivered = [batches.batch_at(step)["segment_ids"] for step in range(batches.steps_per_epoch)]
    used = [segments for segments in delivered if segments.any()]
    packing = packing_of(mixed, 400, seed=3)
    assert packing.rows == len(used)
    assert packing.fill == pytest.approx(np.mean([(segments > 0).mean() for segments in used]))


def test_packing_is_told_for_each_length(cache: TokenCache, inspection: Inspection) -> None:
    assert [packing.length for packing in inspection.packing] == [400, 1000]
    for packing in inspection.packing:
        assert packing.rows * packing.length * packing.fill == pytest.approx((cache.lengths - 1).sum())
        assert f"{packing.rows:,} rows of {packing.length:,} tokens" in shown(inspection)
    with pytest.raises(AgentBankError, match="rows have 50 places"):
        packing_of(cache, 50)


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=60))
def test_a_histogram_holds_each_length_once_in_few_even_steps(lengths: list[int]) -> None:
    found = length_histogram(np.array(lengths))
    steps = set(np.diff(found.edges).tolist())
    assert len(steps) == 1 and str(steps.pop()).rstrip("0") in ("1", "2", "5")
    assert 1 <= len(found.counts) <= 20 and found.counts[0] and found.counts[-1]
    for begin, end, count in zip(found.edges, found.edges[1:], found.counts, strict=False):
        assert count == sum(begin <= length < end for length in lengths)


def test_marks_stand_around_each_reply(cache: TokenCache, template: Llama2Template, data_dir: Path) -> None:
    for index, trajectory in enumerate(read_mixture("fake", data_dir)):
        tokens, trained = cache.example(index)
        spans = mark_trained(template.tokenizer, tokens.tolist(), trained.tolist())
        replies = [f" {turn.content} </s>" for turn in trajectory.turns if turn.role == "assistant"]
        assert [text for text, is_trained in spans if is_trained] == replies
        assert f"<<SYS>>\n{trajectory.turns[0].content}\n<</SYS>>" in spans[0][0]


def test_examples_are_chosen_by_the_seed_from_each_task(cache: TokenCache, template: Llama2Template) -> None:
    def ids(count: int, seed: int) -> list[str]:
        return [example.id for example in choose_examples(cache, template.tokenizer, count, seed=seed)]

    assert ids(3, 0) == ids(3, 0) != ids(3, 1)
    assert len(ids(3, 0)) == 6 and ids(0, 0) == []
    assert ids(100, 0) == [*cache.tasks[0].ids, *cache.tasks[1].ids]
    with pytest.raises(AgentBankError, match="-1 examples"):
        ids(-1, 0)


def test_trained_tokens_are_told_without_and_with_colours(inspection: Inspection) -> None:
    replies = [text for example in inspection.examples for text, is_trained in example.spans if is_trained]
    for terminal in (False, True):
        text = shown(inspection, terminal=terminal)
        assert text.count(TRAINED_OPEN) == text.count(TRAINED_CLOSE) == len(replies)
        # Bold, underlined and green.
        assert ("\x1b[1;4;32m" in text) == terminal


def test_counts_are_told_beside_the_expected_ones(cache: TokenCache, template: Llama2Template) -> None:
    for fields, expected in (
        ({"expected_rows": 60}, "60"),
        ({"expected_rows": 61}, "≠ 61"),
        ({"expected_rows": 60, "verified": False}, "60 (unverified)"),
        ({"expected_rows": 61, "verified": False}, "≠ 61 (unverified)"),
        ({"expected_rows": None, "verified": False}, "unknown"),
        ({"expected_rows": None}, "-"),
    ):
        found = inspect_cache(changed_task(cache, **fields), template, lengths=[], examples=0)
        row = cells(found, "trajectories")[0]
        assert (row["read"], row["expected"]) == ("60", expected)


def test_no_figure_is_cut_in_a_narrow_terminal(
    cache: TokenCache,
    template: Llama2Template,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "fake.model").write_bytes(template.tokenizer.model)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    places = [f"--data_dir={data_dir}", f"--tokenizer={tmp_path}/fake.model", f"--cache_dir={tmp_path}"]
    assert command.inspect_mixture(["--mixture=fake", "--examples=0", *places]) == 0
    out = capsys.readouterr().out
    assert "…" not in out and f"{cache.lengths.sum():,}" in out


def test_what_did_not_fit_is_read_but_not_kept(
    mixture: str, data_dir: Path, template: Llama2Template, tmp_path: Path, inspection: Inspection
) -> None:
    short = build_cache(mixture, template, max_length=150, data_dir=data_dir, cache_dir=tmp_path)
    found = inspect_cache(short, template, lengths=[150], examples=0)
    for kept, cut in zip(cells(found, "trajectories"), cells(found, "longer than a row"), strict=True):
        assert int(kept["kept"]) + int(cut["dropped"]) == int(kept["read"]) > int(kept["kept"])
    assert all("longer than a row" not in table.title for table in tables(inspection))


def test_a_mixture_says_which_evaluations_it_spoils(cache: TokenCache, template: Llama2Template) -> None:
    def told(spoils: tuple[str, ...]) -> Inspection:
        return inspect_cache(changed_task(cache, spoils=spoils), template, lengths=[], examples=0)

    assert "no task of this mixture is known to hold" in shown(told(()))
    spoilt = told(("house_hunt", "humaneval"))
    assert len(contamination_lines(spoilt)) == 2
    for line in contamination_lines(spoilt):
        assert "60 trajectories of task 'fake_qa'" in line
        assert line in shown(spoilt) and line in unescape(to_html(spoilt))
    assert "CONTAMINATION: the evaluation 'house_hunt' is spoilt" in shown(spoilt)


def test_a_split_trajectory_spoils_once(
    cache: TokenCache, template: Llama2Template, data_dir: Path, tmp_path: Path
) -> None:
    longest = int(cache.tasks[0].lengths.max())
    split = build_cache(
        "fake",
        template,
        max_length=longest - 3,
        over_long="split_at_turn",
        data_dir=data_dir,
        cache_dir=tmp_path,
    )
    assert len(split.tasks[0]) > 60
    (spoilt,) = inspect_cache(changed_task(split, spoils=("humaneval",)), template, lengths=[], examples=0).spoilt
    assert spoilt.trajectories == 60


def test_the_page_holds_all_of_it_and_tells_trained_tokens_without_colours(inspection: Inspection) -> None:
    text = to_html(inspection)
    assert {"svg", "table", "details", "mark", "pre"} <= check_page(text)
    plain = unescape(text)
    for table in tables(inspection):
        for row in table.rows:
            assert all(f">{cell}<" in plain for cell in row)
    for example in inspection.examples:
        assert "".join(f"<mark>{part}</mark>" if is_trained else part for part, is_trained in example.spans) in plain
    style = text[text.index("mark {") :].split("}")[0]
    assert "underline" in style and "font-weight" in style


def test_the_page_escapes_what_trajectories_say(mixture: str, template: Llama2Template, tmp_path: Path) -> None:
    turns = (Turn.user("<img src=x onerror=alert(1)>"), Turn.assistant(HOSTILE))
    trajectory = Trajectory(id="<i>1</i>", task="fake_house", turns=turns)
    write_parquet(tmp_path / "data/fake_house/train-00000-of-00001.parquet", [trajectory])
    cache = build_cache(
        "fake_house", template, max_length=400, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache"
    )
    inspection = inspect_cache(cache, template, lengths=[400])
    text = to_html(inspection)
    tags = check_page(text)
    assert not tags & {"script", "img", "b", "i"} and text.count("<mark>") == text.count("</mark>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;" in text and "\x1b" not in text
    assert "\x1b" not in shown(inspection)


def test_the_commands_go_from_files_to_figures(
    mixture: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, cache_dir = tmp_path / "fake.model", tmp_path / "cache"
    common = ["--mixture=fake", f"--data_dir={data_dir}"]
    assert command.train_vocabulary([*common, "--vocab_size=350", f"--out={model}"]) == 0
    assert "350 pieces" in capsys.readouterr().out
    tokens = [f"--tokenizer={model}", f"--cache_dir={cache_dir}"]
    assert command.cache_tasks([*common, *tokens]) == 0
    out = capsys.readouterr().out
    assert "85 trajectories" in out and "longer than" not in out
    # What is left out is said where it happens.
    assert command.cache_tasks([*common, *tokens, "--max_length=250"]) == 0
    told = r"longer than 251 tokens: \d+ dropped of 85 trajectories \(--over_long=drop\)"
    assert re.search(told, capsys.readouterr().out)
    files = [f"--html={tmp_path / 'new/page.html'}", f"--json={tmp_path / 'report.json'}"]
    arguments = [*common, *tokens, "--examples=2", "--pack_length=1024", "--pack_length=2048", *files]
    assert command.inspect_mixture(arguments) == 0
    out = capsys.readouterr().out
    assert out.count(" trained\n") == 4 and TRAINED_OPEN in out
    assert "rows of 1,024 tokens" in out and "rows of 2,048 tokens" in out
    assert "trajectories by their tokens" in out
    check_page((tmp_path / "new/page.html").read_text())
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["total"]["trajectories"] == 85 and len(report["examples"]) == 4
    assert [packing["length"] for packing in report["packing"]] == [1024, 2048]
    assert f"html: {tmp_path / 'new/page.html'}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mixture=fakke"], "'fakke'.*Did you mean 'fake'"),
        (["--mixtur=fake"], "'--mixtur=fake'. Did you mean '--mixture'"),
        (["--mixture=fake", "--max_length=long"], "invalid int value"),
        (["--mixture=fake", "--template=llama_2"], "Did you mean 'llama2'"),
        (["--mixture=fake", "--over_long=cut"], "policy for over-long trajectories 'cut'"),
        (["--mixture=fake", "--tokenizer=none.model"], "none.model: no tokenizer"),
        (["--mixture=fake", "--data_dir=none"], "no trajectories in none/fake_qa"),
        (["--mixture=fake", "--examples=-1"], "-1 examples of each task"),
        (["--mixture=fake", "--seed=-1"], "--seed=-1: expected 0 or more"),
        (["--mixture=fake", "--pack_length=20"], "rows have 20 places"),
        (["--mixture=fake", "--html=/proc/none/page.html"], "--html=/proc/none/page.html: cannot be written"),
        (["--mixture=fake", "--json=/proc/none.json"], "--json=/proc/none.json: cannot be written"),
    ],
)
def test_mistakes_are_named(
    mixture: str, data_dir: Path, template: Llama2Template, tmp_path: Path, arguments: list[str], message: str
) -> None:
    model = tmp_path / "fake.model"
    model.write_bytes(template.tokenizer.model)
    defaults = [f"--data_dir={data_dir}", f"--tokenizer={model}", f"--cache_dir={tmp_path / 'cache'}"]
    with pytest.raises(AgentBankError, match=message):
        command.inspect_mixture([*defaults, *arguments])


def test_a_missing_vocabulary_is_told_with_the_command_that_trains_it(
    mixture: str, data_dir: Path, template: Llama2Template, tmp_path: Path
) -> None:
    shutil.copytree(data_dir, tmp_path / "data")
    (tmp_path / "data" / "vocabulary").mkdir()
    other = tmp_path / "data" / "vocabulary" / "other.model"
    other.write_bytes(template.tokenizer.model)
    with pytest.raises(AgentBankError, match="no tokenizer") as raised:
        command.inspect_mixture(["--mixture=fake", f"--data_dir={tmp_path / 'data'}"])
    remedy = f"scripts/train_vocabulary.py --mixture=fake --data_dir={tmp_path / 'data'}, or name one with --tokenizer"
    assert remedy in str(raised.value) and f"found: {other}" in str(raised.value)
