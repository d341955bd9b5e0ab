"""The inspection counts what the cache holds and marks exactly the trained tokens."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from agentbank_jax.data import command
from agentbank_jax.data.inspection import (
    TRAINED_CLOSE,
    TRAINED_OPEN,
    mark_trained,
    packing_fill,
    render_example,
    render_statistics,
    task_statistics,
)
from agentbank_jax.data.sources import read_mixture
from agentbank_jax.data.token_cache import TokenCache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.templates.registry import Llama2Template


def test_the_figures_are_sums_over_the_cache(cache: TokenCache) -> None:
    rows = task_statistics(cache)
    assert [row.name for row in rows] == ["fake_qa", "fake_house", "all"]
    for row, task in zip(rows, cache.tasks, strict=False):
        assert (row.trajectories, row.tokens, row.trained) == (len(task), len(task.tokens), task.trained.sum())
        assert row.longest == task.lengths.max() and row.turns == task.turns.sum()
    for name in ("trajectories", "tokens", "trained", "turns", "dropped"):
        assert getattr(rows[2], name) == getattr(rows[0], name) + getattr(rows[1], name)
    packed, fill = packing_fill(cache, length=400)
    assert fill == pytest.approx((cache.lengths - 1).sum() / (packed * 400))


def test_brackets_stand_around_each_reply(cache: TokenCache, template: Llama2Template, data_dir: Path) -> None:
    for index, trajectory in enumerate(read_mixture("fake", data_dir)):
        tokens, trained = cache.example(index)
        marked = mark_trained(template.tokenizer, tokens.tolist(), trained.tolist())
        replies = [f" {turn.content} </s>" for turn in trajectory.turns if turn.role == "assistant"]
        assert [part.split(TRAINED_CLOSE)[0] for part in marked.split(TRAINED_OPEN)[1:]] == replies
        assert f"<<SYS>>\n{trajectory.turns[0].content}\n<</SYS>>" in marked


def test_a_terminal_gets_colours_and_a_file_gets_brackets(cache: TokenCache, template: Llama2Template) -> None:
    for colour in (True, False):
        console = Console(file=io.StringIO(), force_terminal=colour, color_system="standard" if colour else None)
        console.print(render_statistics(cache, length=400))
        console.print(render_example(cache, template.tokenizer, 3, colour=colour))
        text = console.file.getvalue()
        assert (TRAINED_OPEN in text) != colour
        assert ("\x1b[1;32m" in text) == colour


def test_a_mixture_says_which_evaluations_it_spoils(cache: TokenCache) -> None:
    def shown(spoils: tuple[str, ...]) -> str:
        first = replace(cache.tasks[0], task=replace(cache.tasks[0].task, spoils=spoils))
        console = Console(file=io.StringIO(), width=160)
        console.print(render_statistics(replace(cache, tasks=(first, *cache.tasks[1:])), length=400))
        return console.file.getvalue()

    assert "spoils" not in shown(())
    assert "spoils the evaluation of house_hunt (fake_qa)" in shown(("house_hunt",))


def test_the_commands_go_from_files_to_figures(
    mixture: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, cache_dir = tmp_path / "fake.model", tmp_path / "cache"
    common = ["--mixture=fake", f"--data_dir={data_dir}"]
    assert command.train_vocabulary([*common, "--vocab_size=350", f"--out={model}"]) == 0
    assert "350 pieces" in capsys.readouterr().out
    tokens = [f"--tokenizer={model}", f"--cache_dir={cache_dir}"]
    assert command.cache_tasks([*common, *tokens]) == 0
    assert "85 trajectories" in capsys.readouterr().out
    assert command.inspect_mixture([*common, *tokens, "--examples=2"]) == 0
    out = capsys.readouterr().out
    assert out.count(" trained\n") == 4 and "filled" in out and TRAINED_OPEN in out


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
