"""The files of a tokenizer: where they are, and what stands beside the vocabulary."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentbank_jax.trajectories.tokenizers.tokenizer import TokenizerError

FAST_FILE, SENTENCEPIECE_FILE = "tokenizer.json", "tokenizer.model"
CONFIG_FILE, CHAT_TEMPLATE_FILE = "tokenizer_config.json", "chat_template.jinja"

# Keys of tokenizer_config.json whose values a chat template may mention.
_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """What a checkpoint says of its tokenizer beside the vocabulary.

    Fields:
      chat_template: the Jinja text of its chat template; None where it has none.
      tokens: `bos_token`, `eos_token`, … → the token's string.
    """

    chat_template: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)


def find_tokenizer(path: str | os.PathLike[str]) -> Path:
    """Returns the file of the vocabulary: `path` itself, or the one in the folder `path`.

    Raises:
      TokenizerError: where there is none.
    """
    given = Path(path)
    if given.is_file():
        return given
    if given.is_dir():
        for name in (FAST_FILE, SENTENCEPIECE_FILE):
            if (given / name).is_file():
                return given / name
        raise TokenizerError(
            f"{os.fspath(path)}: no tokenizer in this folder; expected {FAST_FILE} or {SENTENCEPIECE_FILE}, which come "
            "with a checkpoint's weights."
        )
    raise TokenizerError(
        f"{os.fspath(path)}: no tokenizer (No such file or directory); expected a SentencePiece model, a {FAST_FILE} "
        "or a checkpoint's folder: `python scripts/train_vocabulary.py` trains a model, and Llama-2's comes with it."
    )


def copied_files(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Returns what a copy of a tokenizer needs: name in the new folder → file.

    Raises:
      TokenizerError: where there is no tokenizer.
    """
    file = find_tokenizer(path)
    beside = {name: file.with_name(name) for name in (CONFIG_FILE, CHAT_TEMPLATE_FILE)}
    name = FAST_FILE if file.suffix == ".json" else SENTENCEPIECE_FILE
    return {name: file, **{name: other for name, other in beside.items() if other.is_file()}}


def read_settings(folder: Path) -> TokenizerSettings:
    """Reads `tokenizer_config.json` and `chat_template.jinja`; both may be missing.

    Of several named chat templates the one called `default` is taken, and a file of its own goes
    before the entry in the configuration.

    Raises:
      TokenizerError: where a file cannot be read, or the tokenizer is code.
    """
    config: Any = {}
    template = None
    file = folder / CONFIG_FILE
    try:
        if file.is_file():
            config = json.loads(file.read_text(encoding="utf-8"))
        file = folder / CHAT_TEMPLATE_FILE
        if file.is_file():
            template = file.read_text(encoding="utf-8")
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{file}: cannot be read ({error}); expected it as it came with the checkpoint.") from None
    if not isinstance(config, dict):
        raise TokenizerError(f"{folder / CONFIG_FILE}: holds a {type(config).__name__}; expected a JSON object.")
    if config.get("auto_map"):
        raise TokenizerError(
            f"{folder / CONFIG_FILE}: auto_map={json.dumps(config['auto_map'])} names code for the tokenizer, which is "
            f"not run; where {FAST_FILE} alone gives the same ids, take auto_map out."
        )
    if template is None:
        template = _default_template(config.get("chat_template"))
    tokens = {}
    for name in _TOKEN_NAMES:
        value = config.get(name)
        # Written as a string, or as an object with the string and its flags.
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return TokenizerSettings(chat_template=template, tokens=tokens)


def _default_template(value: object) -> str | None:
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None
