"""Measures generation: prefill and decode tokens/s, multi-turn episodes/s and latencies, alone or beside a peer's.

  python scripts/bench_generation.py --shape=60m --rows=8 --peer=transformers
  python scripts/bench_generation.py --shape=60m --work=episodes --peer=transformers
  python scripts/bench_generation.py --shape=7b --rows=64 --dtype=bfloat16 --peer=transformers --bandwidth=4.8e12

Every measurement is a process of its own with random weights, and those of the two sides alternate, so that a machine
that does other work too disturbs both alike. `--work=decode` reads `--rows` prompts and writes to all of them;
`--work=episodes` plays `--episodes` conversations at once: the peer, which keeps none, reads each whole again at every
turn, in one padded batch. The engine's count of tokens that it read twice stands beside it.

`--bandwidth` (bytes/s of the device's memory) adds the share that decoding reaches of what the bytes of weights and
cache allow: each step reads all weights and the cache of all rows once.
"""

import argparse
import importlib.util
import math
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_training import SHAPES, measured

OURS, PEER = (Path(__file__).with_name(f"bench_generation_{side}.py") for side in ("ours", "peer"))


def main() -> int:
    flags = _flags()
    turns = flags.turns if flags.work == "episodes" else 1
    length = flags.prompt + turns * flags.new_tokens + (turns - 1) * flags.observation
    settings = {**vars(flags), "model": SHAPES[flags.shape] | {"max_position_embeddings": -(-length // 64) * 64}}
    sides = {"ours": OURS} | ({} if flags.peer == "none" else {flags.peer: PEER})
    results: dict[str, list[dict]] = {side: [] for side in sides}
    for number in range(flags.rounds):
        for side, script in sides.items():
            result = measured(script, settings)
            results[side].append(result)
            if not number:
                print(f"{side}: {result.pop('about')}", flush=True)
            values = "  ".join(f"{name} {value:,.4g}" for name, value in result.items() if name != "about")
            print(f"{side:12} {values}", flush=True)
    if flags.peer in results:
        names = [name for name in results["ours"][0] if name.endswith("/s") and name in results[flags.peer][0]]
        ratios = {
            name: statistics.median(result[name] for result in results["ours"])
            / statistics.median(result[name] for result in results[flags.peer])
            for name in names
        }
        said = ", ".join(f"{ratio:.2f} x the {name}" for name, ratio in ratios.items())
        print(f"medians of {flags.rounds}: {said} of {flags.peer}")
    return 0


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--work", default="decode", choices=["decode", "episodes"])
    add("--shape", default="60m", choices=SHAPES, help="of the model (default: 60m)")
    add("--rows", type=int, default=8, help="replies at once (decode)")
    add("--prompt", type=int, default=128, help="tokens of a prompt, or of an episode's instruction and task")
    add("--new_tokens", type=int, default=0, help="tokens of a reply (default: 128, in episodes 32)")
    add("--episodes", type=int, default=16, help="conversations at once (episodes)")
    add("--turns", type=int, default=8, help="replies of an episode")
    add("--observation", type=int, default=150, help="tokens of an observation")
    add("--shared", type=int, default=64, help="tokens with which all prompts of episodes begin")
    add("--dtype", default="float32", choices=["float32", "bfloat16"])
    add("--weights", default="", choices=["", "int8"], help="ours: how the weights are kept")
    add("--chunk", type=int, default=0, help="ours: tokens of a decoding call")
    add("--peer", default="none", choices=["none", "transformers"])
    add("--peer_cache", default="dynamic", choices=["dynamic", "static"], help="the peer's cache_implementation")
    add("--rounds", type=int, default=3, help="measurements of each side")
    add("--repeats", type=int, default=3, help="of the work in a measurement, of which the median counts")
    add("--bandwidth", type=float, default=0.0, help="bytes/s of the device's memory")
    add("--cores", type=int, default=len(os.sched_getaffinity(0)), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    for name in ("rows", "prompt", "episodes", "turns", "observation", "rounds", "repeats"):
        if getattr(flags, name) < 1:
            parser.error(f"--{name}={getattr(flags, name)}: expected at least 1")
    for name in ("new_tokens", "chunk", "bandwidth"):
        if not 0 <= getattr(flags, name) < math.inf:
            parser.error(f"--{name}={getattr(flags, name)}: expected 0 (as if it were not given) or more")
    if flags.work == "episodes" and not 0 <= flags.shared < flags.prompt:
        parser.error(f"--shared={flags.shared}: expected 0 to {flags.prompt - 1}, below --prompt")
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if flags.peer == "transformers" and missing:
        parser.error(f"--peer=transformers: {missing[0]} is not installed; expected pip install {' '.join(missing)}")
    flags.new_tokens = flags.new_tokens or (32 if flags.work == "episodes" else 128)
    if flags.work == "decode" and flags.new_tokens < 2:
        parser.error(f"--new_tokens={flags.new_tokens}: expected at least 2")
    return flags


if __name__ == "__main__":
    sys.exit(main())
