"""The chat template with which a checkpoint was trained."""

import os
from collections.abc import Mapping
from typing import Any

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.templates.registry import ChatTemplate, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


def trained_template(model_dir: str | os.PathLike[str], facts: Mapping[str, Any]) -> ChatTemplate:
    """Returns the template of a run, over the tokenizer beside it.

    Args:
      model_dir: the run's folder.
      facts: what the checkpoint says it was trained with: `template` and `tokenizer_sha256`.

    Raises:
      AgentBankError: the tokenizer is missing or another, or the template is.
    """
    tokenizer = Tokenizer.load(model_dir)
    saved = facts.get("tokenizer_sha256", tokenizer.fingerprint)
    if saved != tokenizer.fingerprint:
        raise AgentBankError(
            f"{tokenizer.name}: hash {tokenizer.fingerprint[:12]}…; expected {str(saved)[:12]}…, "
            "with which the checkpoint was trained. Put that tokenizer back."
        )
    trained_with = str(facts.get("template", "llama2/1"))
    template = get_template(trained_with.split("/")[0], tokenizer)
    # What stands behind a space only says what was trained.
    if trained_with.split(" ")[0] != template.fingerprint:
        raise AgentBankError(
            f"{tokenizer.name}: its chat template is '{template.fingerprint}' now; expected "
            f"'{trained_with.split(' ')[0]}', with which the checkpoint was trained. Put that tokenizer's files "
            "back, or use the version of this project that it was trained with."
        )
    return template
