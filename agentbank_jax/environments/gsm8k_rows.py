"""The rows of GSM8K's files, for the environment that plays them and the bank that reformats them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
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
        return question_fingerprint(self.question)


def read_problems(path: str | Path, split: str) -> Iterator[Problem]:
    """Yields the rows of a file in GSM8K's layout: JSON lines with `question` and `answer`, perhaps gzipped.

    Args:
      path: the file.
      split: what the rows' ids name as theirs.

    Raises:
      AgentBankError: where the file cannot be read, or a row breaks the layout; names file, row
        (counted from 1) and field.
    """
    for number, row in read_rows(path, {"question": str, "answer": str}):
        solution, mark, answer = row["answer"].rpartition("####")
        answer = answer.strip()
        if not mark or not _FINAL.fullmatch(answer):
            raise AgentBankError(f"{path}:{number}:answer: ends in {answer[-40:]!r}; expected '#### <number>'.")
        digits = re.sub(r"[^\d.-]", "", answer).rstrip(".")
        yield Problem(
            split=split, number=number, question=row["question"].strip(), solution=solution.strip(), answer=digits
        )
