"""Charts of comparisons place what they are given, whatever it is."""

from xml.etree import ElementTree

from hypothesis import example, given
from hypothesis import strategies as st

from agentbank_jax.presentation.line_charts import Point, forest_chart, stacked_chart


def test_a_forest_chart_places_each_difference_and_its_interval_about_zero() -> None:
    points = [
        Point(label="a<b", value=20.0, interval=(-20.0, 60.0), note="marked"),
        Point(label="a<b", value=-10.0, series=1),
        Point(label="mean", value=5.0, interval=(1.0, 9.0), strong=True),
    ]
    root = ElementTree.fromstring(forest_chart(points, ["m", "n"], ["series-0", "series-4"], title="t", x_label="x"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    # The axis from -20 to 60 in steps of 20; a label that is that of the line above is not said again.
    assert [text for text in texts if text in ("-20", "0", "+20", "+40", "+60")] == ["-20", "0", "+20", "+40", "+60"]
    labels = [one.find("{http://www.w3.org/2000/svg}title") for one in root.iter() if one.tag.endswith("text")]
    assert [one.text for one in labels if one is not None] == ["a<b", "mean"]
    assert "+20.0 marked" in texts and "-10.0 " in texts
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert [float(one.get("cx", "nan")) for one in circles] == [300.0, 120.0, 210.0]  # 60 + 480 (value + 20) / 80
    assert [one.get("class") for one in circles] == ["series-0", "series-4", "series-0"]
    whiskers = [element for element in root.iter() if element.get("class") == "whisker"]
    assert [(one.get("x1"), one.get("x2")) for one in whiskers] == [("60.0", "540.0"), ("186.0", "234.0")]


@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 50), st.booleans()), max_size=12),
    st.text(st.characters(categories=["L", "P"]), max_size=60),
)
@example([(5e-324, 0.0, False)], "")
def test_a_forest_chart_is_well_formed_for_any_values(values, label: str) -> None:
    points = [
        Point(label=label, value=value, interval=(value - size, value + size) if has else None)
        for value, size, has in values
    ]
    ElementTree.fromstring(forest_chart(points, ["m"], ["series-0"], title="<t>", x_label="&"))


def test_a_stacked_chart_divides_each_bar_as_its_counts_and_leaves_out_what_never_is() -> None:
    rows = [("m", [3, 0, 1]), ("n", [0, 0, 8]), ("o", [0, 0, 0])]
    svg = stacked_chart(rows, ["won", "never", "lost"], ["a", "b", "c"], title="t")
    root = ElementTree.fromstring(svg)
    bars = [one for one in root.iter() if one.tag.endswith("rect") and one.get("height") == "18"]
    assert [(one.get("class"), one.get("x"), one.get("width")) for one in bars] == [
        ("a", "60.0", "359.0"), ("c", "420.0", "119.0"), ("c", "60.0", "479.0"),
    ]  # fmt: skip
    assert "never" not in svg and "m, won: 3 of 4" in svg
