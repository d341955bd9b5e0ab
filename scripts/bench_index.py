"""Measures the index of passages: `python scripts/bench_index.py`.

Of a made corpus (seeded, its words as frequent as in English): passages indexed per second, bytes on disk, and the time
of a search for 12 of a passage's words. With --hotpotqa=FILE, HotpotQA's questions with their paragraphs: of the gold
paragraphs, the share that is among the best five when the question itself is the query, in an index of all paragraphs
of the file, and how often a gold title finds its paragraph first.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors

_VOCABULARY = 100_000
_WORDS = 100
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make_corpus(path: Path, passages: int, seed: int) -> list[str]:
    """Writes passages as JSON lines; returns 200 queries."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(_LETTERS, k=rng.randint(2, 11))) for _ in range(_VOCABULARY)]
    weights = [1 / rank for rank in range(1, _VOCABULARY + 1)]
    # Drawn once in bulk: a passage is a slice of the stream.
    stream = rng.choices(words, weights, k=1_000_003)
    queries = []
    with open(path, "w") as file:
        for number in range(passages):
            start = rng.randrange(len(stream) - _WORDS)
            text = stream[start : start + _WORDS]
            title = f"{rng.choice(words)} {rng.choice(words)}"
            file.write(json.dumps({"title": title, "text": " ".join(text)}) + "\n")
            if number % max(1, passages // 200) == 0:
                queries.append(" ".join(rng.sample(text, 12)))
    return queries


def measure_size(folder: Path, passages: int, seed: int, say: Callable[[str], None]) -> None:
    from agentbank_jax.environments.index_build import build_index
    from agentbank_jax.environments.passage_index import PassageStore

    queries = make_corpus(folder / "passages.jsonl", passages, seed)
    begin, processor = time.perf_counter(), time.process_time()
    manifest = build_index([folder / "passages.jsonl"], folder / "made")
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    size = sum(each.stat().st_size for each in (folder / "made").rglob("*") if each.is_file())
    store = PassageStore(folder / "made")
    taken, computed = [], []
    for query in queries:
        begin, thread = time.perf_counter(), time.thread_time()
        store.search(query, 5)
        taken.append((time.perf_counter() - begin) * 1e3)
        computed.append((time.thread_time() - thread) * 1e3)
    say(
        f"made corpus: {manifest.passages:,} passages of {_WORDS} words in {seconds:.1f} s "
        f"({manifest.passages / seconds:,.0f}/s, {processor:.1f} processor seconds), {size / 1e6:,.0f} MB; "
        f"a search takes {statistics.median(taken):.1f} ms (median; {statistics.median(computed):.1f} ms of a "
        f"processor), {statistics.quantiles(taken, n=20)[-1]:.1f} ms (95 %)"
    )


def measure_recall(folder: Path, questions: Path, say: Callable[[str], None]) -> None:
    from agentbank_jax.environments.benchmark_rows import read_rows
    from agentbank_jax.environments.index_build import build_index
    from agentbank_jax.environments.passage_index import PassageStore

    manifest = build_index([questions], folder / "hotpotqa")
    store = PassageStore(folder / "hotpotqa")
    gold, found, first, whole, asked, taken = 0, 0, 0, 0, 0, []
    for _, row in read_rows(questions, {"supporting_facts": list, "question": str}):
        titles = {title for title, _ in row["supporting_facts"]}
        begin = time.perf_counter()
        hits = {passage.title for passage in store.search(row["question"], 5)}
        taken.append((time.perf_counter() - begin) * 1e3)
        asked += 1
        gold += len(titles)
        found += len(titles & hits)
        whole += titles <= hits
        first += sum(store.search(title, 1)[0].title == title for title in titles)
    say(
        f"{questions.name}: {asked:,} questions over {manifest.articles:,} paragraphs ({manifest.passages:,} passages) "
        f"recall@5 of gold paragraphs {found / gold:.3f}, all of a question's {whole / asked:.3f}; "
        f"their titles find them first in {first / gold:.1%}; a search takes {statistics.median(taken):.2f} ms (median)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000, metavar="N", help="made ones (default: 100,000)")
    parser.add_argument("--hotpotqa", type=Path, metavar="FILE", help="HotpotQA's questions with their paragraphs")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="makes the corpus (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.passages:
            measure_size(Path(name), options.passages, options.seed, print)
        if options.hotpotqa:
            measure_recall(Path(name), options.hotpotqa, print)
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
