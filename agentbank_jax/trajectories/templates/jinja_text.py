"""Jinja chat templates as `transformers` renders them, in a sandbox."""

import json
from collections.abc import Callable
from typing import Any

from agentbank_jax.errors import first_line
from agentbank_jax.trajectories.templates.chat_template import TemplateError

# What the code of a template may raise, beside what Jinja does.
_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def compile_chat_template(text: str, *, name: str) -> Callable[..., str]:
    """Returns a function from a template's variables to the rendered text.

    The environment is the one in which checkpoints expect their template: blocks without their
    line feeds, `raise_exception`, `tojson` that leaves characters as they are, `break` and
    `continue`, and `{% generation %}`, which writes what stands in it. It cannot reach anything
    but its variables, and cannot change them.

    Args:
      text: the Jinja text.
      name: of its tokenizer, for error messages.

    Raises:
      TemplateError: where the text is no Jinja template; the function, where it cannot be rendered
        or calls `raise_exception`.
    """
    # Only this template needs Jinja.
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.filters["tojson"] = tojson
    try:
        template = environment.from_string(text)
    except (jinja2.TemplateError, RecursionError) as error:
        raise TemplateError(f"{name}: its chat_template is no Jinja template ({first_line(error)}).") from None

    def rendered(**variables: Any) -> str:
        try:
            return template.render(**variables)
        except (jinja2.TemplateError, *_FAILURES) as error:
            raise TemplateError(
                f"the checkpoint's chat template refuses the conversation: {first_line(error)}"
            ) from None

    return rendered
