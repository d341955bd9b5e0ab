"""A better and a worse attempt at one problem, side by side: data for contrastive tuning.

ETO (Song et al. 2024, arXiv 2403.02502) pairs a failed trajectory of the model with a successful one, of the model
itself or of an expert, and tunes by DPO on them.
"""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from agentbank_jax.agents.react import ReAct
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.schema import Turn

Side = Literal["model", "expert"]

SOURCES: tuple[Side, ...] = ("model", "expert")
"""Whose attempt may be the better one of a pair; the worse one is always the model's."""

MESSAGES = ("prompt", "chosen", "rejected")
"""The columns of TRL's conversational preference layout, each a list of `{"role": …, "content": …}`."""

# Rewards are in [-1, 1].
_MOST_MARGIN = 2.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A finished conversation about a problem.

    Fields:
      id: of the episode, or of the trajectory.
      task, skill: of its environment.
      instance_id: of the problem.
      conditions: what else decides the problem and its reward; attempts under others are never paired. Empty where
        that is not known, as of a bank's trajectories: such an expert's goes with all.
      side: whether the model or an expert made it.
      source: who that was, in a pair's columns.
      seed: of the episode.
      turns: the instruction first, where there is one; the last is the assistant's.
      reward: of its last step, in [-1, 1]. success: whether that reached the environment's threshold.
    """

    id: str
    task: str
    skill: str
    instance_id: str
    conditions: str = ""
    side: Side
    source: str
    seed: int = 0
    turns: tuple[Turn, ...]
    reward: float
    success: bool

    @cached_property
    def prompt(self) -> tuple[Turn, ...]:
        """What stands before the first reply."""
        return tuple(itertools.takewhile(lambda turn: turn.role != "assistant", self.turns))

    @property
    def completion(self) -> tuple[Turn, ...]:
        """What follows the prompt."""
        return self.turns[len(self.prompt) :]

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """The action of each reply; the whole reply where it holds none."""
        replies = [turn.content for turn in self.turns if turn.role == "assistant"]
        parsed = [(ReAct().parse(reply), reply) for reply in replies]
        return tuple(found.action if found else reply.strip() for found, reply in parsed)

    @property
    def order(self) -> tuple[Any, ...]:
        """Of attempts with one reward the first is preferred: the shortest, then by id. Equal ones are the same."""
        return len(self.actions), self.id, self.source, tuple(turn.content for turn in self.turns)


@dataclass(frozen=True, kw_only=True)
class PairRules:
    """Which attempts become pairs.

    Fields:
      margin: the least difference of rewards, above 0; None pairs successes with failures, whatever the difference.
      pairs_per_problem: at most so many.
      sources: whose attempts may be the better ones.

    Raises:
      AgentBankError: on a value outside its range; names the flag of `build_pairs.py`.
    """

    margin: float | None = None
    pairs_per_problem: int = 1
    sources: tuple[str, ...] = SOURCES

    def __post_init__(self) -> None:
        # Also refuses what is no number: every comparison with it is false.
        if self.margin is not None and not 0 < self.margin <= _MOST_MARGIN:
            raise AgentBankError(
                f"--margin={self.margin}: expected a difference of rewards above 0, at most {_MOST_MARGIN:g}; leave it "
                "out to pair successes with failures."
            )
        if self.pairs_per_problem < 1:
            raise AgentBankError(f"--pairs_per_problem={self.pairs_per_problem}: expected at least 1.")
        for source in self.sources:
            if source not in SOURCES:
                raise AgentBankError(f"--sources: '{source}' is unknown.{did_you_mean(source, SOURCES)}")
        if not self.sources:
            raise AgentBankError(f"--sources is empty; expected {', '.join(SOURCES)} or one of them.")

    def is_wide(self, better: Attempt, worse: Attempt) -> bool:
        """Whether the rewards differ enough."""
        difference = better.reward - worse.reward
        if self.margin is None:
            return better.success and not worse.success and difference > 0
        # 1.0 - 0.9 is a little less than 0.1.
        return difference >= self.margin or math.isclose(difference, self.margin)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two attempts at one problem after the same prompt, of which `better` has the higher reward."""

    id: str
    better: Attempt
    worse: Attempt

    @property
    def margin(self) -> float:
        return self.better.reward - self.worse.reward

    def row(self) -> dict[str, Any]:
        """The pair in TRL's conversational preference layout, and where it comes from; `seed` is the worse one's."""
        better, worse = self.better, self.worse
        return {
            "id": self.id,
            "prompt": _messages(better.prompt),
            "chosen": _messages(better.completion),
            "rejected": _messages(worse.completion),
            "task": worse.task,
            "skill": worse.skill,
            "chosen_reward": float(better.reward),
            "rejected_reward": float(worse.reward),
            "chosen_source": better.source,
            "rejected_source": worse.source,
            "margin": float(self.margin),
            "seed": worse.seed,
        }


@dataclass(kw_only=True)
class TaskPairs:
    """What became of a task's attempts.

    Fields:
      task: its name.
      problems: prompts that the model has answered.
      paired: of how many there is a pair.
      pairs: in the order of the problems.
      drops: attempts that are in no pair, and why (see `make_pairs`).
    """

    task: str
    problems: int = 0
    paired: int = 0
    pairs: list[Pair] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


def make_pairs(attempts: Iterable[Attempt], rules: PairRules) -> dict[str, TaskPairs]:
    """Pairs attempts at the same problem; the same ones in whatever order give the same pairs.

    The better one is the model's own success; where it has none, an expert's; where there is none either, and a
    margin is given, the model's best. The best goes with the worst, of equal ones the shortest, then the first by id;
    with several pairs of a problem those that were used least come first.

    An attempt that is in no pair has one of these reasons: `duplicate` (the same text and reward as another),
    `no_success`, `no_failure`, `small_margin`, `equal_actions`, `other_prompt` and `other_conditions` (what it could
    be paired with answers another prompt, or was judged otherwise), `not_chosen` (the problem has its pairs), and of an
    expert's `expert_unused` and `not_played` (the model has not answered its problem).

    Returns:
      What became of each task, by name.
    """
    by_instance: defaultdict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_instance[attempt.task, attempt.instance_id].append(attempt)
    found: dict[str, TaskPairs] = {}
    for task, instance in sorted(by_instance, key=lambda key: (key[0], _natural(key[1]))):
        result = found.setdefault(task, TaskPairs(task=task))
        _pair_instance(sorted(by_instance[task, instance], key=lambda attempt: attempt.order), rules, result)
    return found


def _pair_instance(attempts: Sequence[Attempt], rules: PairRules, result: TaskPairs) -> None:
    """Pairs the attempts at one instance, prompt by prompt, and adds what came of them to `result`."""
    groups: defaultdict[tuple[str, tuple[str, ...]], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.side == "model":
            groups[attempt.conditions, tuple(turn.content for turn in attempt.prompt)].append(attempt)
    experts = [attempt for attempt in attempts if attempt.side == "expert"]
    reasons: dict[int, str] = {}
    used: Counter[int] = Counter()
    number = itertools.count()
    for (conditions, _), played in sorted(groups.items(), key=lambda item: item[0]):
        result.problems += 1
        own = _distinct(played, reasons)
        prompt = own[0].prompt
        fitting = [one for one in experts if one.prompt == prompt and one.conditions in ("", conditions)]
        fitting = _distinct(fitting, reasons)
        chosen = _choose(own, fitting, rules)
        for better, worse in chosen:
            result.pairs.append(Pair(id=f"{_full_id(worse)}/{next(number)}", better=better, worse=worse))
            used.update((id(better), id(worse)))
        result.paired += bool(chosen)
        reason = "not_chosen" if chosen else _why_none(own, fitting, attempts, rules)
        reasons |= {id(one): reason for one in own} | {id(one): "expert_unused" for one in fitting}
    for attempt in attempts:
        if not used[id(attempt)]:
            reason = reasons.get(id(attempt), "other_prompt" if groups else "not_played")
            result.drops.append(Drop(id=attempt.id, reason=reason, detail=attempt.source))


def _choose(own: Sequence[Attempt], experts: Sequence[Attempt], rules: PairRules) -> list[tuple[Attempt, Attempt]]:
    better = sorted(_better_side(own, experts, rules), key=lambda one: (-one.reward, one.order))
    worse = sorted(own, key=lambda one: (one.reward, one.order))
    waiting = [
        (high, low) for high in better for low in worse if rules.is_wide(high, low) and high.actions != low.actions
    ]
    uses: Counter[int] = Counter()
    chosen: list[tuple[Attempt, Attempt]] = []
    while waiting and len(chosen) < rules.pairs_per_problem:
        # Of equal ones `min` takes the first, which is the best with the worst.
        high, low = min(
            waiting, key=lambda pair: (uses[id(pair[0])] + uses[id(pair[1])], pair[1].reward - pair[0].reward)
        )
        waiting.remove((high, low))
        chosen.append((high, low))
        uses.update((id(high), id(low)))
    return chosen


def _better_side(own: Sequence[Attempt], experts: Sequence[Attempt], rules: PairRules) -> Sequence[Attempt]:
    takes_own = "model" in rules.sources
    if "expert" in rules.sources and experts and not (takes_own and any(one.success for one in own)):
        return experts
    return own if takes_own else ()


def _why_none(own: Sequence[Attempt], experts: Sequence[Attempt], all_: Sequence[Attempt], rules: PairRules) -> str:
    """Why the attempts after one prompt give no pair."""
    better = _better_side(own, experts, rules)
    if any(rules.is_wide(high, low) for high in better for low in own):
        return "equal_actions"
    if all(one.success for one in own):
        others, reason = [one for one in all_ if one.side == "model" and not one.success], "no_failure"
    elif not any(one.success for one in better):
        others, reason = [one for one in all_ if one.side in rules.sources and one.success], "no_success"
    else:
        return "small_margin"
    if not others:
        return reason
    return "other_conditions" if any(one.prompt == own[0].prompt for one in others) else "other_prompt"


def _distinct(attempts: Sequence[Attempt], reasons: dict[int, str]) -> list[Attempt]:
    """The first of those with one text and reward; `reasons` says of the others what they are."""
    kept: list[Attempt] = []
    for attempt in attempts:
        if any(attempt.reward == one.reward and attempt.turns == one.turns for one in kept):
            reasons[id(attempt)] = "duplicate"
        else:
            kept.append(attempt)
    return kept


def _full_id(attempt: Attempt) -> str:
    """The instance's id, which begins with the task's name in most of them."""
    prefix = f"{attempt.task}/"
    return attempt.instance_id if attempt.instance_id.startswith(prefix) else prefix + attempt.instance_id


def _natural(text: str) -> list[tuple[int, str]]:
    """A key by which 9 comes before 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", text)]


def _messages(turns: Sequence[Turn]) -> list[Mapping[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
