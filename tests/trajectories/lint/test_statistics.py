"""Figures of a source are sums over its rows."""

from pathlib import Path

from tests.trajectories.lint.made_rows import GOOD_TURNS, lint_rows, make_row


def test_rows_turns_words_rewards_licences_and_methods_are_counted_by_task_and_source(tmp_path: Path) -> None:
    rows = [
        make_row(id="0", source="a", reward=1.0, annotation="reformatting"),
        make_row(id="1", source="a", reward=0.5, annotation="reformatting", license="MIT"),
        make_row(id="2", source="a"),
        make_row(id="3", source="b", reward=float("nan"), license=None),
        make_row(id="4", task="math"),
    ]
    sources = {key: statistics for key, (statistics, _) in lint_rows(tmp_path, rows).sources.items()}
    assert list(sources) == [("gsm8k", "a"), ("gsm8k", "b"), ("math", "")]
    first = sources["gsm8k", "a"]
    words = 5 + 6 + 2 + 7  # of the four turns, labels included
    assert (first.rows, first.turns, first.assistant_turns, first.words) == (3, 12, 6, 3 * words)
    assert first.characters == 3 * first.longest == 3 * sum(len(text) for _, text in GOOD_TURNS)
    assert (first.rewarded, first.reward_sum, first.reward_least, first.reward_greatest) == (2, 1.5, 0.5, 1.0)
    assert first.licences == {"CC0-1.0": 2, "MIT": 1} and first.annotations == {"reformatting": 2, "": 1}
    assert first.tokens is None
    assert (sources["gsm8k", "b"].rewarded, sources["gsm8k", "b"].licences) == (0, {"": 1})
