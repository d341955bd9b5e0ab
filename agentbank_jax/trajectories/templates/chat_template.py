"""What all chat templates share: from a rendering to token ids, masks and turns."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.thought_span import thought_span
from agentbank_jax.trajectories.tokenizers.tokenizer import Encoding, Tokenizer, size_in_bytes

TrainOn = Literal["all", "last"]


class TemplateError(AgentBankError):
    """A chat template that cannot be used: with this tokenizer, for training, or for acting."""


@dataclass(frozen=True, kw_only=True)
class EncodedTrajectory:
    """A trajectory as the model sees it.

    Fields:
      id: the trajectory's.
      tokens: token ids, int32.
      trained: whether the model learns to predict the token.
      turn: the index in `Trajectory.turns` of the turn to which the token belongs, int32; BOS and
        the template's markers count to the turn that they open.
    """

    id: str
    tokens: Int[np.ndarray, " length"]
    trained: Bool[np.ndarray, " length"]
    turn: Int[np.ndarray, " length"]

    @property
    def of_reply(self) -> Bool[np.ndarray, " length"]:
        """Whether the token belongs to an assistant turn."""
        # The last turn is a reply, and so is every other one before it, but for a system turn at the start.
        return (self.turn % 2 == self.turn[-1] % 2) & (self.turn > 0)

    @property
    def assistant_turns(self) -> int:
        return len(np.unique(self.turn[self.of_reply]))


@dataclass(frozen=True, kw_only=True)
class TemplateOptions:
    """Which tokens of a trajectory are trained; a turn that is not marked as trained never is.

    Fields:
      train_on: `all` assistant turns, or the `last` one only.
      train_thoughts: False leaves the Thought before an Action or a Final Answer untrained, as in
        the AgentBank paper's study of rationales.

    Raises:
      AgentBankError: on an unknown `train_on`.
    """

    train_on: TrainOn = "all"
    train_thoughts: bool = True

    def __post_init__(self) -> None:
        if self.train_on not in get_args(TrainOn):
            raise AgentBankError(
                f"train_on = {self.train_on!r} is unknown.{did_you_mean(str(self.train_on), get_args(TrainOn))}"
            )

    @property
    def fingerprint(self) -> str:
        """Empty where all is trained, so that it says what differs."""
        chosen = [] if self.train_on == "all" else [f"train_on={self.train_on}"]
        chosen += [] if self.train_thoughts else ["train_thoughts=False"]
        return "".join(f" {option}" for option in chosen)


DEFAULT_OPTIONS = TemplateOptions()


class Cut(NamedTuple):
    """From which byte of a text on tokens belong to a turn.

    Fields:
      start: the byte.
      turn: the turn's index.
      trained: whether they are trained.
      joined: to what a token belongs that begins before the cut and ends behind it: to what stands
        `before`, to what stands `after`; or the trajectory is refused.
    """

    start: int
    turn: int
    trained: bool = False
    joined: Literal["before", "after", "refuse"] = "before"


class Text(NamedTuple):
    """A part of a rendering that is tokenised as a whole; the first cut is at byte 0.

    Fields:
      text: what it says; special strings in it are plain text.
      cuts: the turns in it.
      continues: whether something stands before it in the rendering.
    """

    text: str
    cuts: tuple[Cut, ...]
    continues: bool


class Ids(NamedTuple):
    """A part of a rendering that consists of the template's own tokens."""

    ids: tuple[int, ...]
    turn: int
    trained: bool = False


Part = Text | Ids


class ChatTemplate(abc.ABC):
    """Turns into token ids, for training and for acting alike.

    A subclass renders turns as a sequence of parts: its own tokens, and texts that are tokenised as
    a whole, since pieces of a text by themselves would give other ids. A reply is found by its
    place in the text. Special strings within contents are plain text.

    Fields:
      name: under which it is registered.
      version: rises whenever the same trajectory and tokenizer give other ids or masks.
      tokenizer: its tokenizer.
      options: which tokens are trained.
      stop_ids: ids that end a reply; the first is trained and ends each turn of a trajectory.
    """

    name: str
    version = "1"
    stop_ids: tuple[int, ...]

    def __init__(self, tokenizer: Tokenizer, options: TemplateOptions = DEFAULT_OPTIONS) -> None:
        self.tokenizer = tokenizer
        self.options = options

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.tokenizer, self.options)

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same trajectory and tokenizer would give other ids or masks."""
        return f"{self.name}/{self.version}{self.options.fingerprint}"

    @abc.abstractmethod
    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        """Returns the parts of a conversation; one that ends with a user turn is followed by what opens the reply.

        Args:
          turns: the conversation.
          trained: for each turn, whether its content and stop token are trained.
        """

    def encode(self, trajectory: Trajectory) -> EncodedTrajectory:
        """Returns the ids, mask and turns of a trajectory.

        Raises:
          TrajectoryError: where the tokenizer joins a reply to the marker before it, or the
            template cannot render the trajectory.
        """
        return self.encode_batch([trajectory])[0]

    def encode_batch(self, trajectories: Sequence[Trajectory], *, num_threads: int = 1) -> list[EncodedTrajectory]:
        """Encodes many trajectories at once, which is faster; see `encode`."""
        rendered = [self._parts(trajectory) for trajectory in trajectories]
        texts = [part for parts in rendered for part in parts if isinstance(part, Text)]
        encodings = iter(
            self.tokenizer.encode_with_offsets(
                [part.text for part in texts], continues=[part.continues for part in texts], num_threads=num_threads
            )
        )
        return [
            _assemble(trajectory, parts, [next(encodings) if isinstance(part, Text) else None for part in parts])
            for trajectory, parts in zip(trajectories, rendered, strict=True)
        ]

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Returns the ids of a conversation that ends with a user turn, ready for the reply.

        Raises:
          TrajectoryError: where the conversation does not end with a user turn.
        """
        if not turns or turns[-1].role != "user":
            raise TrajectoryError("the conversation does not end with a user turn; there is nothing to reply to.")
        return self._ids(self.parts(turns, [False] * len(turns)))

    def continuation_ids(self, content: str) -> list[int]:
        """Returns the ids of a further user turn, which follow a reply's stop token."""
        turns = (Turn.user("a"), Turn.assistant("b"), Turn.user(content))
        parts = self.parts(turns, (False, True, False))
        stop = max(index for index, part in enumerate(parts) if isinstance(part, Ids) and part.trained)
        return self._ids(parts[stop + 1 :])

    def reply_ids(self, content: str, start: int) -> list[int]:
        """Returns the ids of a reply from its character `start` on: of the tokens that begin there or later."""
        (encoding,) = self.tokenizer.encode_with_offsets([content], continues=[True])
        return encoding.ids[encoding.starts >= size_in_bytes(content[:start])].tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of a generated reply, without its stop token and surrounding space."""
        return self.tokenizer.decode([token for token in ids if token not in self.stop_ids]).strip()

    def reply_cuts(self, start: int, turn: int, trained: bool, content: str, content_start: int) -> list[Cut]:
        """Returns the cuts of a reply, its Thought untrained where the options say so.

        Args:
          start: the byte of the text at which the reply begins.
          turn, trained: the reply's.
          content: the reply's content as it stands in the text.
          content_start: the byte at which the content begins.
        """
        span = None if self.options.train_thoughts or not trained else thought_span(content)
        if span is None:
            return [Cut(start, turn, trained, "refuse")]
        thought, action = (content_start + size_in_bytes(content[:place]) for place in span)
        if not content[: span[0]].strip():
            # White space before the Thought goes with it.
            return [Cut(start, turn, False, "refuse"), Cut(action, turn, True, "after")]
        return [Cut(start, turn, True, "refuse"), Cut(thought, turn, False), Cut(action, turn, True, "after")]

    def _parts(self, trajectory: Trajectory) -> list[Part]:
        turns = trajectory.turns
        last = len(turns) - 1
        trained = [turn.trained and (self.options.train_on == "all" or i == last) for i, turn in enumerate(turns)]
        try:
            return self.parts(turns, trained)
        except TemplateError as error:
            raise TrajectoryError(f"trajectory '{trajectory.id}' of task '{trajectory.task}': {error}") from None

    def _ids(self, parts: Sequence[Part]) -> list[int]:
        texts = [part for part in parts if isinstance(part, Text)]
        encodings = iter(
            self.tokenizer.encode_with_offsets(
                [part.text for part in texts], continues=[part.continues for part in texts]
            )
        )
        ids: list[int] = []
        for part in parts:
            ids += part.ids if isinstance(part, Ids) else next(encodings).ids.tolist()
        return ids


def _assemble(trajectory: Trajectory, parts: Sequence[Part], encodings: Sequence[Encoding | None]) -> EncodedTrajectory:
    length = sum(
        len(part.ids) if isinstance(part, Ids) else 0 if encoding is None else len(encoding.ids)
        for part, encoding in zip(parts, encodings, strict=True)
    )
    tokens = np.empty(length, np.int32)
    # Runs of tokens that are alike: where they begin, their turn, and whether they are trained.
    begins: list[int] = []
    turns: list[int] = []
    trained: list[bool] = []
    begin = 0
    for part, encoding in zip(parts, encodings, strict=True):
        if isinstance(part, Ids):
            end = begin + len(part.ids)
            tokens[begin:end] = part.ids
            begins.append(begin)
            turns.append(part.turn)
            trained.append(part.trained)
        else:
            assert encoding is not None
            end = begin + len(encoding.ids)
            tokens[begin:end] = encoding.ids
            for cut in part.cuts:
                begins.append(begin + _first_token(trajectory, part, encoding, cut))
                turns.append(cut.turn)
                trained.append(cut.trained)
        begin = end
    # A token that two cuts share belongs to the second.
    lengths = np.diff(np.maximum.accumulate(begins), append=length)
    return EncodedTrajectory(
        id=trajectory.id,
        tokens=tokens,
        trained=np.repeat(np.array(trained, np.bool_), lengths),
        turn=np.repeat(np.array(turns, np.int32), lengths),
    )


def _first_token(trajectory: Trajectory, part: Text, encoding: Encoding, cut: Cut) -> int:
    """Returns the index in an encoding of the first token that belongs to a cut."""
    if not cut.start:
        return 0
    starts = encoding.starts
    index = int(starts.searchsorted(cut.start))
    if cut.joined == "before" or (index < len(starts) and starts[index] == cut.start):
        return index
    if index == len(starts) and cut.start >= size_in_bytes(part.text):
        return index
    if cut.joined == "after":
        return max(index - 1, 0)
    raise TrajectoryError(
        f"trajectory '{trajectory.id}' of task '{trajectory.task}', turn {cut.turn}: the tokenizer joins the reply to "
        "the marker before it, so that its tokens cannot be told apart; use a vocabulary in which a space begins a "
        "token, or take the white space off the reply."
    )
