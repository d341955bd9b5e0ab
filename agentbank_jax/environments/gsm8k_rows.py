"""The rows of GSM8K's files, for the environment that plays them and the bank that reformats them."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.errors import AgentBankError

# A number as GSM8K's authors write it; thousands are set off by commas or blanks.
NUMBER = r"\d{1,3}(?:[, ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"

_FINAL = re.compile(rf"(?:-?[$€£]?\s*|[$€£]?\s*-)(?:{NUMBER})\.?")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row of GSM8K: question, worked solution (without its last line), and published answer as digits."""

    split: str
    number: int
    question: str
    solution: str
    answer: str

    @property
    def id(self) -> str:
        return f"gsm8k/{self.split}/{self.number}"

    @property
    def fingerprint(self) -> str:
        """Hash of the question, blanks aside, by which duplicates are known."""
        return hashlib.sha256(" ".join(self.question.split()).encode()).hexdigest()


def read_problems(path: str | Path, split: str) -> Iterator[Problem]:
    """Yields the rows of a file in GSM8K's layout: JSON lines with `question` and `answer`, perhaps gzipped.

    Args:
      path: the file.
      split: what the rows' ids name as theirs.

    Raises:
      AgentBankError: where the file cannot be read, or a row breaks the layout; names file, row
        (counted from 1) and field.
    """
    try:
        content = Path(path).read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        lines = content.decode("utf-8").split("\n")
    except (OSError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentBankError(
            f"{path}: cannot be read ({reason}); expected GSM8K's JSON lines, plain or gzipped."
        ) from None
    if not any(line.strip() for line in lines):
        raise AgentBankError(f"{path}: holds no row; expected GSM8K's JSON lines, plain or gzipped.")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise AgentBankError(f"{path}:{number}: not JSON ({error}); expected one object per line.") from None
        for name in ("question", "answer"):
            if not isinstance(row, dict) or not isinstance(row.get(name), str):
                found = repr(row.get(name))[:40] if isinstance(row, dict) else type(row).__name__
                raise AgentBankError(f"{path}:{number}:{name}: {found}; expected a string.")
        solution, mark, answer = row["answer"].rpartition("####")
        answer = answer.strip()
        if not mark or not _FINAL.fullmatch(answer):
            raise AgentBankError(f"{path}:{number}:answer: ends in {answer[-40:]!r}; expected '#### <number>'.")
        digits = re.sub(r"[^\d.-]", "", answer).rstrip(".")
        yield Problem(
            split=split, number=number, question=row["question"].strip(), solution=solution.strip(), answer=digits
        )
