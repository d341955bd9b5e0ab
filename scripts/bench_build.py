"""Measures a build of a bank: `python scripts/bench_build.py --output=FOLDER -- --gin_file=bank/open.gin`.

What follows -- goes to `scripts/build_bank.py`. Shown are the seconds of the whole command, the most memory that all
its processes had together (proportional, shared pages counted once; sampled), and of the bank how many trajectories
and tasks it has, its largest and its smallest task, and the share of candidates that were kept.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from scripts.process_memory import memory_of, process_tree

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_SECONDS = 0.5


def main() -> int:
    arguments = sys.argv[1:]
    place = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the bank; an empty or new folder")
    options = parser.parse_args(arguments[:place])

    from rich.console import Console
    from rich.table import Table

    from agentbank_jax.bank.staging import MANIFEST
    from agentbank_jax.errors import AgentBankError

    bank = Path(options.output)
    if bank.exists() and any(bank.iterdir()):
        raise AgentBankError(f"--output={bank}: is not empty; expected a new folder, so that everything is built.")
    command = [sys.executable, str(ROOT / "scripts/build_bank.py"), f"--output={bank}", *arguments[place + 1 :]]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    sampler = _Sampler(process.pid)
    sampler.start()
    status = process.wait()
    seconds = time.perf_counter() - started
    sampler.join()
    if status:
        return status
    manifests = [json.loads(path.read_text()) for path in sorted(bank.glob(f"*/{MANIFEST}"))]
    rows = {each["parameters"]["task"]: each["rows"] for each in manifests}
    total, dropped = sum(rows.values()), sum(sum(each["drops"].values()) for each in manifests)
    largest, smallest = max(rows, key=rows.__getitem__), min(rows, key=rows.__getitem__)
    table = Table("figure", "measured", title="a build")
    for name, value in (
        ("seconds", f"{seconds:.0f} ({seconds / 60:.1f} minutes)"),
        ("peak memory", f"{sampler.peak / 1e9:.2f} GB"),
        ("trajectories", f"{total:,}, {total / seconds:,.0f}/s"),
        ("tasks, skills", f"{len(rows)}, {len({each['parameters']['skill'] for each in manifests})}"),
        ("largest task", f"{largest}, {100 * rows[largest] / total:.1f} %"),
        ("smallest task", f"{smallest}, {rows[smallest]:,} trajectories"),
        ("kept", f"{100 * total / (total + dropped):.2f} % of {total + dropped:,} candidates"),
    ):
        table.add_row(name, value)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


class _Sampler(threading.Thread):
    """The most memory that a process and all it started have together, until it ends."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process, self.peak = process, 0

    def run(self) -> None:
        while Path(f"/proc/{self._process}/smaps_rollup").exists():
            used = sum(memory_of(each)["Pss"] for each in process_tree(self._process))
            if not used:  # a zombie: ended, and not waited for yet
                return
            self.peak = max(self.peak, used)
            time.sleep(_SAMPLE_SECONDS)


if __name__ == "__main__":
    sys.exit(report_errors(main))
