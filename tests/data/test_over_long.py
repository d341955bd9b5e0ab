"""What is split fits, re-opens with instruction and task, trains each turn once, and loses only what cannot fit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.data.over_long import fit_to_length, whole_id
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import ChatTemplate, EncodedTrajectory, TemplateOptions, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import CHATML_JINJA, LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint


@pytest.fixture(scope="module")
def templates(template: ChatTemplate, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ChatTemplate]:
    texts = texts_of(make_trajectory(number) for number in range(50))
    root = tmp_path_factory.mktemp("checkpoints")
    llama3 = write_checkpoint(root / "llama3", byte_level_json(texts, LLAMA3_SPECIALS, 400), None)
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    chatml = write_checkpoint(root / "chatml", byte_level_json(texts, marks, 400), CHATML_JINJA)
    return {
        "llama2": template,
        "llama3": get_template("llama3", Tokenizer.load(llama3)),
        "hf": get_template("hf", Tokenizer.load(chatml)),
    }


def spans(encoded: EncodedTrajectory) -> dict[int, int]:
    """Tokens of each turn."""
    return {int(turn): int((encoded.turn == turn).sum()) for turn in np.unique(encoded.turn)}


@pytest.mark.parametrize("name", ["llama2", "llama3", "hf"])
@given(number=st.integers(0, 99), exchanges=st.integers(1, 7), system=st.booleans(), share=st.floats(0.05, 1.1))
def test_parts_fit_and_train_each_turn_once(
    templates: dict[str, ChatTemplate], name: str, number: int, exchanges: int, system: bool, share: float
) -> None:
    template = templates[name]
    trajectory = make_trajectory(number, exchanges=exchanges, system=system)
    whole = template.encode(trajectory)
    limit = int(len(whole.tokens) * share)
    fitted = fit_to_length(whole, limit, "split_at_turn")
    first = 2 if system else 1
    learnt: list[int] = []
    for position, part in enumerate(fitted.parts):
        assert len(part.tokens) <= limit and part.trained.any()
        assert part.id == trajectory.id + (f"#part{position + 1}" if position else "")
        assert whole_id(part.id) == trajectory.id
        kept = sorted(spans(part))
        assert kept[:first] == list(range(first)) and (kept[-1] - first) % 2 == 0
        trained = sorted({int(turn) for turn in part.turn[part.trained]})
        learnt += trained
        # One reply is read again, where its observation stands at the beginning of a later part.
        assert set(kept[first:]) - set(trained) - {turn - 1 for turn in trained} == (
            {trained[0] - 2} if trained[0] > first else set()
        )
        # The same ids and mask as of these turns by themselves.
        turns = tuple(
            trajectory.turns[turn]
            if trajectory.turns[turn].role != "assistant" or turn in trained
            else Turn.assistant(trajectory.turns[turn].content, trained=False)
            for turn in kept
        )
        alone = template.encode(Trajectory(id="x", task="t", turns=turns))
        assert part.tokens.tolist() == alone.tokens.tolist()
        assert part.trained.tolist() == alone.trained.tolist()
    replies = list(range(first, len(trajectory.turns), 2))
    assert learnt == sorted(set(learnt)) and set(learnt) <= set(replies)
    if fitted.parts:
        assert fitted.lost_turns == len(replies) - len(learnt)
    sizes = spans(whole)
    opening = sum(sizes[turn] for turn in range(first))
    for turn in set(replies) - set(learnt):
        # What is lost does not fit even alone, behind the opening and the reply before.
        before = sizes[turn - 2] + sizes[turn - 1] if turn > first else 0
        assert len(whole.tokens) > limit and opening + before + sizes[turn] > limit


def test_splitting_keeps_what_truncating_cuts_off(template: ChatTemplate) -> None:
    whole = template.encode(make_trajectory(5, exchanges=6))
    limit = len(whole.tokens) // 2
    cut = fit_to_length(whole, limit, "truncate_at_turn")
    split = fit_to_length(whole, limit, "split_at_turn")
    assert cut.parts[0].tokens.tolist() == split.parts[0].tokens.tolist()
    assert len(split.parts) > 1 and split.lost_turns == 0 < cut.lost_turns
    assert sum(int(part.trained.sum()) for part in split.parts) == whole.trained.sum()


def test_only_parts_with_something_to_learn_are_kept(template: ChatTemplate) -> None:
    last = get_template("llama2", template.tokenizer, TemplateOptions(train_on="last"))
    whole = last.encode(make_trajectory(5, exchanges=6))
    limit = len(whole.tokens) // 2
    (part,) = fit_to_length(whole, limit, "split_at_turn").parts
    assert part.trained.sum() == whole.trained.sum() and part.id == whole.id
    assert fit_to_length(whole, limit, "truncate_at_turn").parts == ()


def test_the_cache_holds_the_parts_and_names_each_trajectory_once(
    mixture: str, data_dir: Path, template: ChatTemplate, tmp_path: Path
) -> None:
    whole = build_cache("fake_house", template, max_length=400, data_dir=data_dir, cache_dir=tmp_path)
    limit = int(whole.tasks[0].lengths.max()) - 2
    split = build_cache(
        "fake_house", template, max_length=limit, data_dir=data_dir, cache_dir=tmp_path, over_long="split_at_turn"
    )
    (task,) = split.tasks
    counts = task.manifest["counts"]
    assert counts["split"] > 0 == counts["truncated"] == counts["lost_turns"]
    assert counts["kept"] == len(task) > counts["read"] == len(whole)
    assert any(identifier.endswith("#part2") for identifier in task.ids)
    assert split.seen() == whole.seen()
    assert task.trained_counts.sum() == whole.tasks[0].trained_counts.sum()
    # A reply that is read again is one of the turns of its part.
    assert task.turns.sum() > whole.tasks[0].turns.sum()
