"""Registers all declared tasks and mixtures with SeqIO, under their names, when it is imported.

    import seqio
    import agentbank_jax.tasks.seqio_registry

    seqio.get_mixture_or_task("starter").get_dataset({"targets": 1025, "trained": 1025}, split="train")

The vocabulary is `$AGENTBANK_TOKENIZER`, else `vocabulary/starter.model` in the data folder; the chat
template is `$AGENTBANK_TEMPLATE`, else `llama2`.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import seqio
import tensorflow as tf

from agentbank_jax.data.declarations import (
    MixtureDeclaration,
    TaskDeclaration,
    get_mixture,
    get_task,
    mixture_names,
    task_names,
)
from agentbank_jax.data.over_long import OverLongPolicy
from agentbank_jax.data.seqio_metrics import action_accuracy, reply_postprocessor
from agentbank_jax.data.seqio_preprocessors import preprocessors
from agentbank_jax.data.seqio_source import trajectory_source
from agentbank_jax.data.seqio_vocabulary import make_vocabulary
from agentbank_jax.data.sources import count_rows
from agentbank_jax.data.vocabularies import vocabulary_path
from agentbank_jax.errors import AgentBankError
from agentbank_jax.places import data_place, local_folder
from agentbank_jax.trajectories.templates.registry import DEFAULT_OPTIONS, ChatTemplate, TemplateOptions, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


def default_tokenizer() -> Path:
    """Returns $AGENTBANK_TOKENIZER, or the starter vocabulary."""
    return Path(os.environ.get("AGENTBANK_TOKENIZER") or vocabulary_path("starter", local_folder(data_place())))


def default_template() -> str:
    """Returns $AGENTBANK_TEMPLATE, or `llama2`."""
    return os.environ.get("AGENTBANK_TEMPLATE") or "llama2"


def register_task(
    task: TaskDeclaration,
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    template: str | None = None,
    options: TemplateOptions = DEFAULT_OPTIONS,
    over_long: OverLongPolicy = "drop",
) -> seqio.Task:
    """Registers a declared task; without arguments of its own it leaves one of the name as it is.

    Its features are `targets` (token ids, BOS and EOS of the template included) and `trained` (2 for
    trained tokens, else 1), each int32 [tokens].

    Args:
      task: the declaration.
      tokenizer: a SentencePiece model, a `tokenizer.json` or a checkpoint's folder; None means
        `default_tokenizer()`.
      template: name of the chat template; None means `default_template()`.
      options: which tokens are trained.
      over_long: what becomes of trajectories that are longer than the length asked for.

    Raises:
      AgentBankError: where the name is registered already and arguments ask for another task.
    """
    if task.name in seqio.TaskRegistry.names():
        if (tokenizer, template, options, over_long) != (None, None, DEFAULT_OPTIONS, "drop"):
            raise AgentBankError(
                f"task '{task.name}' is registered with SeqIO already; take it out before it is registered otherwise: "
                f"seqio.TaskRegistry.remove('{task.name}')."
            )
        return seqio.TaskRegistry.get(task.name)
    path = Path(tokenizer) if tokenizer is not None else default_tokenizer()

    chosen = template if template is not None else default_template()

    @functools.cache
    def loaded() -> ChatTemplate:
        return get_template(chosen, Tokenizer.load(path), options)

    vocabulary = make_vocabulary(path, lambda: loaded().stop_ids[0])
    return seqio.TaskRegistry.add(
        task.name,
        source=trajectory_source(task, data_place),
        preprocessors=preprocessors(loaded, over_long),
        output_features={
            # The template places BOS and EOS.
            "targets": seqio.Feature(vocabulary, add_eos=False, required=True, dtype=tf.int32),
            "trained": seqio.Feature(seqio.PassThroughVocabulary(3), add_eos=False, required=True, dtype=tf.int32),
        },
        postprocess_fn=reply_postprocessor(lambda: loaded().tokenizer),
        metric_fns=[action_accuracy],
    )


def register_mixture(mixture: MixtureDeclaration) -> seqio.Mixture:
    """Registers a declared mixture of registered tasks, unless its name is registered already.

    A task's rate is its number of trajectories times its passes in an epoch.
    """
    if mixture.name in seqio.MixtureRegistry.names():
        return seqio.MixtureRegistry.get(mixture.name)

    def passes(rate: float) -> Callable[[seqio.Task], float]:
        return lambda task: rate * count_rows(get_task(task.name), data_place())

    return seqio.MixtureRegistry.add(mixture.name, [(name, passes(rate)) for name, rate in mixture.rates.items()])


for _name in task_names():
    register_task(get_task(_name))
for _name in mixture_names():
    register_mixture(get_mixture(_name))
