"""Small tokenizers in the layouts that were published with Llama-2 and Llama-3, and conversations that try them."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers

from agentbank_jax.trajectories.schema import Trajectory, Turn

# The chat templates in their published forms, written anew from what they do.
LLAMA2_JINJA = (
    "{% set first = messages[0]['role'] == 'system' %}"
    "{% for message in (messages[1:] if first else messages) %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% set content = message['content'] %}"
    "{% if first and loop.index0 == 0 %}"
    "{% set content = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' + content %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3_JINJA = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML_JINJA = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)

LLAMA3_SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{number}|>" for number in range(4)),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
)
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Strings that a template places, within contents.
LITERALS = (
    *("[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>\n", "\n<</SYS>>\n\n", "<unk>"),
    *("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>user<|end_header_id|>\n\n", "<|end_of_text|>"),
    *("<|im_end|>", "<|im_start|>assistant\n", "<|user|>"),
)
_PIECES = (
    *("the cup", "Observation: a shelf.", "search[red lamp]", " go to the kitchen", "SELECT name FROM towns", "12345"),
    *("```python\nfor i in range(3):\n    print(i)\n```", "```sql\nSELECT 1\n```", "```", "    return x", "\t"),
    *("\n", "\n\n", " ", "  ", "     ", "😀", "👩🏽‍🚀", "é", "漢字", "ñandú", "\u00a0", "\r\n", "it's", "...", "!?"),
)


def llama2_json(model: bytes) -> str:
    """Returns a BPE SentencePiece model in the layout of Llama-2's published `tokenizer.json`."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(token) for token in range(processor.vocab_size())]
    scores = [processor.get_score(token) for token in range(len(pieces))]
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    merges = []
    for piece, token in vocabulary.items():
        pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        known = [pair for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
        known.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        merges += [(scores[token], pair) for pair in known]
    merges.sort(key=lambda merge: merge[0], reverse=True)
    specification = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(token, pieces[token]) for token in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for _, pair in merges],
        },
    }
    return json.dumps(specification)


def byte_level_json(texts: Iterable[str], specials: Iterable[str], vocab_size: int = 700) -> str:
    """Returns a byte-level BPE in the layout of Llama-3's published `tokenizer.json`."""
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LLAMA3_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(specials))
    tokenizer.decoder = decoders.ByteLevel()
    first = tokenizer.get_vocab()
    begin = next(iter(specials))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, first[begin])]),
        ]
    )
    return tokenizer.to_str()


def write_checkpoint(folder: Path, specification: str, chat_template: str | None, **tokens: Any) -> Path:
    """Writes `tokenizer.json` and `tokenizer_config.json`, as a checkpoint's folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(specification, encoding="utf-8")
    config: Mapping[str, Any] = {**tokens, **({"chat_template": chat_template} if chat_template else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def conversations(number: int, *, literals: bool, seed: int = 0) -> list[Trajectory]:
    """Returns conversations of one to five exchanges, with every oddity that contents can have."""
    generator = random.Random(f"{seed} {literals}")
    pieces = _PIECES + (LITERALS if literals else ())

    def content() -> str:
        return "".join(generator.choice(pieces) for _ in range(generator.randrange(9)))

    def reply(final: bool) -> str:
        kind = generator.randrange(6)
        if kind == 0:
            return content()
        thought = "" if kind == 1 else content()
        field = "Final Answer" if final else "Action"
        return f"{generator.choice(['', ' ', '  '])}Thought: {thought}\n{field}: {content()}"

    made = []
    for index in range(number):
        turns = [Turn.system(content())] if generator.random() < 0.5 else []
        exchanges = generator.randint(1, 5)
        for exchange in range(exchanges):
            turns.append(Turn.user(content()))
            turns.append(Turn.assistant(reply(exchange == exchanges - 1), trained=generator.random() < 0.85))
        made.append(Trajectory(id=f"c{index}", task="made", turns=tuple(turns)))
    return made


def texts_of(trajectories: Iterable[Trajectory]) -> list[str]:
    """Returns what a vocabulary for these trajectories is trained on."""
    return [turn.content for trajectory in trajectories for turn in trajectory.turns]


def messages_of(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """Returns turns as `transformers` takes them."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _added(identifier: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": identifier, "content": content, **flags, "special": True}
