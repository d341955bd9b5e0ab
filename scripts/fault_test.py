"""Does to a training run what machines do to it, and shows that it ends as if nothing had been.

  python scripts/fault_test.py --faults=100
  python scripts/fault_test.py --kinds=kill,signal,disk --faults=12 --keep

Trains a small model on a small bank of its own: once undisturbed, then again and again with faults, each followed by
the same command. Every run must end with the parameters and the losses of the undisturbed one, bit for bit. Kinds:

  kill         SIGKILL at a moment chosen at random, start-up included
  checkpoint   SIGKILL while a checkpoint is written
  signal       SIGTERM: the run saves, and ends with status 75 within its grace period
  peer         one of two processes gets SIGKILL, and the other must end by itself
  disk         the disk is full when a checkpoint is written, and has room again later (a small tmpfs; needs root)
  damage       bytes of the last checkpoint are changed
  truncation   a file of the token cache is cut short
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.fault_kinds import KINDS, FaultError, NotPossible
from scripts.fault_run import Run, make_bank


def main() -> int:
    flags = _parser().parse_args()
    kinds = flags.kinds.split(",") if flags.kinds else list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        print(f"error: --kinds={unknown[0]} is not known; known: {', '.join(KINDS)}.", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="fault_test_"))
    runs: list[Run] = []
    done: Counter[str] = Counter()
    began = time.monotonic()
    try:
        make_bank(folder)
        _survive(folder, kinds, flags, runs, done)
    except FaultError as error:
        print(f"FAILED: {error}\nkept: {folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _remove(runs, folder)
        return 130
    seconds = time.monotonic() - began
    print(
        f"{sum(done.values())} of {flags.faults} faults survived with bit-equal results in {seconds:.0f} s: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))
    )
    if flags.json:
        Path(flags.json).write_text(json.dumps({"survived": sum(done.values()), "kinds": done, "seconds": seconds}))
    if not flags.keep:
        _remove(runs, folder)
    return 0


def _survive(folder: Path, kinds: list[str], flags: argparse.Namespace, runs: list[Run], done: Counter[str]) -> None:
    """Makes faults until there were as many as the flags say; appends the runs whose folders are there.

    Raises:
      FaultError: a run did not survive, or no kind is possible here.
    """
    results = {}
    for count in (1, 2) if "peer" in kinds else (1,):
        runs.append(Run(folder, f"whole_{count}", processes=count))
        runs[-1].finish()
        results[count] = runs[-1].result()
    print(f"undisturbed: {Run.steps} steps", flush=True)
    chance, number = random.Random(flags.seed), 0
    while (left := flags.faults - sum(done.values())) > 0:
        number += 1
        count = 2 if "peer" in kinds and (len(kinds) == 1 or number % 3 == 0) else 1
        run = Run(folder, f"run_{number}", processes=count)
        runs.append(run)
        suffered, impossible = _disturbed(
            run, [kind for kind in kinds if (kind == "peer") == (count == 2)], chance, left
        )
        for kind in impossible:
            kinds.remove(kind)
        if not kinds:
            raise FaultError("none of the faults is possible here")
        if run.result() != results[count]:
            raise FaultError(f"after {', '.join(suffered)} the run {run.model_dir} ended with other values")
        done.update(suffered)
        told = ", ".join(suffered) or "none, the run had ended"
        print(f"{sum(done.values()):4} of {flags.faults} faults survived, bit for bit; last: {told}", flush=True)
        if not flags.keep:
            runs.remove(run)
            run.remove()


def _disturbed(run: Run, kinds: list[str], chance: random.Random, left: int) -> tuple[list[str], set[str]]:
    """Runs to the end through one to four faults; says which they were, and which cannot be made here."""
    suffered: list[str] = []
    impossible: set[str] = set()
    for kind in chance.choices(kinds, k=min(left, chance.randint(1, 4))):
        if kind in impossible:
            continue
        try:
            struck = KINDS[kind](run, chance)
        except NotPossible as reason:
            print(f"{kind}: not possible here ({reason})", flush=True)
            impossible.add(kind)
            continue
        if struck:
            suffered.append(kind)
        if run.is_finished():
            break
    run.finish()
    return suffered, impossible


def _remove(runs: list[Run], folder: Path) -> None:
    for run in runs:
        run.remove()
    shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fault_test.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--faults", type=int, default=100, metavar="N", help="how many (default: 100)")
    add("--kinds", default="", metavar="KIND,…", help="which (default: all)")
    add("--seed", type=int, default=0, metavar="N", help="chooses the faults and their moments (default: 0)")
    add("--json", default="", metavar="FILE", help="writes the counts")
    add("--keep", action="store_true", help="keeps the folders of the runs")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
