"""Measures the real training step on made trajectories: tokens/s and causal MFU, alone or beside a peer's.

  python scripts/bench_training.py --shape=tiny --rows=16 --length=512
  python scripts/bench_training.py --shape=60m --rows=4 --length=512 --peer=transformers --compile
  python scripts/bench_training.py --shape=7b --rows=4 --length=4096 --dtype=bfloat16 --param_dtype=bfloat16 \\
      --remat=minimal --scan_layers --peer=transformers --compile --peer_micro_rows=1

Needs neither TensorFlow, SeqIO, gin nor Grain; `--peer=transformers` needs `transformers` and PyTorch. Every
measurement is a process of its own, and those of the two sides alternate, so that a machine that does other work
too disturbs both alike. The parameters and AdamW's two moments have `--param_dtype` on both sides.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SHAPES = {
    "tiny": {"vocab_size": 3500, "hidden_size": 128, "intermediate_size": 384, "num_layers": 3, "num_heads": 1},
    "60m": {"vocab_size": 32000, "hidden_size": 512, "intermediate_size": 1408, "num_layers": 8, "num_heads": 8},
    "1b": {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_layers": 22, "num_heads": 32,
           "num_kv_heads": 4},
    "7b": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_layers": 32, "num_heads": 32},
}  # fmt: skip

OURS, PEER = Path(__file__).with_name("bench_training_ours.py"), Path(__file__).with_name("bench_training_peer.py")


def main() -> int:
    flags = _parser().parse_args()
    settings = {**vars(flags), "model": _model(flags)}
    sides = {"ours": OURS} | ({flags.peer: PEER} if flags.peer else {})
    results: dict[str, list[dict]] = {side: [] for side in sides}
    for number in range(flags.rounds):
        for side, script in sides.items():
            result = measured(script, settings)
            results[side].append(result)
            if not number:
                print(f"{side}: {result['about']}", flush=True)
            print(
                f"{side:12} {result['tokens_per_second']:10,.0f} useful tokens/s {result['mfu']:7.1%} MFU "
                f"{result['seconds_per_step'] * 1e3:9,.0f} ms a step {result['fill']:6.1%} filled "
                f"{result['peak_bytes'] / 1e9:7.2f} GB peak {result['compile_seconds']:6.1f} s to the first step  "
                f"loss {result['first_loss']:.4f} -> {result['last_loss']:.4f}",
                flush=True,
            )
    if flags.peer:
        ratios = {
            name: statistics.median(result[name] for result in results["ours"])
            / statistics.median(result[name] for result in results[flags.peer])
            for name in ("tokens_per_second", "peak_bytes")
        }
        print(
            f"medians of {flags.rounds}: {ratios['tokens_per_second']:.2f} x the useful tokens/s of {flags.peer}, "
            f"{ratios['peak_bytes']:.2f} x its peak memory"
        )
    return 0


def _model(flags: argparse.Namespace) -> dict[str, int]:
    model = dict(SHAPES[flags.shape])
    model |= {name: getattr(flags, name) for name in model if getattr(flags, name, None)}
    model["max_position_embeddings"] = flags.length
    return model


def measured(script: Path, settings: dict) -> dict:
    """Runs one measurement in a process of its own."""
    run = subprocess.run([sys.executable, str(script), json.dumps(settings)], stdout=subprocess.PIPE, text=True)
    if run.returncode == 2:
        sys.exit(2)  # a user's mistake, which it has told
    if run.returncode:
        sys.exit(f"{script.name} ended with status {run.returncode}.")
    return json.loads(run.stdout.splitlines()[-1])


def _at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """A type of flags."""

    def number(text: str) -> float:
        if not least <= kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f"{text}: expected at least {least}")
        return kind(text)

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shape", default="tiny", choices=SHAPES, help="of the model (default: tiny)")
    for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads"):
        add(f"--{name}", type=int, default=0, help="in place of the shape's")
    add("--rows", type=_at_least(1), default=16, help="rows of a batch")
    add("--length", type=_at_least(16), default=512, help="tokens of a row")
    add("--data", default="packed", choices=["packed", "whole"],
        help="packed: trajectories of log-normal lengths share rows, and the peer pads batches of like lengths; "
        "whole: each row is one trajectory, on both sides")  # fmt: skip
    add("--mean_tokens", type=int, default=0, help="of a packed trajectory (default: a fifth of a row)")
    add("--trained", type=float, default=0.4, help="share of trained tokens")
    add("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the computation")
    add("--param_dtype", default="float32", choices=["float32", "bfloat16"], help="of parameters and moments")
    add("--attention", default="auto", help="our attention backend")
    add("--remat", default="none", help="our rematerialisation policy")
    add("--scan_layers", action="store_true")
    add("--loss", default="trained", choices=["trained", "full"], help="what we project to the vocabulary")
    add("--seconds", type=_at_least(0.0, float), default=10.0, help="of steps in a measurement")
    add("--rounds", type=_at_least(1), default=3, help="measurements of each side")
    add("--peer", choices=["transformers"])
    add("--compile", nargs="?", const="model", default="", choices=["model", "layers"],
        help="the peer's torch.compile, of the whole model or of each layer, which takes far less time")  # fmt: skip
    add("--peer_attention", default="sdpa", help="the peer's attn_implementation")
    add(
        "--peer_micro_rows", type=int, default=0, help="rows of tokens in its micro-batches, where a batch is too large"
    )
    add("--peer_checkpointing", action="store_true", help="its gradient checkpointing")
    add("--cores", type=int, default=len(os.sched_getaffinity(0)), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
