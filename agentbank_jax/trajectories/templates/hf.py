"""The chat template that a checkpoint brings along, as a Jinja text."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from agentbank_jax.trajectories.schema import Role, Turn
from agentbank_jax.trajectories.templates.chat_template import (
    DEFAULT_OPTIONS,
    ChatTemplate,
    Cut,
    Ids,
    Part,
    TemplateError,
    TemplateOptions,
    Text,
)
from agentbank_jax.trajectories.templates.jinja_text import compile_chat_template
from agentbank_jax.trajectories.tokenizers.tokenizer import AddedToken, Tokenizer, size_in_bytes


class _Layout(NamedTuple):
    """What a template writes around the contents of a conversation of given roles.

    Fields:
      markers: the text before each content, and that behind the last one.
      closings: for each marker, how many of its characters still belong to the turn before it,
      stops: how many of these are up to its stop token, for replies, else 0, and
      openings: how many come before what the turn behind has to write: all, but for white space that
        is left to a reply.
    """

    markers: tuple[str, ...]
    closings: tuple[int, ...]
    stops: tuple[int, ...]
    openings: tuple[int, ...]


class HfTemplate(ChatTemplate):
    """The `chat_template` of a checkpoint.

    Conversations are rendered twice: as they are, and with a placeholder for each content. The
    second tells the template's own text from the contents, so that every span is known by its
    place, and special tokens are placed where the template writes them alone. Refused are
    templates that render the beginning of a conversation in another way once it goes on, as acting
    would then read other ids than training, that leave a turn out, or whose replies do not end
    with a special token: that is the stop token.

    As in `transformers` but for one thing: `strftime_now` does not exist, so that the ids do not
    depend on the day; templates that ask for it say which date they take instead.

    Fields:
      stop_ids: the token behind replies, and EOS where that is another one.
    """

    name = "hf"

    def __init__(self, tokenizer: Tokenizer, options: TemplateOptions = DEFAULT_OPTIONS) -> None:
        text = tokenizer.settings.chat_template
        if text is None:
            raise TemplateError(
                f"{tokenizer.name}: no chat_template beside it; the template 'hf' expects one in tokenizer_config.json "
                "or chat_template.jinja, as it comes with a checkpoint. Or name another template, such as llama2."
            )
        self._jinja = compile_chat_template(text, name=tokenizer.name)
        self._variables = dict(tokenizer.settings.tokens)
        self._tokens = {token: flags for token, flags in tokenizer.added_tokens.items() if token.strip()}
        # The longest of several that match, as the library tokenizers does.
        alternatives = sorted(self._tokens, key=len, reverse=True)
        self._token_pattern = re.compile("|".join(map(re.escape, alternatives)) or r"(?!)")
        self.layout: Callable[[tuple[Role, ...]], _Layout] = cache(self._find_layout)
        layout = self.layout(("user", "assistant", "user", "assistant"))
        placed = {token for marker in layout.markers for token in self._token_pattern.findall(marker)}
        super().__init__(tokenizer.guarding(placed), options)
        stop = self._last_token(layout.markers[-1][: layout.stops[-1]])
        eos = tokenizer.eos_id
        self.stop_ids = (stop,) if eos is None or eos == stop else (stop, eos)

    @property
    def fingerprint(self) -> str:
        says = json.dumps([self.tokenizer.settings.chat_template, sorted(self._variables.items())])
        return f"{self.name}/{self.version}:{hashlib.sha256(says.encode()).hexdigest()[:16]}{self.options.fingerprint}"

    def parts(self, turns: Sequence[Turn], trained: Sequence[bool]) -> list[Part]:
        layout = self.layout(tuple(turn.role for turn in turns))
        contents = self._contents(turns, layout.markers)
        builder = _Builder(self._tokens, self._token_pattern)
        for index, marker in enumerate(layout.markers):
            stop, closing, opening = layout.stops[index], layout.closings[index], layout.openings[index]
            if index:
                builder.add(marker[:stop], index - 1, trained=trained[index - 1], tokens=True)
                builder.add(marker[stop:closing], index - 1, tokens=True)
            builder.add(marker[closing:opening], index, tokens=True)
            if index == len(turns):
                break
            content = contents[index]
            if turns[index].role == "assistant":
                start, space = builder.begin(), marker[opening:]
                cuts = self.reply_cuts(start, index, trained[index], content, start + size_in_bytes(space))
                builder.add_cut_text(space + content, cuts)
            else:
                builder.add(content, index)
        return builder.parts()

    def _contents(self, turns: Sequence[Turn], markers: Sequence[str]) -> list[str]:
        """Returns the contents as they stand in the rendering."""
        rendered = self._rendering([(turn.role, turn.content) for turn in turns])
        contents: list[str] = []
        place = len(markers[0]) if rendered.startswith(markers[0]) else -1
        for turn, marker in zip(turns, markers[1:], strict=True):
            text = turn.content
            for candidate in (text, text.strip(), text.rstrip(), text.lstrip()):
                if place >= 0 and rendered.startswith(candidate + marker, place):
                    contents.append(candidate)
                    place += len(candidate) + len(marker)
                    break
            else:
                place = -1
        if place != len(rendered):
            raise TemplateError(
                "the checkpoint's chat template changes a content, so that its place in the rendering cannot be found; "
                "use another template, or take white space and markers off the content."
            )
        return contents

    def _find_layout(self, roles: tuple[Role, ...]) -> _Layout:
        markers = self._markers(roles)
        ends_with_reply = roles[-1] == "assistant"
        tail = markers[-1] if ends_with_reply else self._markers((*roles, "assistant"))[-1]
        closings, stops, openings = [0], [0], [len(markers[0])]
        for index, role in enumerate(roles):
            behind = markers[index + 1]
            followed_by_reply = index + 1 < len(roles) and roles[index + 1] == "assistant"
            opening = len(self._checked_prompt(roles[: index + 1], markers)) if followed_by_reply else len(behind)
            stop = self._stop_length(behind) if role == "assistant" else 0
            # What does not end as the last reply does is counted to a turn as in Llama-2's template.
            closing = len(tail) if behind.startswith(tail) else stop or (opening if followed_by_reply else 0)
            closings.append(min(max(closing, stop), opening))
            stops.append(stop)
            openings.append(opening)
        return _Layout(tuple(markers), tuple(closings), tuple(stops), tuple(openings))

    def _checked_prompt(self, roles: tuple[Role, ...], markers: Sequence[str]) -> str:
        """Returns what opens the reply after turns of these roles, and checks that it does so in training too."""
        prompt = self._markers(roles)
        last = len(prompt) - 1
        rest = markers[last][len(prompt[last]) :]
        if prompt[:last] != list(markers[:last]) or not markers[last].startswith(prompt[last]) or rest.strip():
            raise TemplateError(
                "the checkpoint's chat template renders the beginning of a conversation otherwise once it goes on: "
                f"{_shortened(markers[last])} before turn {last}, where acting reads {_shortened(prompt[last])}. "
                "Acting would read other ids than training; use another template."
            )
        return prompt[last]

    def _stop_length(self, marker: str) -> int:
        """Returns the characters of the marker behind a reply up to its stop token."""
        match = self._token_pattern.search(marker)
        if match is None or marker[: match.start()].strip():
            raise TemplateError(
                f"the checkpoint's chat template ends a reply with {_shortened(marker)}, which does not begin with a "
                "special token of the tokenizer; expected a stop token, without which a model does not learn to stop. "
                "Use another template."
            )
        return match.end()

    def _last_token(self, text: str) -> int:
        return self._tokens[self._token_pattern.findall(text)[-1]].id

    def _markers(self, roles: Sequence[Role]) -> list[str]:
        placeholders = [f"\ue000{index}\ue001" for index in range(len(roles))]
        rest = self._rendering(list(zip(roles, placeholders, strict=True)))
        markers = []
        for index, placeholder in enumerate(placeholders):
            marker, found, rest = rest.partition(placeholder)
            if not found or placeholder in rest:
                raise TemplateError(
                    f"the checkpoint's chat template writes turn {index} ({roles[index]}) "
                    f"{'twice' if found else 'not at all, or out of order'}; expected each turn once."
                )
            markers.append(marker)
        return [*markers, rest]

    def _rendering(self, messages: Sequence[tuple[Role, str]]) -> str:
        return self._jinja(
            messages=[{"role": role, "content": content} for role, content in messages],
            add_generation_prompt=messages[-1][0] == "user",
            **self._variables,
        )


class _Builder:
    """Collects the parts of a rendering: special tokens, and the texts between them."""

    def __init__(self, tokens: dict[str, AddedToken], pattern: re.Pattern[str]) -> None:
        self._tokens = tokens
        self._pattern = pattern
        self._parts: list[Part] = []
        self._text = ""
        self._cuts: list[Cut] = []
        self._strips = False

    def begin(self) -> int:
        """Returns the byte at which the next piece of text begins."""
        return size_in_bytes(self._text)

    def add(self, text: str, turn: int, *, trained: bool = False, tokens: bool = False) -> None:
        """Adds text of a turn; with `tokens`, special tokens in it are those tokens."""
        place = 0
        for match in self._pattern.finditer(text) if tokens else ():
            self.add_cut_text(text[place : match.start()], [Cut(self.begin(), turn, trained)])
            self._add_token(self._tokens[match.group()], turn, trained)
            place = match.end()
        self.add_cut_text(text[place:], [Cut(self.begin(), turn, trained)])

    def add_cut_text(self, text: str, cuts: Sequence[Cut]) -> None:
        """Adds text with cuts of its own."""
        if self._strips:
            stripped = text.lstrip()
            lost = size_in_bytes(text) - size_in_bytes(stripped)
            cuts = [cut._replace(start=max(cut.start - lost, self.begin())) for cut in cuts]
            self._strips, text = not stripped, stripped
        if text:
            self._cuts += cuts
            self._text += text

    def parts(self) -> list[Part]:
        self._end_text()
        return self._parts

    def _add_token(self, token: AddedToken, turn: int, trained: bool) -> None:
        if token.lstrip:
            self._text = self._text.rstrip()
        self._end_text()
        self._parts.append(Ids((token.id,), turn, trained))
        self._strips = token.rstrip

    def _end_text(self) -> None:
        if self._text:
            self._parts.append(Text(self._text, tuple(self._cuts), bool(self._parts)))
        self._text, self._cuts = "", []


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
