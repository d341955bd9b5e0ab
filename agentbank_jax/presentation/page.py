"""A report as one HTML page that needs nothing beside it: styles and charts are inside."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #60656c; --line: #d6d9dd; --back: #ffffff;
  --panel: #f5f6f8; --good: #1a7f4b; --bad: #b3382c; --trained: #d9e6fb;
  --s0: #2f6fdd; --s1: #9aa1ab; --s2: #d98a1f; --s3: #2f9e6b; --s4: #9a5bc7;
  --s5: #c23b5a; --s6: #0e8296; --s7: #8a5a3c; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --soft: #a0a6ad; --line: #3a3f45; --back: #16181b;
  --panel: #202327; --good: #4fc38a; --bad: #ee7d70; --trained: #24395c;
  --s0: #6b9dff; --s1: #7f868f; --s2: #eaa548; --s3: #52c592; --s4: #bd8be0;
  --s5: #ff7d93; --s6: #4cc7dc; --s7: #c9a184; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1.2em; } dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th.figure, td.figure { text-align: right; } tr.strong { font-weight: 650; }
td.marked { color: var(--bad); }
.note, .meaning { color: var(--soft); font-size: .92em; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .axis { fill: var(--soft); font-size: 11px; } svg .label { fill: var(--text); }
svg .strong { font-weight: 650; }
svg .grid { stroke: var(--line); } svg .zero { stroke: var(--text); }
svg .whisker { stroke: var(--text); stroke-opacity: .55; }
svg path { fill: none; stroke-width: 1.8; stroke-linecap: round; vector-effect: non-scaling-stroke; }
svg .curve { stroke: var(--s0); }
svg .series-0 { fill: var(--s0); } svg .series-1 { fill: var(--s1); } svg .series-2 { fill: var(--s2); }
svg .series-3 { fill: var(--s3); } svg .series-4 { fill: var(--s4); } svg .series-5 { fill: var(--s5); }
svg .series-6 { fill: var(--s6); } svg .series-7 { fill: var(--s7); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5em 0; }
summary { cursor: pointer; padding: .45em .8em; } .success { color: var(--good); } .failure { color: var(--bad); }
.turn { margin: .6em .8em; padding: .5em .8em; border-radius: 6px; background: var(--panel); }
.turn.agent { border-left: 4px solid var(--s0); } .turn.environment { border-left: 4px solid var(--s1); }
.turn.error { border-left: 4px solid var(--bad); }
.speaker { color: var(--soft); font-size: .8em; }
.turn pre, pre.example { margin: 0; font: 13px/1.45 ui-monospace, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
pre.example { margin: .6em .8em; } .warning { border-left: 4px solid var(--bad); padding: .3em .8em; }
mark { color: inherit; background: var(--trained); font-weight: 650; text-decoration: underline; }
"""


def page(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> str:
    """Returns a page.

    Args:
      title: plain text.
      parts: HTML, whose texts are escaped already.
      style: added to the style sheet.
      script: stands at the end, and is the only one that a browser runs: whatever the parts hold, the page's policy
        allows no other, and nothing from elsewhere.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"
    parts = [*parts, f"<script>{script}</script>"] if script else parts
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """Returns a list of names and their values."""
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{entries}</dl>"
