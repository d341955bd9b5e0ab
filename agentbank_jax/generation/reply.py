"""A reply under way: its tokens, its text, and where it ends."""

from collections.abc import Sequence

import numpy as np

from agentbank_jax.generation.detokenizer import Decode, Detokenizer
from agentbank_jax.generation.programs import Scores
from agentbank_jax.generation.requests import Delta, Finish, Generation, GenerationRequest, TokenLogprob


class Reply:
    """What the engine has written for a request so far.

    Args:
      request: whose reply it is.
      stop_ids: ids that end it.
      decode: ids to text; None where there is no tokenizer, and nobody wants text.

    Fields:
      ids: the tokens, without those of a stop string.
      generation: the whole reply once it has ended.
    """

    def __init__(self, request: GenerationRequest, *, stop_ids: tuple[int, ...], decode: Decode | None) -> None:
        sampling = request.sampling
        self.request = request
        self.stop_ids = () if sampling.ignore_stop_ids else (*stop_ids, *sampling.stop_ids)
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.prompt_logprobs: list[TokenLogprob] = []
        self.generation: Generation | None = None
        self._decode = decode
        self._cached_tokens = 0
        # Text that nobody waits for is decoded once, at the end.
        self._detokenizer = Detokenizer(decode) if decode and (sampling.stop or request.stream) else None
        self._longest_stop = max(map(len, sampling.stop), default=0)
        self._told_ids = self._told_text = 0

    @property
    def remaining(self) -> int:
        """How many tokens it may still have."""
        return self.request.sampling.max_new_tokens - len(self.ids)

    def reused(self, tokens: int) -> None:
        """Notes how many tokens of the prompt had been read before."""
        self._cached_tokens += tokens

    def take_prompt_scores(self, ids: Sequence[int] | np.ndarray, scores: Scores) -> None:
        """Takes the scores of tokens of the prompt."""
        assert self.request.sampling.prompt_logprobs is not None
        self.prompt_logprobs += token_logprobs(ids, scores, self.request.sampling.prompt_logprobs)

    def take(self, ids: Sequence[int], *, stopped: bool, scores: Scores | None, full: bool) -> Delta | None:
        """Takes new tokens.

        Args:
          ids: the tokens.
          stopped: the last of them is a stop id.
          scores: of the tokens.
          full: the conversation has no room for more.

        Returns:
          What there is to tell, if anything; its `generation` is set where the reply has ended.
        """
        searched = len(self._detokenizer.text) if self._detokenizer else 0
        self.ids += ids
        if self.request.sampling.logprobs is not None and scores is not None:
            self.logprobs += token_logprobs(ids, scores, self.request.sampling.logprobs)
        if self._detokenizer:
            for token in ids[: len(ids) - stopped]:
                self._detokenizer.append(token)
            if found := self._find_stop(searched):
                return self._end_at(*found)
        if stopped:
            return self._end("stop", self.ids[-1])
        if not self.remaining:
            return self._end("length")
        if full:
            return self._end("context")
        return self._tell() if self.request.stream else None

    def choose(self, choice: int, logprobs: Sequence[float]) -> Delta:
        """Ends it with one of the request's choices."""
        self.ids = list(self.request.choices[choice])
        self.generation = Generation(
            ids=tuple(self.ids),
            text=self._text(),
            finish="choice",
            choice=choice,
            choice_logprobs=tuple(map(float, logprobs)),
            cached_tokens=self._cached_tokens,
        )
        return Delta(
            request_id=self.request.id, ids=self.generation.ids, text=self._streamed(), generation=self.generation
        )

    def _streamed(self) -> str:
        assert self.generation is not None
        return self.generation.text if self.request.stream else ""

    def _find_stop(self, searched: int) -> tuple[int, str] | None:
        """The stop string that is complete first, and where it begins: so it does not matter how the tokens came."""
        assert self._detokenizer is not None
        # A stop string may have begun in what was searched before.
        start = max(0, searched - self._longest_stop + 1)
        places = ((self._detokenizer.text.find(stop, start), stop) for stop in self.request.sampling.stop)
        found = [(place, stop) for place, stop in places if place >= 0]
        return min(found, key=lambda item: (item[0] + len(item[1]), item[0]), default=None)

    def _end_at(self, place: int, stop: str) -> Delta:
        """Ends it before a stop string: the tokens of the string leave, and one that it shares with the text before."""
        assert self._detokenizer is not None
        self._detokenizer.text = self._detokenizer.text[:place]
        kept = self._detokenizer.tokens_before(place)
        del self.ids[kept:], self.logprobs[kept:]
        return self._end("stop", stop, text=self._detokenizer.text)

    def _end(self, finish: Finish, stopped_by: int | str | None = None, text: str | None = None) -> Delta:
        if self._detokenizer:
            if text is None:
                self._detokenizer.finish()
            text = self._detokenizer.text
        self.generation = Generation(
            ids=tuple(self.ids),
            text=self._text() if text is None else text,
            finish=finish,
            stopped_by=stopped_by,
            logprobs=tuple(self.logprobs),
            prompt_logprobs=tuple(self.prompt_logprobs),
            cached_tokens=self._cached_tokens,
        )
        return Delta(
            request_id=self.request.id,
            ids=tuple(self.ids[self._told_ids :]),
            text=self.generation.text[self._told_text :] if self.request.stream else "",
            logprobs=tuple(self.logprobs[self._told_ids :]),
            generation=self.generation,
        )

    def _text(self) -> str:
        ended = bool(self.ids) and self.ids[-1] in self.stop_ids
        return "" if self._decode is None else self._decode(self.ids[: len(self.ids) - ended])

    def _tell(self) -> Delta | None:
        """What is certain: whole characters and their tokens, and nothing that may yet belong to a stop string."""
        assert self._detokenizer is not None
        text = self._detokenizer.text
        certain = len(text) - max((_overlap(text, stop) for stop in self.request.sampling.stop), default=0)
        count = self._detokenizer.tokens_before(certain)
        ids, logprobs = self.ids[self._told_ids : count], self.logprobs[self._told_ids : count]
        new = text[self._told_text : certain]
        self._told_ids, self._told_text = max(count, self._told_ids), max(certain, self._told_text)
        if not ids and not new:
            return None
        return Delta(request_id=self.request.id, ids=tuple(ids), text=new, logprobs=tuple(logprobs))


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of a text begin a stop string, without being all of it."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def token_logprobs(ids: Sequence[int] | np.ndarray, scores: Scores, top: int) -> list[TokenLogprob]:
    """One `TokenLogprob` a token, with `top` alternatives of those that were computed."""
    return [
        TokenLogprob(
            token=int(token),
            logprob=float(scores.chosen[place]),
            top=tuple(zip(scores.top_ids[place, :top].tolist(), scores.top[place, :top].tolist(), strict=True)),
        )
        for place, token in enumerate(ids)
    ]
