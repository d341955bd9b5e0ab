"""`python scripts/export_hf.py`: a checkpoint of this project becomes a Hugging Face one."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.report_errors import INTERRUPTED
from agentbank_jax.errors import AgentBankError

_DESCRIPTION = """\
Writes a trained model as a Hugging Face checkpoint: config.json, safetensors, the tokenizer, and a
generation_config.json that ends a text at the tokens that were trained to end a turn.
Adapters (LoRA) are merged into the weights they belong to, or written alone in peft's layout with --adapter.
The folder appears only when it is whole."""
_EXAMPLES = """\
examples:
  python scripts/export_hf.py --checkpoint=runs/samoyed_tiny --out=exported/samoyed_tiny
  python scripts/export_hf.py --checkpoint=runs/samoyed_7b/checkpoints/500 --out=samoyed_7b --dtype=bfloat16
  python scripts/export_hf.py --checkpoint=runs/samoyed_7b_lora --out=samoyed_7b_lora --adapter"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake; nothing is written then.
      SystemExit: after `--help`.
    """
    parser = make_parser("export_hf.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--checkpoint", required=True, metavar="PATH", help="a run's folder, of which the last checkpoint is taken, or "
        "the folder of one step")  # fmt: skip
    add("--out", required=True, metavar="FOLDER", help="the folder to write")
    add("--dtype", metavar="TYPE", help="of the parameters: float32, bfloat16 or float16 (default: as trained)")
    add("--shard_gb", type=float, default=4.0, metavar="GB", help="most GB in one file (default: 4)")
    add("--adapter", action="store_true", help="write the adapters of a LoRA run alone, for peft, as they were trained")
    options = parse_flags(parser, arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.commands.hf_conversion import export_adapter, export_checkpoint

    started = time.perf_counter()
    out = Path(options.out).expanduser()
    if options.adapter and options.dtype:
        raise AgentBankError(f"--dtype={options.dtype}: adapters are written as they were trained; leave it out.")
    try:
        if options.adapter:
            files, size = export_adapter(options.checkpoint, out)
        else:
            files, size = export_checkpoint(options.checkpoint, out, dtype=options.dtype, shard_gb=options.shard_gb)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    print(
        f"{os.path.relpath(out)}: {size / 1e9:,.3f} GB in {files} file{'s' if files > 1 else ''} of weights, in "
        f"{time.perf_counter() - started:.1f} s"
    )
    return 0
