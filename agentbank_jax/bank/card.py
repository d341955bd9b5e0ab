"""The dataset card of a bank: what each task holds, how it was made, and what was left out."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agentbank_jax.bank.difficulty import total_variation
from agentbank_jax.bank.staging import built_tasks
from agentbank_jax.environments.registry import SKILLS
from agentbank_jax.errors import AgentBankError
from agentbank_jax.whole_files import whole_file

CARD = "README.md"

_MARK = "<!-- made by build_bank.py -->"

# What the bytes of a shard depend on beside the project.
_PACKAGES = ("agentbank_jax", "pyarrow", "numpy")

_HEAD = """\
---
license: [{licences}]
task_categories: [text-generation]
tags: [agents, trajectories]
configs:
{configs}
---

{mark}

# Interaction trajectories

{total:,} trajectories of {tasks} tasks in {skills} skills, {turns:.1f} turns of the agent on average. Each row holds \
`id`, `conversations` (`from` is `human` or `gpt`) and what is known of it: `task`, `skill`, `source`, `license`, \
`reward`, `annotation`, `difficulty`, `seed`. The actions of every trajectory were played in a freshly reset \
environment, whose observations and reward these are.

{table}
"""

_NOTES = """
Turns are the agent's. *Distance* is the total variation between the difficulties of the problems that were taken and \
of those that were kept: 0 where what is kept is as hard as the source, *constant* where all problems count as equally \
hard. `derived`: the actions follow from the answer that a generated problem was made with.

## How each task was made

{tasks}

## What was left out

{drops}

## Making it again

`recipes/` holds the recipes as they ran, with every setting: `python scripts/build_bank.py \
--gin_file=recipes/NAME.gin` gives the same bytes with the same versions ({versions}) and the same data. \
`manifest.json` in a task's folder holds its parameters, a hash of the code that made it, and the SHA-256 of each \
shard; `drops.jsonl` names every problem that was left out, and why.
"""


def refuse_foreign_card(bank: Path) -> None:
    """Keeps a build from replacing a README that it did not write.

    Raises:
      AgentBankError: there is one.
    """
    path = bank / CARD
    if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise AgentBankError(
            f"{path}: build_bank.py did not write it, and would put the bank's card in its place; choose another "
            "--output or move it away."
        )


def write_card(bank: Path) -> Path:
    """Writes the card of all tasks whose manifests lie in a bank's folders; returns its path.

    Raises:
      OSError: where it cannot be written.
    """
    found = [manifest for manifest in built_tasks(bank).values() if manifest is not None]
    found.sort(key=lambda each: (_skill(each), each["parameters"]["task"]))
    path = bank / CARD
    with whole_file(path) as temporary:
        temporary.write_text(card(found), encoding="utf-8")
    return path


def card(manifests: Sequence[Mapping[str, Any]]) -> str:
    """The card, as Markdown with Hugging Face's front matter."""
    total = sum(each["rows"] for each in manifests)
    turns = sum(each["assistant_turns"] for each in manifests)
    parameters = [each["parameters"] for each in manifests]
    head = _HEAD.format(
        mark=_MARK,
        licences=", ".join(sorted({str(each["licence"]).lower() for each in parameters})),
        configs="\n".join(_config(each["task"]) for each in parameters),
        total=total,
        tasks=len(manifests),
        skills=len({each["skill"] for each in parameters}),
        turns=turns / total if total else 0.0,
        table=_table(manifests, total, turns),
    )
    return head + _NOTES.format(
        tasks="\n".join(_how(each) for each in parameters),
        drops="\n".join(_drops(each) for each in manifests),
        versions=", ".join((f"Python {platform.python_version()}", *(_version(name) for name in _PACKAGES))),
    )


def distance(manifest: Mapping[str, Any]) -> str:
    """The total variation between the difficulties of a task's source and of what was kept, where they vary."""
    counts = {name: dict(map(tuple, pairs)) for name, pairs in manifest["difficulty"].items()}
    levels = sorted(set().union(*counts.values()))
    source, kept = ([counts[name].get(level, 0) for level in levels] for name in ("source", "kept"))
    return f"{total_variation(source, kept):.3f}" if len(levels) > 1 else "constant"


def _skill(manifest: Mapping[str, Any]) -> int:
    return SKILLS.index(manifest["parameters"]["skill"])


def _config(task: str) -> str:
    return f"- config_name: {task}\n  data_files:\n  - split: train\n    path: {task}/train-*.parquet"


def _table(manifests: Sequence[Mapping[str, Any]], total: int, turns: int) -> str:
    lines = [
        "| task | skill | action space | trajectories | mean turns | annotation | distance | licence |",
        "|---|---|---|---:|---:|---|---:|---|",
    ]
    for each in manifests:
        facts, rows = each["parameters"], each["rows"]
        mean = each["assistant_turns"] / rows if rows else 0.0
        lines.append(
            f"| {facts['task']} | {facts['skill']} | {facts['action_space']} | {rows:,} | {mean:.1f} "
            f"| {facts['annotation']} | {distance(each)} | {facts['licence']} |"
        )
    lines.append(f"| all | | | {total:,} | {turns / total if total else 0.0:.1f} | | | |")
    return "\n".join(lines)


def _how(facts: Mapping[str, Any]) -> str:
    annotator = _settings(facts["annotator"])
    filters = "; ".join(_settings(each) for each in facts["filters"]) or "none"
    return (
        f"- **{facts['task']}**: {facts['source']}; environment {facts['environment']}, {facts['protocol']}"
        f"{', data ' + facts['data'] if facts['data'] else ''}; actions by {facts['annotation']} ({annotator}); "
        f"Thoughts by {_who(facts)}; filters: {filters}; seed {facts['seed']}."
    )


def _who(facts: Mapping[str, Any]) -> str:
    """Who worded the Thoughts."""
    if facts["annotation"] == "answer_forcing":
        return f"the model {facts['annotator']['teacher']['model']}, which was told the answer"
    rationales = facts["rationales"]
    given = "the source where it has any, else by " if facts["annotation"] == "reformatting" else ""
    return given + (f"the model {rationales['teacher']['model']}" if "teacher" in rationales else "templates")


def _settings(facts: Mapping[str, Any]) -> str:
    """Facts as one line; texts such as prompts and templates are left to the manifest."""
    shown = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = _settings(value)
        if value not in (None, "", "()") and len(str(value)) <= 80:
            shown.append(f"{name} {value}")
    return ", ".join(shown)


def _drops(manifest: Mapping[str, Any]) -> str:
    reasons = manifest["drops"]
    tried = manifest["rows"] + sum(reasons.values())
    counted = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]))
    return f"- **{manifest['parameters']['task']}**: {counted or 'nothing'}, of {tried:,} problems."


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a checkout that is not installed
        return f"{package}, a checkout"
