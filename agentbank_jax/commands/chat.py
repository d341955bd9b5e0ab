"""`python scripts/chat.py`: talk to a model in the terminal, or watch it act in an environment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agentbank_jax.commands.console import make_console, visible
from agentbank_jax.commands.model_engine import add_model_flags, check_model_flags, load_engine
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    import argparse

    from agentbank_jax.generation.engine import Engine
    from agentbank_jax.generation.requests import SamplingParams
    from agentbank_jax.serving.served_model import ServedModel
    from agentbank_jax.trajectories.schema import Turn

_DESCRIPTION = """\
Talks to a model, turn by turn, or with --environment watches it act. Without --checkpoint it is a tiny model with
random weights, to try it with."""
_EXAMPLES = """\
examples:
  python scripts/chat.py --checkpoint=runs/samoyed_tiny@best
  python scripts/chat.py --checkpoint=runs/samoyed_tiny --environment=starter_web --index=3
  echo "What is 2 + 3?" | python scripts/chat.py --checkpoint=weights/Llama-2-7b-chat-hf --temperature=0.7

within a conversation: /reset begins another, /system TEXT begins one with another instruction, /quit or the end of
the input ends it; Ctrl-C ends a reply, or forgets the line that is typed."""

_STYLES = {"system": ("instruction", "dim"), "user": ("environment", "cyan"), "assistant": ("model", "bold")}


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    parser = make_parser("chat.py", _DESCRIPTION, _EXAMPLES)
    add_model_flags(parser)
    add = parser.add_argument
    add("--system", default="", metavar="TEXT", help="the instruction before the first turn")
    add("--environment", metavar="NAME", help="watch the model act in this one")
    add("--split", default="test", metavar="NAME", help="of the environment: train or test (default: test)")
    add("--index", type=int, default=0, metavar="N", help="of the problem in the split (default: 0)")
    add("--choose_actions", action="store_true", help="where the environment lists its actions, take the likeliest")
    add("--max_new_tokens", type=int, default=256, metavar="N", help="of a reply (default: 256)")
    add("--temperature", type=float, default=0.0, metavar="X", help="0 takes the most likely tokens (default: 0)")
    add("--top_p", type=float, default=1.0, metavar="X", help="share of the likeliest tokens that is kept (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    options = parse_flags(parser, arguments)
    # Imported only now: --help and a mistyped flag need not wait for JAX.
    from agentbank_jax.agents.chat import Chat
    from agentbank_jax.commands.talk import talk
    from agentbank_jax.environments import registry
    from agentbank_jax.generation.requests import SamplingParams

    check_model_flags(options)
    _check(options)
    sampling = SamplingParams(
        max_new_tokens=options.max_new_tokens, temperature=options.temperature, top_p=options.top_p, seed=options.seed
    )
    if options.environment:
        registry.get(options.environment)
        registry.check_split(options.split)
    engine, model = load_engine(options, slots=1)
    console = make_console()
    if options.environment:
        return _watch(options, engine, model, sampling, console)
    return talk(Chat(engine, model.template, sampling=sampling, system=options.system), console, model.name)


def _check(options: "argparse.Namespace") -> None:
    """Raises AgentBankError on a value that nothing could be done with, or a flag that would do nothing."""
    if options.max_new_tokens < 1:
        raise AgentBankError(f"--max_new_tokens={options.max_new_tokens}: expected at least 1.")
    if options.index < 0:
        raise AgentBankError(f"--index={options.index}: expected 0 or more.")
    if options.environment and options.system:
        raise AgentBankError(f"--system={options.system}: an environment brings its own instruction; leave one out.")
    if not options.environment:
        for name, given in (
            ("split", options.split != "test"),
            ("index", options.index),
            ("choose_actions", options.choose_actions),
        ):
            if given:
                raise AgentBankError(f"--{name}: belongs to an environment; name one with --environment=NAME.")


def _watch(
    options: "argparse.Namespace",
    engine: "Engine",
    model: "ServedModel",
    sampling: "SamplingParams",
    console: Console,
) -> int:
    from agentbank_jax.agents.episode import Episode
    from agentbank_jax.agents.model_policy import ModelPolicy
    from agentbank_jax.agents.narrator import Narrator
    from agentbank_jax.agents.rollout import roll_out
    from agentbank_jax.environments import registry

    spec = registry.get(options.environment)
    if reason := spec.available():
        raise AgentBankError(f"--environment={spec.name} cannot run here: {reason}")

    def tell(_: str, turn: "Turn") -> None:
        who, style = _STYLES[turn.role]
        console.print(Text.assemble((f"{who}: ", f"{style} underline"), (visible(turn.content), style)), soft_wrap=True)
        console.print()

    policy = ModelPolicy(
        engine,
        model.template,
        max_new_tokens=sampling.max_new_tokens,
        sampling=sampling,
        choose_actions=options.choose_actions,
        vocab_size=model.tokenizer.vocab_size,
        name=model.name,
    )
    episode = Episode(
        id=f"{spec.name}/{options.split}/{options.index}",
        spec=spec,
        instance=lambda: spec.instance(options.split, options.index),
        seed=options.seed,
    )
    (outcome,) = roll_out([episode], Narrator(policy, tell), retries=0)
    if outcome.final_observation is not None:
        console.print(Text(visible(outcome.final_observation), "cyan"), soft_wrap=True)
    if outcome.error:
        raise AgentBankError(f"{episode.id}: {outcome.error}")
    ended = "success" if outcome.success else f"no success ({outcome.terminate_reason})"
    console.print(
        f"{episode.id}: {ended}, reward {outcome.reward:g}, {outcome.steps} turns, {outcome.tokens} tokens",
        highlight=False,
    )
    return 0
