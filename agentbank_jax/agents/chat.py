"""A conversation that a person has with a model."""

from collections.abc import Iterator

from agentbank_jax.agents.model_policy import ChatTemplate
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import Generation, GenerationRequest, SamplingParams
from agentbank_jax.trajectories.schema import Turn
from agentbank_jax.trajectories.templates.continuation import continued_ids

_NAME = "chat"


class ChatError(AgentBankError):
    """A turn that cannot be answered."""


class Chat:
    """Turns that a model answers one after the other; each turn's tokens are read once.

    Example:

      chat = Chat(engine, template)
      for text in chat.say("Find the cup."):
          print(text, end="")

    Args:
      engine: with a tokenizer; nothing else may be under way in it.
      template: turns to ids.
      sampling: how replies are drawn. Each draws with a seed of its own.
      system: the instruction before the first turn; empty for none.

    Fields:
      turns: what was said, the instruction first.
      last: the last reply as the engine gave it.
      stopped: whether the last reply was ended by `stop`.
    """

    def __init__(
        self, engine: Engine, template: ChatTemplate, *, sampling: SamplingParams | None = None, system: str = ""
    ) -> None:
        self._engine, self._template = engine, template
        self._sampling = sampling or SamplingParams()
        self._ids: list[int] = []
        self.turns: list[Turn] = []
        self.last: Generation | None = None
        self.stopped = False
        self.restart(system)

    def restart(self, system: str | None = None) -> None:
        """Forgets what was said, and takes another instruction where one is given."""
        self._engine.cancel(_NAME)
        self._engine.release(_NAME)
        if system is None:
            system = "".join(turn.content for turn in self.turns if turn.role == "system")
        self.turns = [Turn.system(system)] if system else []
        self._ids, self.last = [], None

    def stop(self) -> None:
        """Ends the reply under way after the step that it is in; for signal handlers, which may call it at any time."""
        self.stopped = True

    def say(self, content: str) -> Iterator[str]:
        """Adds a turn, and yields the text of the reply as it comes.

        A reply that is left or stopped before its end is no part of the conversation, and neither is the turn.

        Raises:
          ChatError: the conversation has no room for the turn and a reply; it stays as it is.
        """
        self.stopped = False
        turn = Turn.user(content)
        if self._ids:
            ids = continued_ids(self._template, self._ids, content)
        else:
            ids = self._template.prompt_ids([*self.turns, turn])
        if len(ids) >= self._engine.max_length:
            raise ChatError(
                f"The conversation would have {len(ids)} tokens; expected fewer than {self._engine.max_length}. Begin "
                "another, or make max_length larger."
            )
        sampling = self._sampling.with_later_seed(len(self.turns))
        self._engine.submit(GenerationRequest(id=_NAME, ids=ids, sampling=sampling, conversation=_NAME, stream=True))
        ended = False
        try:
            while not ended and not self.stopped:
                for delta in self._engine.step():
                    if delta.text:
                        yield delta.text
                    if delta.generation is not None:
                        ended = True
                        self.last = delta.generation
                        self._ids = [*ids, *self.last.ids]
                        self.turns += [turn, Turn.assistant(self.last.text)]
        finally:
            if not ended:
                self._engine.cancel(_NAME)
