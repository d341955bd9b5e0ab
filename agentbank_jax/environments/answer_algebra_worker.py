"""The process that compares expressions with math-verify, started by `answer_algebra` and never imported.

It reads one JSON request a line and writes one JSON reply a line. Each request has a limit of processor time, and the
process one of memory: past it the kernel ends the process, in the midst of a long power of integers too, where no
Python code could stop it.
"""

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable

CPU_SECONDS = 3.0
WALL_SECONDS = 30.0
MEMORY_BYTES = 2 << 30


def main() -> None:
    # What a library prints must not mix with the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    logging.disable(logging.CRITICAL)
    import sympy
    from math_verify import LatexExtractionConfig, parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def parsed(text: str) -> list:
        # No time limits of its own: they need the main thread and are not kept within C code.
        return parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)

    def same(published: str, stated: str) -> bool:
        gold, answer = parsed(published), parsed(stated)
        return bool(gold and answer) and verify(
            gold, answer, float_rounding=10, strict=True, allow_set_relation_comp=True, timeout_seconds=None
        )

    def value(text: str) -> str | None:
        found = parsed(text)
        if not found or not isinstance(found[0], sympy.Expr) or found[0].free_symbols:
            return None
        number = sympy.N(found[0].doit(), 30)
        return str(number) if number.is_Float or number.is_Rational else None

    requests: dict[str, Callable[..., bool | str | None]] = {"same": same, "value": value}
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        name, *texts = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        try:
            reply = requests[name](*texts)
        except Exception:  # whatever a text does to the library, it is not the published answer
            reply = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
