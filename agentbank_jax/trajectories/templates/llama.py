"""The chat templates of Llama-2, CodeLlama and Llama-3."""

from collections.abc import Sequence
from typing import NamedTuple

from agentbank_jax.trajectories.schema import Role, Trajectory, Turn
from agentbank_jax.trajectories.templates.chat_template import (
    DEFAULT_OPTIONS,
    ChatTemplate,
    Cut,
    Ids,
    Part,
    TemplateOptions,
    Text,
)
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer, TokenizerError, size_in_bytes


class _Exchange(NamedTuple):
    """A user turn and the reply to it, as one text that is tokenised jointly."""

    text: str
    system_end: int  # bytes of the text that belong to the system turn, and
    prompt_end: int  # bytes that come before the reply
    turn: int  # index of the user turn; the reply's is one more


class Llama2Template(ChatTemplate):
    """Llama-2's chat template.

    Each user turn and the reply to it are one text, `[INST] user [/INST] reply `, between BOS and
    EOS; the system turn stands in the first user turn as `<<SYS>>\\n…\\n<</SYS>>\\n\\n`; contents
    are stripped of white space at both ends. This is the chat template that was published with
    the Llama-2 checkpoints, over the ids of the `tokenizer.json` published with them, or of its
    `tokenizer.model`. (A tokenizer that recent versions of `transformers` make from a bare
    `tokenizer.model` puts no space before `[INST]`, and so gives other ids.) Trained are each
    trained reply, from the token that follows `[/INST]`, and the EOS that ends it.
    """

    name = "llama2"

    def __init__(self, tokenizer: Tokenizer, options: TemplateOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(tokenizer, options)
        if tokenizer.bos_id is None or tokenizer.eos_id is None:
            raise TokenizerError(
                f"{tokenizer.name}: BOS is {tokenizer.bos_id} and EOS {tokenizer.eos_id}; the template '{self.name}' "
                "needs both, as in Llama-2's vocabulary."
            )
        self._bos, self._eos = (tokenizer.bos_id,), (tokenizer.eos_id,)
        self.stop_ids = self._eos

    @staticmethod
    def render(trajectory: Trajectory) -> list[str]:
        """Returns the texts that are tokenised, one for each user turn and the reply to it."""
        return [exchange.text for exchange in _exchanges(trajectory.turns)]

    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        parts: list[Part] = []
        prompted = turns[-1].role == "user"
        for exchange in _exchanges((*turns, Turn.assistant("")) if prompted else turns):
            reply = exchange.turn + 1
            opened = exchange.turn - 1 if exchange.system_end else exchange.turn
            cuts = [Cut(0, opened)]
            if exchange.system_end:
                cuts.append(Cut(exchange.system_end, exchange.turn))
            parts.append(Ids(self._bos, opened))
            if reply == len(turns):
                prompt = exchange.text.encode()[: exchange.prompt_end].decode()
                parts.append(Text(prompt, tuple(cuts), False))
            else:
                content = turns[reply].content.strip()
                cuts += self.reply_cuts(exchange.prompt_end, reply, trained[reply], content, exchange.prompt_end + 1)
                parts += [Text(exchange.text, tuple(cuts), False), Ids(self._eos, reply, trained[reply])]
        return parts


class CodeLlamaTemplate(Llama2Template):
    """CodeLlama's chat template, for the instruct models of 7B, 13B and 34B.

    Its published form says the same as Llama-2's: it strips with Jinja's `trim` where that one
    calls `strip()`, which removes the same characters, and the system turn is placed alike,
    unstripped. The name is one of its own because the checkpoints differ in their vocabulary (16
    pieces more, for infilling) and a checkpoint of this project says what it was trained for. The
    70B model has another template (`Source: …` and `<step>`): take `hf` there.
    """

    name = "codellama"


class Llama3Template(ChatTemplate):
    """Llama-3's chat template.

    `<|begin_of_text|>`, then for each turn
    `<|start_header_id|>role<|end_header_id|>\\n\\ncontent<|eot_id|>`, contents stripped of white
    space at both ends. This is the template published with Llama-3; those of Llama-3.1 and later
    add dates to the system turn: take `hf` where these are wanted. Trained are each trained reply,
    from the token that follows the line feeds, and its `<|eot_id|>`.
    """

    name = "llama3"

    def __init__(self, tokenizer: Tokenizer, options: TemplateOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(tokenizer, options)

        def special(token: str) -> int:
            return tokenizer.special_id(token, owner=f"the template '{self.name}'")

        begin, end = special("<|start_header_id|>"), special("<|end_header_id|>")
        roles: tuple[Role, ...] = ("system", "user", "assistant")
        self._headers = {role: (begin, *tokenizer.encode(role), end) for role in roles}
        self._bos = (special("<|begin_of_text|>"),)
        self._end_of_turn = (special("<|eot_id|>"),)
        self.stop_ids = (*self._end_of_turn, special("<|end_of_text|>"))

    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        parts: list[Part] = [Ids(self._bos, 0)]
        for index, turn in enumerate(turns):
            content = turn.content.strip()
            cuts = [Cut(0, index)]
            if turn.role == "assistant":
                cuts += self.reply_cuts(len(_FEEDS), index, trained[index], content, len(_FEEDS))
            parts += [
                Ids(self._headers[turn.role], index),
                Text(_FEEDS + content, tuple(cuts), True),
                Ids(self._end_of_turn, index, trained[index]),
            ]
        if turns[-1].role == "user":
            parts += [Ids(self._headers["assistant"], len(turns)), Text(_FEEDS, (Cut(0, len(turns)),), True)]
        return parts


# Between the header of a turn and its content.
_FEEDS = "\n\n"


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
        exchanges.append(
            _Exchange(
                text=f"{prompt} {turns[index + 1].content.strip()} ",
                system_end=size_in_bytes(f"[INST] {system}") if system else 0,
                prompt_end=size_in_bytes(prompt),
                turn=index,
            )
        )
    return exchanges
