"""Measures how much of published data the bank's annotators keep: `python scripts/bench_yields.py --data_dir=PATH`.

Of each task whose files are there: source rows, rows whose actions replay to their reward in a fresh environment, and
drops by reason. Tasks whose data hold the steps are reformatted; alfworld and scienceworld take their engines' own
experts, where those are installed, whose solutions may have 400 steps. Benchmarks are evaluation data: the figures are
measured, no bank is written.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors

_EXPERTS = ("alfworld", "scienceworld")
_EXPERT_STEPS = 400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", metavar="FOLDER", help="a folder for each benchmark (default: "
                        "$AGENTBANK_BENCHMARKS)")  # fmt: skip
    parser.add_argument("--index", metavar="FOLDER", help="what hotpotqa and strategyqa search (default: an index of "
                        "the paragraphs in their own files, made for the time being)")  # fmt: skip
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="one task; may be repeated "
                        "(default: all that can run here)")  # fmt: skip
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth instance alone (default: 1)")
    parser.add_argument("--most", type=int, metavar="N", help="so many instances of a task at most (default: all)")
    parser.add_argument("--split", choices=("train", "test"), help="(default: train for gsm8k, else test)")
    parser.add_argument(
        "--drops", type=int, default=0, metavar="N", help="also print N drops of each task (default: 0)"
    )
    options = parser.parse_args()

    from agentbank_jax.bank.engine import close_engine
    from agentbank_jax.bank.reformatting.registry import TASKS, reformatter
    from agentbank_jax.bank.search.annotator import SearchAnnotator
    from agentbank_jax.bank.search.expert import Expert
    from agentbank_jax.bank.yields import measure, yield_table
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.environments import benchmark_data, registry
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from agentbank_jax.environments.index_build import build_index
    from agentbank_jax.environments.passage_files import find_passage_files

    console = make_console()
    found = []
    benchmark_data.configure(BenchmarkConfig(data_dir=options.data_dir))
    with tempfile.TemporaryDirectory() as temporary:
        index = options.index
        if index is None:
            places = [benchmark_data.folder(name) for name in ("hotpotqa", "strategyqa")]
            index = str(Path(temporary) / "index")
            if passages := [str(place) for place in places if place is not None and place.exists()]:
                build_index(find_passage_files(passages), Path(index))
        benchmark_data.configure(BenchmarkConfig(data_dir=options.data_dir, paths={"index": index}))
        for name in options.task or (*TASKS, *_EXPERTS):
            spec = registry.get(name)
            # GSM8K's training file is the only one of these that may enter a bank.
            split = options.split or ("train" if name == "gsm8k" else "test")
            missing = spec.available()
            if missing is not None:
                console.print(f"{name}: left out, since {missing}", markup=False, highlight=False)
                continue
            size = spec.size(split)
            assert size is not None, "published data end"
            numbers = range(0, size, max(1, options.every))[: options.most]
            started = time.perf_counter()
            instances = (spec.instance(split, number) for number in numbers)
            if name in _EXPERTS:
                expert = SearchAnnotator(searcher=Expert(), max_steps=_EXPERT_STEPS)
                result = measure(spec, instances, expert, max_steps=_EXPERT_STEPS)
                close_engine()
            else:
                result = measure(spec, instances, reformatter(name))
            found.append(result)
            console.print(f"{name}: {time.perf_counter() - started:.1f} s", highlight=False)
            for drop in result.drops[: options.drops]:
                console.print(f"  {drop.id}: {drop.reason}: {drop.detail:.200}", markup=False, highlight=False)
    console.print(yield_table(found).to_rich())
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
