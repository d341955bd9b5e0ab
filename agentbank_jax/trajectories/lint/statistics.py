"""Figures of each source: how much it holds, how it was rewarded, made and licensed."""

import math
from collections import Counter
from dataclasses import dataclass, field

from agentbank_jax.trajectories.lint.rows import Row


@dataclass
class SourceStatistics:
    """Figures of the rows of one task that come from one source.

    Fields:
      rows, turns, assistant_turns, trained_turns, words, characters: how many.
      tokens: with the template, where a tokenizer is given.
      longest: the most tokens of a row where a tokenizer is given, else the most characters.
      rewarded: rows with a reward; `reward_sum`, `reward_least` and `reward_greatest` are of theirs.
      licences, annotations: rows by licence and by method of annotation; empty where they say none.
    """

    rows: int = 0
    turns: int = 0
    assistant_turns: int = 0
    trained_turns: int = 0
    words: int = 0
    characters: int = 0
    tokens: int | None = None
    longest: int = 0
    rewarded: int = 0
    reward_sum: float = 0.0
    reward_least: float | None = None
    reward_greatest: float | None = None
    licences: Counter[str] = field(default_factory=Counter)
    annotations: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, *, words: int, tokens: int | None) -> None:
        """Counts a row."""
        self.rows += 1
        self.turns += len(row.turns)
        self.assistant_turns += sum(turn.role == "assistant" for turn in row.turns)
        self.trained_turns += sum(turn.trained for turn in row.turns)
        self.words += words
        self.characters += row.characters
        if tokens is not None:
            self.tokens = (self.tokens or 0) + tokens
        self.longest = max(self.longest, row.characters if tokens is None else tokens)
        self.licences[row.licence] += 1
        annotation = row.metadata.get("annotation")
        self.annotations[annotation if isinstance(annotation, str) else ""] += 1
        reward = row.metadata.get("reward")
        if isinstance(reward, int | float) and not isinstance(reward, bool) and math.isfinite(reward):
            self.rewarded += 1
            self.reward_sum += float(reward)
            self._widen(float(reward), float(reward))

    def merge(self, other: "SourceStatistics") -> None:
        """Adds the figures of another part of the source."""
        self.rows += other.rows
        self.turns += other.turns
        self.assistant_turns += other.assistant_turns
        self.trained_turns += other.trained_turns
        self.words += other.words
        self.characters += other.characters
        if other.tokens is not None:
            self.tokens = (self.tokens or 0) + other.tokens
        self.longest = max(self.longest, other.longest)
        self.licences.update(other.licences)
        self.annotations.update(other.annotations)
        self.rewarded += other.rewarded
        self.reward_sum += other.reward_sum
        if other.reward_least is not None and other.reward_greatest is not None:
            self._widen(other.reward_least, other.reward_greatest)

    def _widen(self, least: float, greatest: float) -> None:
        self.reward_least = least if self.reward_least is None else min(self.reward_least, least)
        self.reward_greatest = greatest if self.reward_greatest is None else max(self.reward_greatest, greatest)
