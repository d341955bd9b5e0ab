"""The difficulty-bias report: distances, levels, intervals, and the command."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.bank.difficulty import KEPT, SUCCESS_ONLY, DifficultyBias, difficulty_bias, total_variation
from agentbank_jax.bank.difficulty_page import distance_table, level_chart, level_table
from agentbank_jax.errors import AgentBankError

# Of ten instances, five each of levels 1 and 2.
SOURCE = {f"{level}/{number}": level for level in (1, 2) for number in range(5)}
EASY = [name for name in SOURCE if name.startswith("1/")]


def compare(**selections: list[str]) -> DifficultyBias:
    chosen = {name.replace("_", " "): ids for name, ids in selections.items()}
    return difficulty_bias(SOURCE, chosen, task="made", measure="hops", resamples=500)


def test_total_variation_is_half_the_differences_of_shares() -> None:
    assert total_variation([5, 5], [10, 0]) == 0.5
    assert total_variation([2, 2], [7, 7]) == 0
    assert total_variation([3, 0], [0, 9]) == 1
    assert total_variation([1, 1], [0, 0]) == 1
    assert total_variation([0, 0], [0, 0]) == 0
    assert total_variation([1, 2, 1], [1, 1, 2]) == pytest.approx(0.25)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=60),
    st.integers(2, 8),
)
@settings(max_examples=60)
def test_a_selection_is_never_farther_than_the_share_left_out(rows: list[tuple[int, bool]], levels: int) -> None:
    difficulty = {str(place): value for place, (value, _) in enumerate(rows)}
    kept = [str(place) for place, (_, keep) in enumerate(rows) if keep]
    bias = difficulty_bias(difficulty, {KEPT: kept}, task="made", most_levels=levels, resamples=20)
    distance = bias.distances[0].distance
    assert 0 <= distance <= 1 - len(kept) / len(rows) + 1e-9
    assert len(bias.levels) <= levels
    assert sum(bias.counts["source"]) == len(rows) and sum(bias.counts[KEPT]) == len(kept)
    assert min(bias.counts["source"]) > 0


def test_kept_and_success_only_stand_beside_the_source() -> None:
    bias = compare(kept=list(SOURCE), success_only=EASY)
    assert bias.counts == {"source": (5, 5), "kept": (5, 5), "success only": (5, 0)}
    assert bias.shares(SUCCESS_ONLY) == (1.0, 0.0)
    kept, easy = bias.distances
    assert (kept.distance, kept.interval, kept.means) == (0.0, (0.0, 0.0), (1.5, 1.5))
    assert (easy.distance, easy.size, easy.means) == (0.5, 5, (1.5, 1.0))
    assert easy.interval[0] < 0.5 < easy.interval[1]
    assert bias.ratio == float("inf")
    assert compare(kept=[*EASY, "2/0", "2/1", "2/2", "2/3"], success_only=EASY).ratio == pytest.approx(9)
    assert compare(kept=EASY).ratio is None


def test_the_interval_holds_the_distance_of_other_samples() -> None:
    # What a bootstrap of one sample says is compared with fresh samples from the same source.
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        values = rng.integers(1, 4, size=400)
        keep = rng.random(400) < np.array([0.9, 0.6, 0.3])[values - 1]
        difficulty = {str(place): int(value) for place, value in enumerate(values)}
        bias = difficulty_bias(
            difficulty, {KEPT: [str(place) for place in np.flatnonzero(keep)]}, task=str(trial), resamples=400
        )
        low, high = bias.distances[0].interval
        # Shares 1/3 each of the source; of what is kept 1/2, 1/3, 1/6.
        inside += low <= 1 / 6 <= high
    assert inside >= 53


def test_the_same_ids_give_the_same_interval() -> None:
    assert compare(kept=EASY) == compare(kept=list(reversed(EASY)))


def test_chance_alone_makes_small_selections_differ_as_the_report_says() -> None:
    difficulty = {str(number): 1 + number % 4 for number in range(400)}
    rng = np.random.default_rng(1)
    farther = 0
    for trial in range(200):
        drawn = [str(number) for number in rng.choice(400, size=60, replace=False)]
        (each,) = difficulty_bias(difficulty, {SUCCESS_ONLY: drawn}, task=str(trial), resamples=400).distances
        farther += each.distance > each.by_chance
    assert 2 <= farther <= 20
    assert compare(kept=list(SOURCE)).distances[0].by_chance == 0


def test_where_all_is_equally_hard_no_distance_is_told() -> None:
    bias = difficulty_bias(dict.fromkeys("abcd", 1), {KEPT: "abcd", SUCCESS_ONLY: "a"}, task="made", resamples=20)
    assert bias.constant and bias.ratio is None
    assert [row[6:] for row in distance_table([bias]).rows] == [("constant", "-", "-", ""), ("constant", "-", "-", "-")]
    assert bias.to_json()["distances"][1]["total_variation"] is None
    assert not compare(kept=EASY).constant


def test_a_teacher_that_solves_nothing_is_told_apart_from_one_that_solves_other_problems() -> None:
    bias = compare(kept=list(SOURCE), success_only=[])
    assert distance_table([bias]).rows[1][3:] == ("0", "1.50", "-", "none selected", "-", "-", "-")
    assert json.loads(json.dumps(bias.to_json(), allow_nan=False))["distances"][1]["total_variation"] is None


def test_many_difficulties_are_put_together_as_equally_filled_as_can_be() -> None:
    difficulty = {str(number): number for number in range(1, 101)}
    bias = difficulty_bias(difficulty, {}, task="made", most_levels=4)
    assert bias.levels == ("1 to 25", "26 to 50", "51 to 75", "76 to 100")
    assert bias.counts["source"] == (25, 25, 25, 25)


@pytest.mark.parametrize(
    ("difficulty", "selections", "message"),
    [
        ({}, {}, "made: no instance; expected at least one"),
        (SOURCE, {KEPT: ["3/1"]}, "made: '3/1' is kept, and not in the source"),
    ],
)
def test_what_cannot_be_compared_is_refused(difficulty: dict, selections: dict, message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        difficulty_bias(difficulty, selections, task="made")


def test_tables_and_chart_show_all_sets() -> None:
    bias = compare(kept=list(SOURCE), success_only=EASY)
    assert distance_table([bias]).rows[1][:7] == ("made", "success only", "10", "5", "1.50", "1.00", "0.500")
    assert distance_table([bias]).rows[1][-1] == "∞"
    assert level_table(bias).rows[1] == ("2", "50.0 % (5)", "50.0 % (5)", "0.0 % (0)")
    chart = level_chart(bias)
    assert "2, success only: 0.0 %" in chart and "1, source: 50.0 %" in chart
