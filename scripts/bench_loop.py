"""Measures what the training loop costs beside its steps, on a CPU: checkpoints, data, start-up, resuming, processes.

  python scripts/bench_loop.py
  python scripts/bench_loop.py --figures=checkpoint,outside --repeats=5

Figures, each a median of `--repeats` interleaved measurements with the model of samoyed_tiny.gin:

  outside      share of a steady run's time that is not the compiled step: data, logging, reading metrics
  checkpoint   share of a run's time that asynchronous checkpoints take, one every 50 steps
  start        seconds from the command to the first step, with a token cache, and with compiled programs or without
  resume       seconds from the command to the next step, after SIGKILL
  processes    tokens/s of two processes with a device each, of those of one process with two devices
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

FIGURES = ("outside", "checkpoint", "start", "resume", "processes")


def main() -> int:
    flags = _parser().parse_args()
    figures = flags.figures.split(",")
    if unknown := [name for name in figures if name not in FIGURES]:
        print(f"error: --figures={unknown[0]} is not known; known: {', '.join(FIGURES)}.", file=sys.stderr)
        return 2
    from scripts import bench_loop_commands, bench_loop_steps

    with tempfile.TemporaryDirectory() as folder:
        if {"outside", "checkpoint"} & set(figures):
            began = time.perf_counter()
            found = [bench_loop_steps.measure(Path(folder, str(n)), flags.steps) for n in range(flags.repeats)]
            for name in ("outside", "checkpoint"):
                values = [each[name] for each in found]
                if name in figures:
                    print(f"{name:12} {statistics.median(values):7.2%}  ({', '.join(f'{v:.2%}' for v in values)})")
            bare = statistics.median(each["step_seconds"] for each in found)
            print(f"{'':12} {bare * 1e3:.0f} ms a step, {flags.steps} steps a run; {time.perf_counter() - began:.0f} s")
        if {"start", "resume", "processes"} & set(figures):
            bench_loop_commands.measure(Path(folder), figures, flags.repeats)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench_loop.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figures", default=",".join(FIGURES), metavar="NAME,…", help="which (default: all)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measurements of each (default: 3)")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="steps of a measured run (default: 150)")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
