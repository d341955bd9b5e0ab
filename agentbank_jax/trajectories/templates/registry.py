"""Chat templates: how turns become token ids, for training and for acting alike."""

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.templates.chat_template import (
    DEFAULT_OPTIONS,
    ChatTemplate,
    EncodedTrajectory,
    TemplateError,
    TemplateOptions,
)
from agentbank_jax.trajectories.templates.check import check_template
from agentbank_jax.trajectories.templates.hf import HfTemplate
from agentbank_jax.trajectories.templates.llama import CodeLlamaTemplate, Llama2Template, Llama3Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

__all__ = [
    "DEFAULT_OPTIONS",
    "TEMPLATES",
    "ChatTemplate",
    "CodeLlamaTemplate",
    "EncodedTrajectory",
    "HfTemplate",
    "Llama2Template",
    "Llama3Template",
    "TemplateError",
    "TemplateOptions",
    "get_template",
]

TEMPLATES: dict[str, type[ChatTemplate]] = {
    template.name: template for template in (Llama2Template, CodeLlamaTemplate, Llama3Template, HfTemplate)
}


def get_template(
    name: str,
    tokenizer: Tokenizer,
    options: TemplateOptions = DEFAULT_OPTIONS,
) -> ChatTemplate:
    """Returns the template called `name` for `tokenizer`, checked on a short conversation.

    Raises:
      AgentBankError: where there is none; the message suggests the nearest name.
      TemplateError: where it does not fit the tokenizer; see `check_template`.
    """
    if name not in TEMPLATES:
        raise AgentBankError(f"no chat template is called '{name}'.{did_you_mean(name, TEMPLATES)}")
    template = TEMPLATES[name](tokenizer, options)
    check_template(template)
    return template
