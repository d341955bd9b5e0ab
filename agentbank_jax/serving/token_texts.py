"""What single tokens say, for log-probabilities."""

from collections.abc import Sequence

from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """What a token says; of one that is a part of a character its piece, such as `<0xE2>`."""
    # Rows that pad the embedding have no piece.
    if token >= tokenizer.vocab_size:
        return ""
    text = tokenizer.spell([token])
    return tokenizer.piece(token) if _BROKEN in text else text


def token_bytes(tokenizer: Tokenizer, token: int) -> list[int] | None:
    """The bytes of what a token says; None where the tokenizer does not tell."""
    text = token_text(tokenizer, token)
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return [int(text[1:-1], 16)]
    return None if _BROKEN in text else list(text.encode())


def text_offsets(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int]:
    """Returns the character of `text` at which each token begins.

    Tokens that say nothing in the text (BOS, a stop token) have the place of what follows them, and those that are a
    part of a character that of the character.

    Args:
      tokenizer: of the ids.
      ids: whose tokens follow each other in the text.
      text: what they say together.
    """
    offsets = []
    place = 0
    run: list[int] = []
    for token in ids:
        offsets.append(place)
        run.append(token)
        said = tokenizer.spell([each for each in run if each < tokenizer.vocab_size])
        if _BROKEN in said and not text.startswith(said, place):
            continue
        # A space that SentencePiece puts before a text is not in the text; an unknown character is decoded otherwise.
        decoded = tokenizer.decode(run) if run == [token] and token < tokenizer.vocab_size else ""
        for candidate in (said, said.removeprefix(" "), decoded):
            if candidate and text.startswith(candidate, place):
                place += len(candidate)
                break
        run = []
    return offsets
