"""A Hugging Face `tokenizer.json` as a tokenizer."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Int

from agentbank_jax.errors import first_line
from agentbank_jax.trajectories.tokenizers.files import CONFIG_FILE, FAST_FILE, TokenizerSettings
from agentbank_jax.trajectories.tokenizers.tokenizer import (
    AddedToken,
    Encoding,
    Tokenizer,
    TokenizerError,
    size_in_bytes,
)
from agentbank_jax.trajectories.tokenizers.words import WordTokenizer, bytes_split_at_words

# BOS and EOS of files that stand alone, without the configuration that names them.
_CONVENTIONS = (("<s>", "</s>"), ("<|begin_of_text|>", "<|end_of_text|>"))

_NOTHING = Encoding(np.zeros(0, np.int32), np.zeros(0, np.int64))


class FastTokenizer(Tokenizer):
    """A `tokenizer.json` with special parsing off: its special tokens never come out of a text.

    Texts give the ids that the file gives for what stands between special tokens; the file's own
    BOS and EOS (its post-processor) are left to the template. Ordinary added tokens (runs of
    spaces in some vocabularies) are found in texts, as the file says.

    Fields:
      bos_id, eos_id, unk_id: as `tokenizer_config.json` names them; without one BOS and EOS are
        Llama-2's or Llama-3's, where the vocabulary has those.
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str = FAST_FILE,
        settings: TokenizerSettings | None = None,
        guarded: frozenset[str] = frozenset(),
    ) -> None:
        """Loads a tokenizer.

        Args:
          model: the content of `tokenizer.json`.
          name: for error messages.
          settings: what stands beside it in a checkpoint's folder.
          guarded: ordinary added tokens that are taken for special ones.

        Raises:
          TokenizerError: where it is no `tokenizer.json`, or a special token comes out of a text.
        """
        super().__init__(model, name=name, settings=settings)
        self._guarded = guarded
        try:
            specification = json.loads(model)
            self._added = _added_tokens(specification, guarded)
            self._backend = _load(specification, self._added)
            continuing = _load(_without_first_prefix(specification), self._added)
            self._bytes_of_id = _bytes_of_ids(specification)
            ordinary = [token for token, flags in self._added.items() if not flags.special]
            splits = self._bytes_of_id is not None and bytes_split_at_words(specification, ordinary)
            self._words = WordTokenizer(self._encode_whole, opens_with_space=False) if splits else None
        except Exception as error:  # the library raises bare exceptions
            reason = first_line(error)
            raise TokenizerError(f"{name}: not a {FAST_FILE} of the library tokenizers ({reason}).") from None
        self._continuing = continuing
        self.vocab_size = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        bos, eos = self._conventional_tokens()
        self.bos_id = self._named_id("bos_token", bos)
        self.eos_id = self._named_id("eos_token", eos)
        self.unk_id = self._named_id("unk_token", None)
        for token, (identifier, special, _, _) in self._added.items():
            if special and identifier != self.unk_id and identifier in self.encode(token):
                raise TokenizerError(
                    f"{name}: the special token '{token}' comes out of a text that holds this string; expected a "
                    "vocabulary that keeps the two apart, as those of BPE do."
                )

    def __reduce__(self) -> tuple[object, ...]:
        return partial(FastTokenizer, name=self.name, settings=self.settings, guarded=self._guarded), (self.model,)

    @property
    def added_tokens(self) -> Mapping[str, AddedToken]:
        return self._added

    def guarding(self, tokens: Iterable[str]) -> "FastTokenizer":
        ordinary = frozenset(token for token in tokens if not self._added[token].special)
        if not ordinary:
            return self
        return FastTokenizer(self.model, name=self.name, settings=self.settings, guarded=self._guarded | ordinary)

    def encode(self, text: str) -> list[int]:
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._backend.decode([int(token) for token in ids], skip_special_tokens=True)

    def piece(self, token: int) -> str:
        return self.spell([token])

    def spell(self, ids: Sequence[int]) -> str:
        # A decoder may take a space away at the very beginning; behind a letter it does not.
        whole = self._backend.decode([*self._letter, *map(int, ids)], skip_special_tokens=False)
        return whole[len(self._backend.decode(self._letter, skip_special_tokens=False)) :]

    def encode_with_offsets(
        self, texts: Sequence[str], *, continues: Sequence[bool] | None = None, num_threads: int = 1
    ) -> list[Encoding]:
        del num_threads
        flags = [False] * len(texts) if continues is None else continues
        encodings: list[Encoding] = [_NOTHING] * len(texts)
        for backend, flag in ((self._backend, False), (self._continuing, True)):
            places: dict[str, list[int]] = {}
            for index, (text, value) in enumerate(zip(texts, flags, strict=True)):
                if value == flag:
                    # An instruction stands in every trajectory of its task.
                    places.setdefault(text, []).append(index)
            for indices, encoding in zip(places.values(), self._encode(backend, list(places)), strict=True):
                for index in indices:
                    encodings[index] = encoding
        return encodings

    def _encode(self, backend: tokenizers.Tokenizer, texts: list[str]) -> list[Encoding]:
        if self._bytes_of_id is None:
            found = backend.encode_batch(texts, add_special_tokens=False)
            return [_with_offsets(text, encoding) for text, encoding in zip(texts, found, strict=True)]
        # Nothing in it depends on what stands before a text: the two backends are the same.
        found_ids = self._words.encode(texts) if self._words else self._encode_whole(texts)
        encodings = []
        for text, ids in zip(texts, found_ids, strict=True):
            ends = np.cumsum(self._bytes_of_id[ids])
            if len(ids) and ends[-1] == size_in_bytes(text):
                encodings.append(Encoding(ids, np.concatenate([[0], ends[:-1]])))
            else:
                # An added token that takes white space along, or no text.
                encodings.append(_with_offsets(text, backend.encode(text, add_special_tokens=False)))
        return encodings

    def _encode_whole(self, texts: list[str], num_threads: int = 1) -> list[Int[np.ndarray, " tokens"]]:
        # The library divides the texts among its own threads.
        del num_threads
        encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encoded]

    @cached_property
    def _letter(self) -> list[int]:
        return self.encode("a")

    def _conventional_tokens(self) -> tuple[str | None, str | None]:
        return next((pair for pair in _CONVENTIONS if all(token in self._added for token in pair)), (None, None))

    def _named_id(self, key: str, otherwise: str | None) -> int | None:
        token = self.settings.tokens.get(key, otherwise)
        if token is None:
            return None
        identifier = self._backend.token_to_id(token)
        if identifier is None:
            raise TokenizerError(
                f"{self.name}: {CONFIG_FILE} beside it names '{token}' as {key}, which the vocabulary does not have; "
                "expected the two files of one checkpoint."
            )
        return identifier


def _added_tokens(specification: Mapping[str, Any], guarded: frozenset[str]) -> dict[str, AddedToken]:
    return {
        entry["content"]: AddedToken(
            id=entry["id"],
            special=entry["special"] or entry["content"] in guarded,
            lstrip=entry["lstrip"],
            rstrip=entry["rstrip"],
        )
        for entry in specification["added_tokens"]
    }


def _load(specification: Mapping[str, Any], added: Mapping[str, AddedToken]) -> tokenizers.Tokenizer:
    special = {token for token, flags in added.items() if flags.special}
    changed = {
        **specification,
        # It adds BOS and EOS, and moves offsets past spaces.
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "added_tokens": [{**entry, "special": entry["content"] in special} for entry in specification["added_tokens"]],
    }
    model = specification["model"]
    if model.get("type") == "BPE":
        # Some vocabularies (CodeLlama's) also spell special tokens by merges.
        changed["model"] = {**model, "merges": [merge for merge in model["merges"] if _merged(merge) not in special]}
    backend = tokenizers.Tokenizer.from_str(json.dumps(changed))
    backend.encode_special_tokens = True
    return backend


def _merged(merge: str | Sequence[str]) -> str:
    """Returns the piece that a merge makes; files have merges as pairs or as strings with a space between."""
    return "".join(merge.split(" ")) if isinstance(merge, str) else "".join(merge)


def _without_first_prefix(node: Any) -> Any:
    """Returns a specification whose pre-tokenizers put no space before what does not stand at the beginning."""
    if isinstance(node, dict):
        return {
            key: "never" if key == "prepend_scheme" and value == "first" else _without_first_prefix(value)
            for key, value in node.items()
            if key not in ("vocab", "merges")
        } | {key: node[key] for key in ("vocab", "merges") if key in node}
    return [_without_first_prefix(value) for value in node] if isinstance(node, list) else node


def _bytes_of_ids(specification: Mapping[str, Any]) -> Int[np.ndarray, " vocab"] | None:
    """Returns how many bytes of a text each token spells, where a text is its tokens' bytes one after the other.

    So it is with BPE over bytes, Llama-3's. Then the offsets are sums of lengths, which are several
    times faster to find than those that the library counts. Elsewhere None.
    """
    model, before = specification["model"], specification["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before])
    spells = (
        specification["normalizer"] is None
        and {step.get("type") for step in steps} <= {"Split", "Digits", "ByteLevel"}
        and all(step.get("behavior", "Isolated") == "Isolated" for step in steps)
        and steps[-1].get("type") == "ByteLevel"
        and not any(step.get("add_prefix_space") for step in steps)
        and model["type"] == "BPE"
        and not any(model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"))
    )
    if not spells:
        return None
    # A character stands for a byte there, but in added tokens, which are written as they are.
    lengths = {token: len(piece) for piece, token in model["vocab"].items()}
    lengths |= {entry["id"]: len(entry["content"].encode()) for entry in specification["added_tokens"]}
    return np.array([lengths.get(token, 0) for token in range(max(lengths) + 1)], np.int64)


def _with_offsets(text: str, encoding: tokenizers.Encoding) -> Encoding:
    starts = np.array([begin for begin, _ in encoding.offsets], np.int64)
    return Encoding(np.array(encoding.ids, np.int32), _bytes_of(text, starts))


def _bytes_of(text: str, starts: np.ndarray) -> np.ndarray:
    """Returns places in UTF-8 for places in characters."""
    if text.isascii():
        return starts
    lengths = np.fromiter((len(character.encode()) for character in text), np.int64, len(text))
    return np.concatenate([[0], np.cumsum(lengths)])[starts]
