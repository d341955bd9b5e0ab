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
import contextlib
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
    done: Counter[str] = Counter()
    try:
        make_bank(folder)
        began = time.monotonic()
        whole = {
            count: Run(folder, f"whole_{count}", processes=count) for count in (1, 2) if count == 1 or "peer" in kinds
        }
        for run in whole.values():
            run.finish()
        results = {count: run.result() for count, run in whole.items()}
        print(f"undisturbed: {whole[1].steps} steps; {time.monotonic() - began:.0f} s", flush=True)
        chance, number = random.Random(flags.seed), 0
        while sum(done.values()) < flags.faults:
            number += 1
            left = flags.faults - sum(done.values())
            counts = 2 if "peer" in kinds and (len(kinds) == 1 or number % 3 == 0) else 1
            run = Run(folder, f"run_{number}", processes=counts)
            suffered = _disturbed(
                run, [kind for kind in kinds if (kind == "peer") == (counts == 2)], chance, left, done
            )
            if run.result() != results[counts]:
                raise FaultError(f"after {', '.join(suffered)} the run {run.model_dir} ended with other values")
            print(f"{sum(done.values()):4} of {flags.faults} faults survived, bit for bit; last: {', '.join(suffered)}",
                  flush=True)  # fmt: skip
            if not flags.keep:
                run.remove()
    except FaultError as error:
        print(f"FAILED: {error}\nkept: {folder}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    print(
        f"{sum(done.values())} of {flags.faults} faults survived with bit-equal results in {seconds:.0f} s: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))
    )
    if flags.json:
        Path(flags.json).write_text(json.dumps({"survived": sum(done.values()), "kinds": done, "seconds": seconds}))
    if not flags.keep:
        for run in whole.values():
            run.remove()
        shutil.rmtree(folder)
    return 0


def _disturbed(run: Run, kinds: list[str], chance: random.Random, left: int, done: Counter[str]) -> list[str]:
    """Runs to the end through one to four faults, and says which they were."""
    suffered: list[str] = []
    for kind in chance.choices(kinds, k=min(left, chance.randint(1, 4))):
        try:
            struck = KINDS[kind](run, chance)
        except NotPossible as reason:
            print(f"{kind}: not possible here ({reason})", flush=True)
            with contextlib.suppress(ValueError):
                kinds.remove(kind)
            continue
        if struck:
            suffered.append(kind)
            done[kind] += 1
        if run.is_finished():
            break
    run.finish()
    return suffered


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
