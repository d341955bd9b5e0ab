"""Charts are well-formed whatever they show, and show every value."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.presentation.charts import (
    Bar,
    Curve,
    bar_chart,
    histogram,
    line_chart,
    overlay_chart,
)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(allow_nan=True, allow_infinity=True)), max_size=30),
    st.text(max_size=20),
)
def test_a_line_chart_is_well_formed_for_any_values(points, title: str) -> None:
    printable = "".join(character for character in title if character.isprintable())
    ElementTree.fromstring(line_chart(points, title=printable, x_label="<x>", y_label="&"))


def test_a_bar_chart_shows_each_value_and_says_where_there_is_none() -> None:
    bars = [Bar(value=0.5, interval=(0.3, 0.7)), Bar(value=None, label="not run")]
    svg = bar_chart([("a<b", bars)], ["m", "n"], title="t")
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert "50" in texts and "not run" in texts and "a<b" in texts


def test_a_bar_without_an_interval_has_no_whisker() -> None:
    assert "whisker" not in bar_chart([("a", [Bar(value=0.5)])], ["m"], title="t")
    assert "whisker" in bar_chart([("a", [Bar(value=0.5, interval=(0.3, 0.7))])], ["m"], title="t")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=25))
def test_a_histogram_has_a_bar_for_each_count_in_proportion(counts: list[int]) -> None:
    edges = list(range(0, 50 * len(counts) + 1, 50))
    root = ElementTree.fromstring(histogram(edges, counts, title="<t>", x_label="x", y_label="y"))
    bars = [element for element in root.iter() if element.tag.endswith("rect")]
    most = max(*counts, 1)
    heights = [float(bar.get("height", "nan")) for bar in bars]
    # They are written with one decimal.
    assert heights == pytest.approx([220 * count / most for count in counts], abs=0.051)
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert titles[1:] == [f"{edge:,} to {edge + 49:,}: {count:,}" for edge, count in zip(edges, counts, strict=False)]


def test_a_histogram_counts_in_plain_numbers() -> None:
    root = ElementTree.fromstring(histogram([0, 10, 20], [51_287, 3], title="t", x_label="x", y_label="y"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts[:5] == ["0", "12,822", "25,644", "38,465", "51,287"] and texts[5:8] == ["0", "10", "20"]


def test_curves_over_each_other_share_their_axes_and_carry_their_names() -> None:
    curves = [Curve(points=[(0, 1), (10, 3)], name="a<b", style="one"), Curve(points=[(5, 2)], name="b", style="two")]
    root = ElementTree.fromstring(overlay_chart(curves, title="t", x_label="x", y_label="y"))
    paths = {path.get("class"): path.get("d") for path in root.iter() if path.tag.endswith("path")}
    # In half units of a picture of 660 x 240, with a margin of a twentieth above and below.
    assert paths == {"one": "M0 458 l0 0 1320 -436", "two": "M660 240 l0 0"}
    assert "a<b" in [element.text for element in root.iter() if element.tag.endswith("title")]


def test_curves_with_a_legend_make_room_for_it() -> None:
    curves = [Curve(points=[(0, 1), (10, 3)], name=f"curve {number} of many", style="one") for number in range(12)]
    with_key, without = (
        ElementTree.fromstring(overlay_chart(curves, title="t", x_label="x", y_label="y", legend=legend))
        for legend in (True, False)
    )
    heights = [float(root.get("viewBox", "").split()[3]) for root in (with_key, without)]
    assert heights[0] > heights[1]
    names = [one for one in with_key.iter() if one.tag.endswith("text") and (one.text or "").startswith("curve")]
    grid = [float(one.get("y1", "nan")) for one in with_key.iter() if one.get("class") == "grid"]
    assert len(names) == 12 and max(float(one.get("y", "nan")) for one in names) < min(grid)


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm_and_shows_values() -> None:
    curve = Curve(points=[(0, 1), (1, 0), (2, -5), (3, 100), (4, float("nan"))], name="a")
    root = ElementTree.fromstring(overlay_chart([curve], title="t", x_label="x", y_label="y", logarithmic=True))
    (path,) = (element.get("d", "") for element in root.iter() if element.tag.endswith("path"))
    assert path == "M0 458 l0 0 1320 -436"
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "10" in texts


def test_curves_without_values_say_so() -> None:
    for curves in ([], [Curve(points=[(0, float("nan"))], name="a")]):
        assert "Too few points." in overlay_chart(curves, title="t", x_label="x", y_label="y")


def test_a_legend_takes_as_many_lines_as_its_names_need_and_none_is_cut() -> None:
    names = [f"a model with a rather long name {number}" for number in range(9)]
    root = ElementTree.fromstring(bar_chart([("g", [Bar(value=0.5)] * 9)], names, title="t"))
    labels = [one for one in root.iter() if one.tag.endswith("text") and one.text in names]
    width = float(root.get("viewBox", "").split()[2])
    assert len(labels) == 9 and len({one.get("y") for one in labels}) > 2
    assert all(float(one.get("x", "nan")) + 7 * len(one.text or "") <= width for one in labels)
    bars = [
        one
        for one in root.iter()
        if one.tag.endswith("rect") and one.get("height") == "11" and one.get("width") != "11"
    ]
    assert max(float(one.get("y", "nan")) for one in labels) < min(float(one.get("y", "nan")) for one in bars)
