"""A call of a tool where a request demands one and the model made none."""

import json
from collections.abc import Sequence
from dataclasses import replace

from agentbank_jax.agents.react import ReAct
from agentbank_jax.generation.requests import Generation, GenerationRequest, SamplingParams
from agentbank_jax.serving.tools import ToolSpec, read_turn
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


class ForcedCall:
    """Asks the engine for the parts of a call: of several tools the most likely name, then the arguments.

    Fields:
      name, arguments: of the call, once `request` gives None; the arguments are JSON where the model wrote JSON.
      tokens: generated so far.
      cached_tokens: of the conversation, those that had been read before the reply.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        ids: Sequence[int],
        tools: Sequence[ToolSpec],
        sampling: SamplingParams,
        refused: Generation,
    ) -> None:
        """Makes ready.

        Args:
          tokenizer: of the model.
          ids: of the conversation before the reply.
          tools: of which one is to be called.
          sampling: of the reply.
          refused: the reply without a call; its thought is kept.
        """
        parsed = ReAct().parse(refused.text)
        said = parsed.thought if parsed else refused.text.strip().removeprefix("Thought:").strip()
        self.thought = said.split("\n", 1)[0]
        self.name = tools[0].name if len(tools) == 1 else None
        self.arguments = ""
        self.tokens = len(refused.ids)
        self.cached_tokens = refused.cached_tokens
        self._tokenizer = tokenizer
        self._ids = ids
        self._tools = tools
        self._sampling = replace(sampling, logprobs=None, prompt_logprobs=None, stop=("\n", "]\n"))

    def request(self) -> GenerationRequest:
        """What the engine is asked next."""
        if self.name is None:
            choices = tuple(tuple(self._beginning(tool)) for tool in self._tools)
            return GenerationRequest(id="", ids=self._ids, choices=choices)
        ids = [*self._ids, *self._beginning(self._tool)]
        return GenerationRequest(id="", ids=ids, sampling=self._sampling)

    def take(self, generation: Generation) -> bool:
        """Takes what came of it; True where that was the last."""
        self.tokens += len(generation.ids)
        if self.name is None:
            assert generation.choice is not None
            self.name = self._tools[generation.choice].name
            return False
        tool, text = self._tool, generation.text.strip()
        if tool.text_parameter is not None:
            self.arguments = json.dumps({tool.text_parameter: text.removesuffix("]")}, ensure_ascii=False)
        elif (call := read_turn(f"Action: {tool.name}{{{text}", [tool]).call) is not None:
            self.arguments = json.dumps(call.arguments, ensure_ascii=False)
        else:
            self.arguments = "{" + text if tool.properties else "{}"
        return True

    @property
    def _tool(self) -> ToolSpec:
        return next(tool for tool in self._tools if tool.name == self.name)

    def _beginning(self, tool: ToolSpec) -> list[int]:
        thought = f"Thought: {self.thought}\n" if self.thought else ""
        text = f"{thought}Action: {tool.name}{'{' if tool.text_parameter is None else '['}"
        return self._tokenizer.encode_with_offsets([text], continues=[True])[0].ids.tolist()
