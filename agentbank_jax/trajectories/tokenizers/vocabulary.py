"""Trains a SentencePiece vocabulary shaped like Llama-2's."""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.whole_files import whole_file

# 3 control symbols, 256 bytes, the whole pieces below, and something to spell words with.
MIN_VOCAB_SIZE = 320

# Pieces that BPE cannot find, since it never joins a line feed, a digit or punctuation to what stands
# before: a digit with the space before it (else all numbers begin with the same piece, a bare space,
# after which nothing tells which number it begins) and the separator of WebShop's pages.
WHOLE_PIECES = ("\n", "\N{LOWER ONE EIGHTH BLOCK}[SEP]", *(f"\N{LOWER ONE EIGHTH BLOCK}{digit}" for digit in range(10)))


def train_vocabulary(texts: Iterable[str], vocab_size: int, out: str | os.PathLike[str]) -> Tokenizer:
    """Trains a BPE vocabulary on `texts`, writes it to `out`, and returns it.

    As in Llama-2: byte fallback, digits split, no normalisation, a space before each text, ids
    `<unk>` 0, BOS 1, EOS 2, and no padding id. The line feed is a piece of its own, so that a word
    has the same pieces at the end and at the beginning of a line as elsewhere; see also
    `WHOLE_PIECES`. The same texts in the same order give the same bytes.

    Args:
      texts: what to train on, as it will be tokenised: `Llama2Template.render` gives it.
      vocab_size: number of pieces; fewer where the texts do not hold so many.
      out: path of the model file, which appears only when it is whole.

    Raises:
      AgentBankError: on a vocabulary that is too small to spell the texts, or texts that are empty.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise AgentBankError(f"vocab_size is {vocab_size}; expected at least {MIN_VOCAB_SIZE}.")
    sentences = [text for text in texts if text.strip()]
    if not sentences:
        raise AgentBankError("no text to train a vocabulary on; expected at least one trajectory.")
    try:
        model = _train(sentences, vocab_size)
    except RuntimeError as error:
        # SentencePiece says how many pieces the texts allow.
        largest = re.search(r"to a value <= (\d+)", str(error))
        if largest and MIN_VOCAB_SIZE <= int(largest[1]) < vocab_size:
            model = _train(sentences, int(largest[1]))
        else:
            reason = str(error).strip().split("\n")[-1]
            raise AgentBankError(
                f"no vocabulary of {vocab_size} pieces can be trained on these {len(sentences)} texts: {reason}"
            ) from None
    target = Path(out)
    try:
        with whole_file(target) as temporary:
            temporary.write_bytes(model)
    except OSError as error:
        raise AgentBankError(
            f"{target}: the vocabulary cannot be written ({error.strerror}); choose another file with --out."
        ) from None
    return Tokenizer.load(target)


def _train(sentences: list[str], vocab_size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=list(WHOLE_PIECES),
        character_coverage=0.9999,
        max_sentence_length=1 << 24,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        # What would make the result depend on the machine or on chance.
        num_threads=1,
        input_sentence_size=0,
        shuffle_input_sentence=False,
        minloglevel=2,
    )
    return model.getvalue()
