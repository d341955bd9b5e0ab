"""Answer forcing: a language model that knows the answer acts its way to it, and the environment judges.

AgentBank's way for continuous action spaces, where no search can list the actions. The model is told the answer, so
that hard problems are solved as well as easy ones; what it writes must read as if it was not (see `leakage`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.endpoint_policy import STOP
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.forcing.known_answer import KnownAnswer, known_answer
from agentbank_jax.bank.forcing.leakage import LEAK, computed_in, find_leak
from agentbank_jax.bank.forcing.replies import REACT, Rejection, read_reply, shortened
from agentbank_jax.bank.forcing.teacher import CONTEXT_EXHAUSTED, REQUEST_REFUSED, TOKEN_BUDGET, Lesson, Teacher
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Turn

_VERSION = 1
# Another draw of the same request would meet the same end.
_NOT_REDRAWN = (CONTEXT_EXHAUSTED, REQUEST_REFUSED, TOKEN_BUDGET)

STATED_PROMPT = """{instruction}

You write an example for a student. The student does not know the answer; you know it, so that your example ends right:

{answer}

Work it out step by step as one would who does not know it. In each reply take one step: write 'Thought: …', and on a \
new line 'Action: …' or 'Final Answer: …'. Each Thought says in one or two sentences why the step is taken, from the \
question and the observations alone. Never write that you know the answer, and write the answer itself nowhere before \
an observation or a calculation of yours has shown it. Write no observation: you are told it after each step."""

PROGRAM_PROMPT = """{instruction}

You write an example for a student. The student does not know the solution; you know one, so that your example ends \
right:

{answer}

Work it out as one would who does not know it. In each reply take one step: write 'Thought: …', and on a new line \
'Action: …' or 'Final Answer: …'. Each Thought says in one or two sentences why the step is taken, from the task and \
the observations alone. Never write that you know a solution. Write no observation: you are told it after each step."""

_PROMPTS = {"stated": STATED_PROMPT, "program": PROGRAM_PROMPT}


@dataclass(frozen=True, kw_only=True)
class AnswerForcing:
    """An `Annotator` for environments that publish an answer.

    A reply that is no step (empty, a refusal, unreadable), that leaks the answer, or whose action the environment does
    not understand is drawn again; after `redraws` of them, or at an answer that is wrong, the attempt ends, and the
    next one begins anew with other draws. The model is told nothing of what was rejected. An attempt has succeeded
    where the environment gives `spec.success_threshold` and gives it, with the same observations, once more in a
    replay.

    `ActionSequence.thoughts` are the model's; `cost` has `requests`, `prompt_tokens` and `completion_tokens` (cached or
    not), `attempts`, `imagined` (observations that replies made up, which are cut off), and `rejected_…` by reason.

    Reasons of drops: `no_answer` where the environment publishes none; else that of the last attempt: `leak`,
    `refusal`, `empty`, `unreadable`, `invalid_action`, `wrong_answer`, `too_long`, `token_budget`, `context_exhausted`,
    `request_refused`, `unanswered`, `not_replayed`. The detail names those of all attempts.

    Fields:
      teacher: the model.
      seed: decides the draws.
      attempts: at an instance, from its start.
      redraws: of a reply, within an attempt.
      max_turns: assistant turns; the environment's own limit where that is less, or where this is None.

    Raises:
      AgentBankError: a value out of range.
    """

    teacher: Teacher
    seed: int = 0
    attempts: int = 3
    redraws: int = 2
    max_turns: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("redraws", 0), ("max_turns", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise AgentBankError(f"answer forcing: {name}={value}; expected at least {least}.")

    def facts(self) -> Mapping[str, Any]:
        return {
            "annotator": "answer_forcing",
            "version": _VERSION,
            "teacher": dict(self.teacher.facts()),
            "prompts": dict(_PROMPTS),
            "seed": self.seed,
            "attempts": self.attempts,
            "redraws": self.redraws,
            "max_turns": self.max_turns,
        }

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        """See `Annotator`.

        Raises:
          EndpointError, CallCacheError: as of `Lesson.ask`.
        """
        environment = spec.make()
        try:
            answer = known_answer(environment, instance)
            if answer is None:
                return Drop(id=instance.id, reason="no_answer", detail=f"{spec.name} publishes no answer to it")
            with self.teacher.lesson(spec.name) as lesson:
                return self._annotate(spec, instance, answer, environment, lesson)
        finally:
            environment.close()

    def _annotate(
        self,
        spec: EnvironmentSpec,
        instance: Instance,
        answer: KnownAnswer,
        environment: TextEnvironment,
        lesson: Lesson,
    ) -> ActionSequence | Drop:
        counts: Counter[str] = Counter()
        ends: list[Rejection] = []
        for number in range(self.attempts):
            attempt = _Attempt(self, spec, instance, answer, environment, lesson, number, counts)
            ended = attempt.run()
            if ended is None:
                return ActionSequence(
                    steps=tuple(_step(action) for action in attempt.actions),
                    method="answer_forcing",
                    thoughts=tuple(attempt.thoughts),
                    cost={**lesson.cost(), "attempts": number + 1, **dict(sorted(counts.items()))},
                )
            ends.append(ended)
            if ended.reason == TOKEN_BUDGET:
                break
        detail = "; ".join(f"attempt {number}: {end.reason}, {end.detail}" for number, end in enumerate(ends, start=1))
        return Drop(id=instance.id, reason=ends[-1].reason, detail=detail)


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """A step that the environment has taken."""

    thought: str
    action: str
    observation: str
    reward: float
    ended: bool


class _Attempt:
    """One play of a problem from its start; `thoughts` and `actions` are those taken so far."""

    def __init__(
        self,
        forcing: AnswerForcing,
        spec: EnvironmentSpec,
        instance: Instance,
        answer: KnownAnswer,
        environment: TextEnvironment,
        lesson: Lesson,
        number: int,
        counts: Counter[str],
    ) -> None:
        self._forcing, self._spec, self._instance, self._answer = forcing, spec, instance, answer
        self._environment, self._lesson, self._number, self._counts = environment, lesson, number, counts
        self._observations: list[str] = []
        self._shown: list[str] = []
        self._turns: tuple[Turn, ...] = ()
        self.thoughts: list[str] = []
        self.actions: list[str] = []

    def run(self) -> Rejection | None:
        """Plays; returns None where the environment has confirmed the answer, else why not."""
        question, _ = self._environment.reset(options={"instance": self._instance})
        self._observations, self._shown = [question], [question]
        prompt = _PROMPTS[self._answer.kind].format(instruction=self._spec.instruction, answer=self._told_answer())
        self._turns = REACT.opening(prompt, question)
        limit = min(self._spec.max_steps, self._forcing.max_turns or self._spec.max_steps)
        for turn in range(limit):
            taken = self._step(turn)
            if isinstance(taken, Rejection):
                return taken
            self.thoughts.append(taken.thought)
            self.actions.append(taken.action)
            if taken.ended and taken.reward >= self._spec.success_threshold:
                return self._replayed()
            if taken.ended:
                detail = f"{shortened(taken.action)} has reward {taken.reward:g}"
                return Rejection(reason="wrong_answer", detail=detail)
            self._observations.append(taken.observation)
            self._shown += [*computed_in(taken.thought, self._shown), taken.observation]
            said = Turn.assistant(REACT.render(taken.thought, taken.action))
            self._turns = (*self._turns, said, REACT.observe(taken.observation))
        return Rejection(reason="too_long", detail=f"no end after {limit} turns")

    def _told_answer(self) -> str:
        others = self._answer.accepted[1:]
        if not others:
            return self._answer.text
        return f"{self._answer.text} (also accepted: {'; '.join(others)})"

    def _step(self, turn: int) -> "_Taken | Rejection":
        """Takes the first proposal that can be."""
        rejection: Rejection | None = None
        for draw in range(self._forcing.redraws + 1):
            drawn = self._drawn(f"{self._forcing.seed}/{self._instance.id}/{self._number}/{turn}/{draw}")
            if isinstance(drawn, _Taken):
                return drawn
            rejection = drawn
            self._counts[f"rejected_{rejection.reason}"] += 1
            if rejection.reason in _NOT_REDRAWN:
                break
        assert rejection is not None, "a step is drawn at least once"
        return Rejection(reason=rejection.reason, detail=f"turn {turn + 1}: {rejection.detail}")

    def _drawn(self, name: str) -> "_Taken | Rejection":
        reply = self._lesson.ask(self._turns, draw=name, stop=STOP)
        proposal = reply if isinstance(reply, Rejection) else read_reply(reply)
        if isinstance(proposal, Rejection):
            return proposal
        self._counts["imagined"] += proposal.imagined
        leak = find_leak(self._answer, self._shown, proposal.thought, proposal.action)
        if leak is not None:
            return Rejection(reason=LEAK, detail=leak)
        observation, reward, terminated, truncated, info = self._environment.step(proposal.action)
        ended = terminated or truncated
        if info.get("invalid_action") and not ended:
            return Rejection(reason="invalid_action", detail=f"{shortened(proposal.action)}: {shortened(observation)}")
        return _Taken(
            thought=proposal.thought,
            action=proposal.action,
            observation=observation,
            reward=float(reward),
            ended=ended,
        )

    def _replayed(self) -> Rejection | None:
        replayed = replay(self._spec, self._instance, self.actions)
        if isinstance(replayed, Drop):
            return Rejection(reason="not_replayed", detail=f"{replayed.reason}, {replayed.detail}")
        if replayed.observations != tuple(self._observations):
            return Rejection(reason="not_replayed", detail="the environment said something else")
        return None


def _step(action: str) -> ExpertStep:
    answer = action.removeprefix(FINAL_ANSWER_PREFIX).strip()
    if answer != action:
        return ExpertStep(action=action, intent="answer", slots={"answer": answer})
    return ExpertStep(action=action, intent="act")
