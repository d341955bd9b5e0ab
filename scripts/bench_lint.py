"""Measures the linter on a bank that it makes: `python scripts/bench_lint.py`.

The bank is JSON lines of seeded, varied trajectories with planted faults, whose number is known:
duplicates, nearly equal rows, e-mail addresses, telephone and card numbers, empty turns, and
evaluation questions. Printed are seconds, MB/s, processor seconds, peak memory, and each fault's
count, expected against found; the exit status is 1 where they differ. With --redact the same is
printed of a copy without personal data, which must hold no more of it.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from scripts.process_memory import memory_of, process_tree

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EVERY = 200  # rows between two that hold a fault
_ITEMS = 200
_SAMPLE_EVERY_S = 0.2


def make_bank(folder: Path, megabytes: float, seed: int, layout: str) -> "Counter[str]":
    """Writes `bank.jsonl` and `evaluation.jsonl`, and returns how many rows hold each planted fault."""
    generator = random.Random(seed)
    vocabulary = ["".join(generator.choices(_LETTERS, k=generator.randint(2, 10))) for _ in range(30_000)]
    items = [" ".join(generator.choices(vocabulary, k=generator.randint(15, 40))) for _ in range(_ITEMS)]
    lines = [json.dumps({"question": item, "answer": "7"}) + "\n" for item in items]
    (folder / "evaluation.jsonl").write_text("".join(lines))
    planted: Counter[str] = Counter()
    written, number, former = 0, 0, ""
    with open(folder / "bank.jsonl", "w") as file:
        while written < megabytes * 1e6:
            row = _row(generator, vocabulary, number)
            turns = row["conversations"]
            if number % _EVERY == _EVERY - 1:
                rule, turns = _plant(generator, number // _EVERY, turns, former, items, vocabulary)
                row["conversations"] = turns
                planted[rule] += 1
            line = json.dumps(_in_layout(row, layout)) + "\n"
            former = json.dumps(turns)
            written += file.write(line)
            number += 1
    return planted


def _row(generator: random.Random, vocabulary: list[str], number: int) -> dict:
    def sentence(words: int) -> str:
        return " ".join(generator.choices(vocabulary, k=words)).capitalize() + f", {generator.uniform(0, 9999):.2f}."

    turns = [{"from": "human", "value": sentence(30)}]
    for step in range(generator.randint(2, 6)):
        thought = sentence(generator.randint(10, 25))
        turns.append({"from": "gpt", "value": f"Thought: {thought}\nAction: {step} * {generator.randint(2, 10**6)}"})
        turns.append({"from": "human", "value": f"Observation: {sentence(generator.randint(20, 80))}"})
    turns.append({"from": "gpt", "value": f"Thought: {sentence(12)}\nFinal Answer: {generator.randint(0, 10**6)}"})
    return {"id": f"made/{number}", "conversations": turns, "source": f"source {number % 5}", "license": "CC0-1.0"}


def _in_layout(row: dict, layout: str) -> dict:
    from agentbank_jax.trajectories.formats.registry import get_format

    trajectory = get_format("agentbank").trajectory_from_row(row, where=row["id"], task="gsm8k")
    return get_format(layout).row_from_trajectory(trajectory)


def _plant(
    generator: random.Random, which: int, turns: list, former: str, items: list[str], vocabulary: list[str]
) -> tuple[str, list]:
    """Puts one fault into a row; returns its rule and the row's turns."""
    kind = which % 7
    if kind == 0:
        return "exact-duplicate", json.loads(former)
    if kind == 1:
        repeated = json.loads(former)
        # One word in 100 of the text is another: a Jaccard similarity of about 0.9.
        words = repeated[-3]["value"].split(" ")
        repeated[-3]["value"] = " ".join([*words[:-1], generator.choice(vocabulary)])
        return "near-duplicate", repeated
    if kind == 2:
        turns[0]["value"] += " Write to " + generator.choice(vocabulary) + "@example.org today."
        return "personal-email", turns
    if kind == 3:
        turns[0]["value"] += f" Call (212) 555-{generator.randint(1000, 9999)}."
        return "personal-phone", turns
    if kind == 4:
        turns[0]["value"] += " The card is 4111 1111 1111 1111."
        return "personal-card", turns
    if kind == 5:
        turns[2]["value"] = " "
        return "empty-turn", turns
    turns[0]["value"] += " " + generator.choice(items)
    return "evaluation-overlap", turns


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100, metavar="MB", help="of trajectories (default: 100)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--layout", default="agentbank", metavar="NAME", help="of the bank (default: agentbank)")
    parser.add_argument("--redact", action="store_true", help="measure the redacted copy too")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="makes the bank (default: 0)")
    options = parser.parse_args()

    from rich.console import Console
    from rich.table import Table

    from agentbank_jax.trajectories.lint.batch import LintSettings
    from agentbank_jax.trajectories.lint.linter import lint
    from agentbank_jax.trajectories.lint.overlap import EvaluationIndex, read_items
    from agentbank_jax.trajectories.lint.redaction import redact_files
    from agentbank_jax.trajectories.lint.rows import BankFile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = make_bank(folder, options.megabytes, options.seed, options.layout)
        path = folder / "bank.jsonl"
        megabytes = path.stat().st_size / 1e6
        usage = _Usage()
        _, items = read_items([folder / "evaluation.jsonl"])
        settings = LintSettings(evaluation=EvaluationIndex(items))
        result = lint([BankFile(path, "gsm8k")], settings, workers=options.workers)
        figures = [("lint", usage.stop())]
        remains: list[str] = []
        if options.redact:
            usage = _Usage()
            redact_files([BankFile(path, "gsm8k")], folder / "copy", workers=options.workers)
            figures.append(("redact", usage.stop()))
            copy = lint([BankFile(folder / "copy" / path.name, "gsm8k")], LintSettings(), workers=options.workers)
            remains = [rule for rule, count in copy.tally.rows.items() if count and rule.startswith("personal-")]
    table = Table("rule", "rows planted", "rows found", title="planted faults")
    rules = sorted({*planted, *result.tally.rows})
    for rule in rules:
        table.add_row(rule, f"{planted[rule]:,}", f"{result.tally.rows[rule]:,}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    rows, layout = result.file_rows[0], result.layouts[0]
    console.print(f"{rows:,} trajectories, {megabytes:.1f} MB, layout {layout}, {options.workers} workers")
    for name, (seconds, processor, peak) in figures:
        console.print(
            f"{name}: {seconds:.1f} s, {megabytes / seconds:.1f} MB/s, {processor:.1f} processor seconds; at most "
            f"{peak / 1e6:,.0f} MB of memory in all processes together"
        )
    if remains:
        console.print(f"the copy still holds {', '.join(remains)}")
    return int(bool(remains) or any(planted[rule] != result.tally.rows[rule] for rule in rules))


class _Usage:
    """Watches time, memory and processor time of this process and those below it, workers included."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._ticks: dict[int, float] = {}
        self._first = self._sample()[os.getpid()]
        self._started = time.perf_counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float, float]:
        """Returns seconds, processor seconds, and the most bytes that all processes had together."""
        seconds = time.perf_counter() - self._started
        self._ended.set()
        self._thread.join()
        return seconds, sum(self._ticks.values()) - self._first, self._peak

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_EVERY_S):
            self._sample()

    def _sample(self) -> dict[int, float]:
        resident = 0.0
        for process in process_tree(os.getpid()):
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            self._ticks[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            # Proportional: pages that processes share are counted once.
            resident += memory_of(process)["Pss"]
        self._peak = max(self._peak, resident)
        return self._ticks


if __name__ == "__main__":
    sys.exit(report_errors(main))
