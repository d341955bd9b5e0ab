"""`python scripts/build_index.py`: flags, progress, and what the index holds."""

import sys
import time
from collections.abc import Sequence

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.report_errors import INTERRUPTED

_DESCRIPTION = """\
Builds the full-text index that the tasks hotpotqa, strategyqa, triviaqa and bamboogle search.
Layouts, told by each file's first line, plain, .gz or .bz2:
  JSON lines with title and text, or Pyserini's contents
  DPR's TSV (psgs_w100.tsv)
  WikiExtractor's files, <doc …> or JSON lines; HotpotQA's abstracts of Wikipedia
  HotpotQA's questions (their paragraphs) and StrategyQA's (their facts)
  .txt files, an article each
Long texts are cut into passages. The index appears only when it is whole."""
_EXAMPLES = """\
examples:
  python scripts/build_index.py --input=passages.jsonl --output=benchmarks/index
  python scripts/build_index.py --input=extracted --input=more.tsv.gz --output=benchmarks/index
  python scripts/build_index.py --input=hotpot_dev_distractor_v1.json --output=benchmarks/index"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Ctrl-C leaves nothing either, and ends with status 130.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    parser = make_parser("build_index.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--input", nargs="+", action="extend", required=True, metavar="PATH", help="files, or folders with such files; "
        "may be repeated")  # fmt: skip
    add("--output", required=True, metavar="FOLDER", help="the index; benchmarks/index is where evaluate.py looks "
        "for it with --gin.BenchmarkConfig.data_dir=benchmarks")  # fmt: skip
    add("--max_words", type=int, default=150, metavar="N", help="the longest passage (default: 150)")
    add("--overwrite", action="store_true", help="replace the index where it exists")
    options = parse_flags(parser, arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.environments.index_build import build_index
    from agentbank_jax.environments.passage_files import find_passage_files
    from agentbank_jax.places import local_path
    from agentbank_jax.progress import Progress

    output = local_path(options.output, "--output")
    begin = time.perf_counter()
    try:
        with Progress("passages") as progress:
            manifest = build_index(
                find_passage_files(options.input),
                output,
                max_words=options.max_words,
                overwrite=options.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        # Unlike other commands it cannot go on from where it was.
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    seconds = time.perf_counter() - begin
    left_out = f", {manifest.duplicates:,} duplicates left out" if manifest.duplicates else ""
    print(
        f"{output}: {manifest.passages:,} passages of {manifest.articles:,} articles{left_out}, in {seconds:.1f} s; "
        f"content {manifest.content[:12]}"
    )
    return 0
