"""`python scripts/convert_bank.py`: flags, progress, and what was lost or skipped."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.report_errors import INTERRUPTED

if TYPE_CHECKING:
    from agentbank_jax.trajectories.formats.conversion import Conversion

_DESCRIPTION = """\
Converts trajectories from any layout and kind of file into any other.
Layouts: agentbank (the released one), sharegpt, openai, agentinstruct. Kinds of file: .parquet,
.json, .jsonl, .json.gz, .jsonl.gz. The output appears only when it is whole."""
_EXAMPLES = """\
examples:
  python scripts/convert_bank.py data/starter_math --to=openai --output=starter_math.jsonl
  python scripts/convert_bank.py chats.json --to=agentbank --output=data/chats --task=chats
  python scripts/convert_bank.py 'data/*/train-*.parquet' --to=agentinstruct --output=all.jsonl.gz --on_error=skip"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Ctrl-C leaves nothing either, and ends with status 130.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    parser = make_parser("convert_bank.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="a file, a pattern, or a folder with train* files; also "
        "gs://…")  # fmt: skip
    add("--from", dest="source", default="auto", metavar="LAYOUT", help="the layout to read (default: auto, told by "
        "each file's first row)")  # fmt: skip
    add("--to", required=True, metavar="LAYOUT", help="the layout to write")
    add("--output", required=True, metavar="PATH", help="a file, whose ending says of which kind, or a folder of "
        "train-* shards (a name without an ending)")  # fmt: skip
    add("--task", metavar="NAME", help="the task's name (default: each row's own, else the file's name)")
    add("--kind", metavar="KIND", help="of the shards in a folder: parquet, json, jsonl, json.gz or jsonl.gz (default: "
        "parquet)")  # fmt: skip
    add("--shard_rows", type=int, metavar="N", help="trajectories per shard in a folder (default: all in one)")
    add("--on_error", default="raise", metavar="POLICY", help="raise: the first bad row ends the conversion (default); "
        "skip: leave bad rows out, count them, list them in skipped.jsonl")  # fmt: skip
    add("--lossy", action="store_true", help="leave out what the layout cannot hold, such as masks")
    add("--overwrite", action="store_true", help="replace the output where it exists")
    options = parse_flags(parser, arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.data.remote import fetch_paths
    from agentbank_jax.places import local_path
    from agentbank_jax.progress import Progress
    from agentbank_jax.trajectories.formats.conversion import convert

    local_path(options.output, "--output")
    begin = time.perf_counter()
    try:
        with Progress("trajectories") as progress:
            conversion = convert(
                fetch_paths(options.inputs),
                options.output,
                to=options.to,
                format=options.source,
                task=options.task,
                kind=options.kind,
                shard_rows=options.shard_rows,
                on_error=options.on_error,
                lossy=options.lossy,
                overwrite=options.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        # Unlike other commands it cannot go on from where it was.
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    _print_result(conversion, options.output, time.perf_counter() - begin)
    return 0


def _print_result(conversion: "Conversion", output: str, seconds: float) -> None:
    from agentbank_jax.trajectories.formats.destination import SKIPPED

    files = "" if conversion.files == 1 else f" in {conversion.files:,} files"
    print(f"{output}: {conversion.trajectories:,} trajectories{files} in {seconds:.1f} s")
    if conversion.losses.trajectories:
        print(f"lost: {conversion.losses}")
    skipped = conversion.skipped
    if not skipped:
        return
    print(f"skipped: {len(skipped):,} rows, listed in {SKIPPED}")
    for reason, count in skipped.reasons.most_common():
        print(f"  {count:,}: {reason}")
    for row in skipped.first:
        print(row.message)
    if len(skipped) > len(skipped.first):
        print(f"… and {len(skipped) - len(skipped.first):,} more")
