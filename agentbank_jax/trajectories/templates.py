"""Chat templates: how turns become token ids, for training and for acting alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.tokenizer import Encoding, Tokenizer


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


class _Exchange(NamedTuple):
    """A user turn and the reply to it, as one text that is tokenised jointly."""

    text: str
    system_end: int  # bytes of the text that belong to the system turn, and
    prompt_end: int  # bytes that come before the reply
    turn: int  # index of the user turn; the reply's is one more


class Llama2Template:
    """Llama-2's chat template.

    Each user turn and the reply to it are one text, `[INST] user [/INST] reply `, between BOS and
    EOS; the system turn stands in the first user turn as `<<SYS>>\\n…\\n<</SYS>>\\n\\n`; contents
    are stripped of white space at both ends. This is the chat template that was published with
    the Llama-2 checkpoints. The text is tokenised as a whole, because its pieces by themselves
    would give other ids, and the reply is found by its place in the text. Trained are each trained
    reply, from the token that follows `[/INST]`, and the EOS that ends it.

    Markers within contents are plain text: no content makes a BOS or an EOS.
    """

    name = "llama2"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.stop_ids: tuple[int, ...] = (tokenizer.eos_id,)

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same trajectory and tokenizer would give other ids or masks."""
        return f"{self.name}/1"

    @staticmethod
    def render(trajectory: Trajectory) -> list[str]:
        """Returns the texts that are tokenised, one for each user turn and the reply to it."""
        return [exchange.text for exchange in _exchanges(trajectory.turns)]

    def encode(self, trajectory: Trajectory) -> EncodedTrajectory:
        """Returns the ids, mask and turns of a trajectory.

        Raises:
          TrajectoryError: where the tokenizer joins a reply to the marker before it.
        """
        return self.encode_batch([trajectory])[0]

    def encode_batch(self, trajectories: Sequence[Trajectory], *, num_threads: int = 1) -> list[EncodedTrajectory]:
        """Encodes many trajectories at once, which is faster; see `encode`."""
        grouped = [_exchanges(trajectory.turns) for trajectory in trajectories]
        texts = [exchange.text for exchanges in grouped for exchange in exchanges]
        encodings = iter(self.tokenizer.encode_with_offsets(texts, num_threads=num_threads))
        return [
            self._assemble(trajectory, exchanges, [next(encodings) for _ in exchanges])
            for trajectory, exchanges in zip(trajectories, grouped, strict=True)
        ]

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Returns the ids of a conversation that ends with a user turn, ready for the reply.

        Raises:
          TrajectoryError: where the conversation does not end with a user turn.
        """
        if not turns or turns[-1].role != "user":
            raise TrajectoryError("the conversation does not end with a user turn; there is nothing to reply to.")
        ids: list[int] = []
        for exchange in _exchanges((*turns, Turn.assistant(""))):
            is_last = exchange.turn == len(turns) - 1
            text = exchange.text.encode()[: exchange.prompt_end].decode() if is_last else exchange.text
            ids += [self.tokenizer.bos_id, *self.tokenizer.encode(text)]
            ids += [] if is_last else [self.tokenizer.eos_id]
        return ids

    def continuation_ids(self, content: str) -> list[int]:
        """Returns the ids of a further user turn, which follow a reply's stop token."""
        return self.prompt_ids([Turn.user(content)])

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of a generated reply, without its stop token and surrounding space."""
        return self.tokenizer.decode([token for token in ids if token not in self.stop_ids]).strip()

    def _assemble(
        self, trajectory: Trajectory, exchanges: Sequence[_Exchange], encodings: Sequence[Encoding]
    ) -> EncodedTrajectory:
        length = sum(len(encoding.ids) + 2 for encoding in encodings)
        tokens = np.empty(length, np.int32)
        trained = np.zeros(length, np.bool_)
        turn = np.empty(length, np.int32)
        begin = 0
        for exchange, (ids, starts) in zip(exchanges, encodings, strict=True):
            reply = int(starts.searchsorted(exchange.prompt_end))
            if reply == len(starts) or starts[reply] != exchange.prompt_end:
                raise TrajectoryError(
                    f"trajectory '{trajectory.id}' of task '{trajectory.task}', turn {exchange.turn + 1}: the "
                    "tokenizer joins the reply to the marker before it, so that its tokens cannot be told apart; use "
                    "a vocabulary in which a space begins a token."
                )
            end = begin + len(ids) + 2
            first = begin + 1 + reply
            tokens[begin] = self.tokenizer.bos_id
            tokens[begin + 1 : end - 1] = ids
            tokens[end - 1] = self.tokenizer.eos_id
            turn[begin:first] = exchange.turn
            if exchange.system_end:
                turn[begin : begin + 1 + int(starts.searchsorted(exchange.system_end))] = exchange.turn - 1
            turn[first:end] = exchange.turn + 1
            trained[first:end] = trajectory.turns[exchange.turn + 1].trained
            begin = end
        return EncodedTrajectory(id=trajectory.id, tokens=tokens, trained=trained, turn=turn)


TEMPLATES = {template.name: template for template in (Llama2Template,)}


def get_template(name: str, tokenizer: Tokenizer) -> Llama2Template:
    """Returns the template called `name` for `tokenizer`.

    Raises:
      AgentBankError: where there is none; the message suggests the nearest name.
    """
    if name not in TEMPLATES:
        raise AgentBankError(f"no chat template is called '{name}'.{did_you_mean(name, TEMPLATES)}")
    return TEMPLATES[name](tokenizer)


def _exchanges(turns: Sequence[Turn]) -> list[_Exchange]:
    """Pairs each user turn with the reply to it and renders them."""
    first = 1 if turns[0].role == "system" else 0
    exchanges = []
    for index in range(first, len(turns), 2):
        system = ""
        if first and index == first:
            system = f"<<SYS>>\n{turns[0].content}\n<</SYS>>\n\n"
        user = (system + turns[index].content).strip()
        prompt = f"[INST] {user} [/INST]"
        prompt_end = len(prompt) if prompt.isascii() else len(prompt.encode())
        exchanges.append(
            _Exchange(
                text=f"{prompt} {turns[index + 1].content.strip()} ",
                system_end=len(f"[INST] {system}".encode()) if system else 0,
                prompt_end=prompt_end,
                turn=index,
            )
        )
    return exchanges
