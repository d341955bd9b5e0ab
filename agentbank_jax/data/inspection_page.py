"""An inspection as one HTML page."""

from html import escape

from agentbank_jax.data.inspection import Example, Inspection
from agentbank_jax.data.inspection_text import contamination_lines, example_title, packing_lines, tables
from agentbank_jax.presentation.charts import Bar, bar_chart, histogram
from agentbank_jax.presentation.page import facts_list, page


def to_html(inspection: Inspection) -> str:
    """Returns the whole page."""
    title = f"Mixture ‘{inspection.mixture}’"
    warning = ' class="warning"' if inspection.spoilt else ""
    shares = [(row.name, [Bar(value=row.share), Bar(value=row.trained / row.tokens)]) for row in inspection.tasks]
    series = ("its share of an epoch's tokens", "the trained share of its own")
    lengths = inspection.histogram
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>{facts_list(inspection.facts)}",
            *(f"<p{warning}>{escape(line)}</p>" for line in contamination_lines(inspection)),
            *(table.to_html() for table in tables(inspection)),
            "<h2>Shares</h2>",
            bar_chart(shares, series, title="Shares of each task"),
            "<h2>Lengths</h2>",
            histogram(
                lengths.edges, lengths.counts, title="Lengths of trajectories", x_label="tokens", y_label="trajectories"
            ),
            "<h2>Packing</h2>",
            *(f"<p>{escape(line)}</p>" for line in packing_lines(inspection)),
            "<h2>Examples</h2>",
            '<p class="note">As the model sees them, special tokens included; <mark>underlined and bold</mark> is what '
            "it learns to write.</p>",
            *map(_example, inspection.examples),
        ],
    )


def _example(example: Example) -> str:
    text = "".join(f"<mark>{escape(part)}</mark>" if is_trained else escape(part) for part, is_trained in example.spans)
    # A parser drops a line feed right after the tag.
    return f'<details><summary>{escape(example_title(example))}</summary><pre class="example">\n{text}</pre></details>'
